"""segments: onsets and chroma are equal to librosa; simple signals have the expected values."""

import librosa
import numpy as np
import numpy.typing as npt
import pytest

from genremill.udfs.dsp.mel import mel_spectrogram
from genremill.udfs.dsp.spectra import magnitudes
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.gtzan57 import Gtzan57, Windows57
from genremill.udfs.feature_sets.segments import CHANNELS, TIMBRE, Segments, timbre
from tests.audio.audio_corpus import SR, chord, clicks, corpus, drums, noise, song, tone

pytestmark = pytest.mark.filterwarnings("ignore:Trying to estimate tuning")

SETTINGS = Segments()
SIGNALS = corpus(5.0, real=6)


def steps(y: Signal) -> npt.NDArray[np.float32]:
    """The segments without their padding."""
    values = SETTINGS.values(y)
    assert values.dtype == np.float32
    found = values.reshape(SETTINGS.shape)
    count = int(found.any(axis=1).sum())
    assert found[:count].any(axis=1).all()
    return found[:count]


def channel(y: Signal, name: str) -> npt.NDArray[np.float32]:
    return steps(y)[:, CHANNELS.index(name)]


@pytest.mark.parametrize("name", SIGNALS)
def test_segments_start_at_the_onsets_of_librosa(name: str) -> None:
    y = SIGNALS[name]
    P_TF = np.square(magnitudes(y, n_fft=2048, hop_length=512))
    starts = SETTINGS.starts(mel_spectrogram(P_TF, sr=SR))
    onsets = librosa.onset.onset_detect(y=y, sr=SR, hop_length=512, wait=0.06 * SR // 512)
    # The start of the signal is an onset too, so another onset soon after it is ignored.
    assert starts[0] == 0
    assert starts[1:].tolist() == [frame for frame in onsets.tolist() if frame > 2]


@pytest.mark.parametrize("name", ["song", "chord", "drums", "noise"])
def test_pitches_are_the_chroma_of_librosa_added_per_segment(name: str) -> None:
    y = SIGNALS[name]
    chroma = librosa.feature.chroma_stft(y=y, sr=SR, norm=None)
    P_TF = np.square(magnitudes(y, n_fft=2048, hop_length=512))
    starts = SETTINGS.starts(mel_spectrogram(P_TF, sr=SR))
    sums = np.stack([part.sum(axis=1) for part in np.split(chroma, starts[1:], axis=1)])
    assert np.abs(steps(y)[:, 12:] - sums / sums.max(axis=1, keepdims=True)).max() < 1e-3


def test_loudness_is_the_mean_level_of_librosa() -> None:
    y = noise(2.0)
    mel = librosa.feature.melspectrogram(y=y, sr=SR)
    widths = np.convolve(np.diff(librosa.mel_frequencies(130, fmax=SR / 2)), [1, 1], "valid") / 2
    level = 10 * np.log10(mel * widths[:, None] / (2048 * 768 / 4)) + 80
    found = steps(y)
    P_TF = np.square(magnitudes(y, n_fft=2048, hop_length=512))
    lengths = np.diff(SETTINGS.starts(mel_spectrogram(P_TF, sr=SR)), append=mel.shape[1])
    assert found[:, 0] @ lengths / lengths.sum() == pytest.approx(level.mean(), abs=1e-2)


@pytest.mark.parametrize("bpm", [60, 100, 150])
def test_each_click_is_a_segment(bpm: int) -> None:
    assert len(steps(clicks(6.0, bpm=bpm))) == 6 * bpm / 60


@pytest.mark.parametrize(("hz", "pitch"), [(440.0, "a"), (523.25, "c"), (1479.98, "f_sharp")])
def test_a_tone_only_has_its_own_pitch_class(hz: float, pitch: str) -> None:
    found = steps(tone(3.0, hz=hz))
    at = CHANNELS.index(f"pitch_{pitch}")
    assert (found[:, at] == 1).all()
    others = [12 + (at - 12 + away) % 12 for away in range(2, 11)]
    assert found[:, others].max() < 0.1


def test_silence_is_one_segment_with_equal_pitch_classes() -> None:
    found = steps(np.zeros(2 * SR, np.float32))
    assert found.shape == (1, 24)
    assert not found[:, :12].any()
    assert (found[:, 12:] == 1).all()


def test_a_signal_ten_times_as_loud_only_has_20_dB_more_loudness() -> None:
    # Loud enough that all bands are above the floor.
    soft, loud = steps(noise(2.0, level=0.01)), steps(noise(2.0, level=0.1))
    assert loud[:, 0] - soft[:, 0] == pytest.approx(np.full(len(soft), 20), abs=0.1)
    assert np.abs(loud[:, 1:] - soft[:, 1:]).max() < 0.1


@pytest.mark.parametrize("at", range(len(TIMBRE)))
def test_a_product_of_two_cosines_only_has_its_own_coefficient(at: int) -> None:
    _, over_bands, over_time = TIMBRE[at]
    bands = np.cos(np.pi * over_bands * (np.arange(128) + 0.5) / 128) * (np.sqrt(2) if over_bands else 1)
    time = np.cos(np.pi * over_time * (np.arange(9) + 0.5) / 9) * (np.sqrt(2) if over_time else 1)
    surface = np.vstack([np.outer(time, 6 * bands), np.zeros((3, 128))]).astype(np.float32)
    expected = np.zeros((2, 12))
    expected[0, at] = -6 if over_bands == 1 else 6  # bright sounds are positive
    assert timbre(surface, np.array([0, 9])) == pytest.approx(expected, abs=1e-4)


def test_clicks_have_an_attack_and_white_noise_is_brighter() -> None:
    white = noise(2.0)
    dull = np.convolve(white, np.ones(20) / 20, "same").astype(np.float32)
    assert channel(white, "timbre_brightness").mean() > channel(dull, "timbre_brightness").mean() + 1
    t = np.arange(2 * SR) / SR % 0.5
    struck = white * np.exp(-8 * t).astype(np.float32)
    assert channel(struck, "timbre_attack")[1:].min() > 3  # the first strike has no frame before it


def test_only_the_first_segments_are_used_and_followed_by_padding() -> None:
    y = drums(8.0)
    few, many = Segments(steps=4).values(y), SETTINGS.values(y)
    assert few.shape == (4 * 24,)
    assert np.array_equal(few, many[: 4 * 24])
    assert many.shape == (512 * 24,)
    assert not many[-100:].any()


def test_segments_do_not_change_if_more_audio_follows() -> None:
    alone, followed = steps(chord(4.0)), steps(np.concatenate([chord(4.0), song(2.0)]))
    assert np.allclose(alone[:5], followed[:5], atol=0.5)


def test_windows57_has_the_values_of_gtzan57_per_window() -> None:
    features, of_window = Windows57(), Gtzan57()
    y = song(7.4)
    values = features.values(y).reshape(features.shape)
    assert features.shape == (10, 57)
    assert np.array_equal(values[0], of_window.values(y[: 3 * SR]))
    assert np.array_equal(values[1], of_window.values(y[3 * SR : 6 * SR]))
    assert not values[2:].any()  # 1.4 s are less than half a window
    assert Windows57().values(song(8.0)).reshape(10, 57)[2].any()
    assert features.value_names == of_window.value_names
