"""The ten kinds of spectrogram: equal to librosa, resized like Pillow, and correct for simple signals."""

from collections.abc import Callable
from typing import Any

import librosa
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from genremill.udfs.feature_sets import registry
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.registry import SpectrogramKind
from genremill.udfs.feature_sets.spectrogram import Spectrogram, resized
from tests.audio.audio_corpus import SR, chord, clicks, drums, noise, song, sweep, tone

pytestmark = pytest.mark.filterwarnings("ignore:Trying to estimate tuning")

FRAME: dict[str, Any] = {"n_fft": 1024, "hop_length": 512}
SIGNALS = {make.__name__: make(3.0) for make in (song, chord, drums, noise, tone, sweep, clicks)}
Rows = npt.NDArray[np.floating]
Librosas = Callable[[Signal], Rows]


def magnitudes(y: Signal) -> Rows:
    found: Rows = np.abs(librosa.stft(y, **FRAME))
    return found


def log_mel(y: Signal) -> Rows:
    mel = librosa.feature.melspectrogram(y=y, sr=SR, **FRAME)
    found: Rows = librosa.power_to_db(mel)
    return found


def cqt(y: Signal) -> Rows:
    transform = librosa.cqt(y, sr=SR, hop_length=512, n_bins=84, bins_per_octave=12, tuning=None)
    found: Rows = np.abs(transform)
    return found


def chroma_cqt(y: Signal) -> Rows:
    found: Rows = librosa.feature.chroma_cqt(C=cqt(y), sr=SR, bins_per_octave=12)
    return found


def tempogram(y: Signal) -> Rows:
    onsets = librosa.onset.onset_strength(S=log_mel(y), sr=SR, **FRAME)
    found: Rows = librosa.feature.tempogram(onset_envelope=onsets, sr=SR, hop_length=512)
    return found


REFERENCES: dict[SpectrogramKind, tuple[Librosas, float]] = {
    SpectrogramKind.DB: (lambda y: librosa.amplitude_to_db(magnitudes(y), ref=np.max), 80.0),
    SpectrogramKind.POWER_DB: (lambda y: librosa.power_to_db(magnitudes(y) ** 2), 80.0),
    SpectrogramKind.PHASE: (lambda y: np.angle(librosa.stft(y, **FRAME)), np.pi),
    SpectrogramKind.CHROMA: (lambda y: librosa.feature.chroma_stft(y=y, sr=SR, **FRAME), 1.0),
    SpectrogramKind.CHROMA_CQT: (chroma_cqt, 1.0),
    SpectrogramKind.MFCC: (lambda y: librosa.feature.mfcc(S=log_mel(y), sr=SR, n_mfcc=20), 80.0),
    SpectrogramKind.MEL: (log_mel, 80.0),
    SpectrogramKind.CQT: (lambda y: librosa.amplitude_to_db(cqt(y), ref=np.max), 80.0),
    SpectrogramKind.TEMPOGRAM: (tempogram, 1.0),
    SpectrogramKind.TONNETZ: (lambda y: librosa.feature.tonnetz(chroma=chroma_cqt(y), sr=SR), 1.0),
}
"""The reference from librosa, and the scale for the comparison."""


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("kind", SpectrogramKind)
def test_every_kind_is_equal_to_librosa(kind: SpectrogramKind, name: str) -> None:
    reference, scale = REFERENCES[kind]
    ours, theirs = Spectrogram(kind=kind).image(SIGNALS[name]), reference(SIGNALS[name])
    assert ours.shape == theirs.shape
    # In silence, a tempogram only shows rounding errors.
    tolerance = 1e-3 * scale
    off = np.abs(ours - theirs)
    if kind is SpectrogramKind.TEMPOGRAM:
        assert np.median(off) < tolerance
        assert np.mean(off > tolerance) < 0.01
    else:
        assert off.max() < tolerance


@pytest.mark.parametrize("shape", [(513, 130), (12, 130), (6, 5), (64, 64), (384, 1292)])
def test_resizing_is_equal_to_pillow(shape: tuple[int, int]) -> None:
    picture = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    theirs = np.asarray(Image.fromarray(picture).resize((64, 48), Image.Resampling.BILINEAR))
    assert np.abs(resized(picture, 48, 64) - theirs).max() < 1e-4


def test_resizing_keeps_a_constant_image() -> None:
    assert resized(np.full((20, 99), 3.0), 64, 64) == pytest.approx(np.full((64, 64), 3.0), rel=1e-6)


def picture(kind: SpectrogramKind, y: Signal) -> Rows:
    features = registry.named(f"spectrogram:{kind}")
    values = features.values(y)
    assert values.dtype == np.float32
    found: Rows = values.reshape(features.shape)[0]
    return found


def test_a_high_tone_is_in_a_higher_row_than_a_low_tone() -> None:
    for kind in (SpectrogramKind.DB, SpectrogramKind.POWER_DB, SpectrogramKind.MEL, SpectrogramKind.CQT):
        low, high = (picture(kind, tone(2.0, hz=hz)).mean(axis=1).argmax() for hz in (220.0, 1760.0))
        assert high > low, kind


def test_a_tone_three_octaves_higher_has_the_same_pitch_class() -> None:
    for kind in (SpectrogramKind.CHROMA, SpectrogramKind.CHROMA_CQT):
        lines = [picture(kind, tone(2.0, hz=hz)).mean(axis=1).argmax() for hz in (220.0, 440.0, 1760.0)]
        # A is the tenth of twelve pitch classes; the image has 64 lines.
        assert all(9 * 64 / 12 <= line < 10 * 64 / 12 for line in lines), kind


def test_a_click_is_a_bright_column() -> None:
    y = np.zeros(2 * SR, np.float32)
    y[SR] = 1.0
    assert abs(int(picture(SpectrogramKind.POWER_DB, y).mean(axis=0).argmax()) - 32) <= 1


def test_every_kind_is_finite_for_silence() -> None:
    for kind in SpectrogramKind:
        assert np.isfinite(picture(kind, np.zeros(SR, np.float32))).all(), kind
