"""The constant-Q transform and its chroma are equal to librosa, also with settings that no set uses."""

import librosa
import numpy as np
import pytest
from librosa import feature

from genremill.infra.errors import UsageError
from genremill.udfs.dsp.chroma import chroma_cens, chroma_cqt, tonnetz
from genremill.udfs.dsp.constant_q import C1, ConstantQ, constant_q
from tests.audio.audio_corpus import half_silent, tone

SETTINGS = [
    ConstantQ(),
    ConstantQ(hop_length=128),
    ConstantQ(bins_per_octave=36),
    ConstantQ(sr=44100),
    ConstantQ(sr=44100, hop_length=2048),
]


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("tuning", [0.0, -0.5, 0.37])
def test_transform_and_chroma_are_equal_to_librosa(settings: ConstantQ, tuning: float) -> None:
    y = half_silent(2.0, settings.sr)
    bins = settings.bins_per_octave
    expected = np.abs(
        librosa.cqt(
            y,
            sr=settings.sr,
            hop_length=settings.hop_length,
            n_bins=7 * bins,
            bins_per_octave=bins,
            tuning=tuning,
        )
    )
    found = constant_q(y, settings, tuning=tuning)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)
    own, librosas = chroma_cqt(found), feature.chroma_cqt(C=expected, bins_per_octave=bins)
    assert own == pytest.approx(librosas, rel=1e-4, abs=1e-6)
    cens = feature.chroma_cens(C=expected, bins_per_octave=bins)
    assert chroma_cens(found) == pytest.approx(cens, abs=1e-6)
    assert tonnetz(own) == pytest.approx(feature.tonnetz(chroma=librosas), abs=1e-5)


@pytest.mark.parametrize("semitone", [0, 9, 11])
def test_the_pitch_class_of_a_tone_is_the_strongest(semitone: int) -> None:
    y = tone(1.0, hz=C1 * 2 ** (3 + semitone / 12))
    middle = chroma_cqt(constant_q(y, ConstantQ(), tuning=0.0))[:, 10:-10]
    assert (middle.argmax(axis=0) == semitone).all()
    assert (middle.max(axis=0) == 1).all()


def test_a_hop_that_cannot_be_halved_is_an_error() -> None:
    with pytest.raises(UsageError, match="multiple of 64"):
        ConstantQ(hop_length=500)


def test_silence_has_no_chroma() -> None:
    transform = constant_q(np.zeros(22050, np.float32), ConstantQ(), tuning=0.0)
    for found in (transform, chroma_cqt(transform), chroma_cens(transform), tonnetz(chroma_cqt(transform))):
        assert not found.any()
