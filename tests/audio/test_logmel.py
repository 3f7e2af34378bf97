"""logmel: equal to VGGish's patches, to librosa where both agree, and to results calculated by hand."""

import librosa
import numpy as np
import numpy.typing as npt
import pytest

from genremill.infra.errors import UsageError
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.logmel import LogMel, mel_weights
from tests.audio.audio_corpus import chord, clicks, noise, song, tone

SETTINGS = LogMel()
SR = SETTINGS.sr
SIGNALS = {make.__name__: make(3.0, SR) for make in (song, noise, tone, chord, clicks)}


def reference(y: Signal) -> npt.NDArray[np.float64]:
    """Frame by frame in double precision: window, spectrum, triangles on the mel scale, logarithm."""
    frames = [y[at : at + 400].astype(float) for at in range(0, len(y) - 399, 160)]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitudes = np.array([np.abs(np.fft.rfft(frame * window, 512)) for frame in frames])
    mel = 1127 * np.log(1 + np.arange(257) * SR / 512 / 700)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    weights = np.zeros((257, 64))
    for band in range(64):
        rising = (mel - edges[band]) / (edges[band + 1] - edges[band])
        falling = (edges[band + 2] - mel) / (edges[band + 2] - edges[band + 1])
        weights[:, band] = np.clip(np.minimum(rising, falling), 0, None)
    found: npt.NDArray[np.float64] = np.log(magnitudes @ weights + 0.01)
    return found


@pytest.mark.parametrize("name", SIGNALS)
def test_the_log_mel_spectrum_is_equal_to_the_reference(name: str) -> None:
    ours, theirs = SETTINGS.log_mel(SIGNALS[name]), reference(SIGNALS[name])
    assert ours.shape == theirs.shape == (298, 64)
    assert np.abs(ours - theirs).max() < 5e-4


@pytest.mark.parametrize("name", SIGNALS)
def test_magnitudes_are_equal_to_librosa(name: str) -> None:
    # librosa centers the window in 512 samples, after 56 samples; its triangles are linear in Hz.
    y = np.pad(SIGNALS[name], (56, 56))
    theirs = np.abs(librosa.stft(y, n_fft=512, win_length=400, hop_length=160, center=False))
    mel = theirs.T @ mel_weights(SR, 64, 125.0, 7500.0)[0].T
    assert np.abs(SETTINGS.log_mel(SIGNALS[name]) - np.log(mel + 0.01)).max() < 1e-3


def test_patches_follow_each_other() -> None:
    y = song(30.0, SR)
    rows = SETTINGS.rows(y, 0.975)
    assert len(rows) == 31
    assert [row.start_s for row in rows[:3]] == pytest.approx([0, 0.96, 1.92])
    patches = np.array([row.values for row in rows]).reshape(31, *SETTINGS.shape)
    assert np.array_equal(patches[:, 0].reshape(-1, 64), SETTINGS.log_mel(y)[: 31 * 96])
    assert np.array_equal(SETTINGS.values(y), rows[0].values)


def test_a_short_signal_is_padded_with_silence() -> None:
    rows = SETTINGS.rows(tone(0.5, SR), 0.975)
    assert len(rows) == 1
    patch = rows[0].values.reshape(96, 64)
    assert patch[60:] == pytest.approx(np.log(0.01), abs=1e-6)
    assert patch[:40].max() > 1


def test_the_band_of_a_tone_is_the_strongest() -> None:
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    centers = 700 * np.expm1(edges[1:-1] / 1127)
    patch = SETTINGS.values(tone(1.0, SR, hz=1000.0)).reshape(96, 64)
    assert set(patch.argmax(axis=1)) == {int(np.abs(centers - 1000).argmin())}


def test_windows_other_than_patches_are_an_error() -> None:
    SETTINGS.check_windows(0.975)
    for seconds in (None, 3.0):
        with pytest.raises(UsageError, match=r"--windows 0\.975"):
            SETTINGS.check_windows(seconds)


def test_the_last_frames_are_correct_if_their_number_is_not_a_multiple_of_16() -> None:
    # Frames are processed 16 at once; of 17 frames, most are processed twice.
    y = noise(1.0, SR)[: 400 + 16 * 160]
    assert np.abs(SETTINGS.log_mel(y) - reference(y)).max() < 5e-4
