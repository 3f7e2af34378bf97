"""The constant-Q transform and its chroma are equal to librosa, also with settings that no set uses."""

import librosa
import numpy as np
import pytest
from librosa import feature

from genremill.infra.errors import UsageError
from genremill.udfs.dsp.constant_q import C1, constant_q
from genremill.udfs.dsp.pitch import chroma_cens, chroma_cqt, tonnetz
from tests.audio.audio_corpus import half_silent, tone


@pytest.mark.parametrize(("sr", "hop_length"), [(22050, 512), (22050, 128), (44100, 512), (44100, 2048)])
@pytest.mark.parametrize("tuning", [0.0, -0.5, 0.37])
def test_transform_and_chroma_are_equal_to_librosa(sr: int, hop_length: int, tuning: float) -> None:
    y = half_silent(2.0, sr)
    expected = np.abs(librosa.cqt(y, sr=sr, hop_length=hop_length, n_bins=84, tuning=tuning))
    found = constant_q(y, sr=sr, hop_length=hop_length, tuning=tuning)
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-7)
    own, librosas = chroma_cqt(found), feature.chroma_cqt(C=expected, bins_per_octave=12)
    assert own == pytest.approx(librosas, rel=1e-4, abs=1e-6)
    cens = feature.chroma_cens(C=expected, bins_per_octave=12)
    assert chroma_cens(found) == pytest.approx(cens, abs=1e-6)
    assert tonnetz(own) == pytest.approx(feature.tonnetz(chroma=librosas), abs=1e-5)


@pytest.mark.parametrize("semitone", [0, 9, 11])
def test_the_pitch_class_of_a_tone_is_the_strongest(semitone: int) -> None:
    y = tone(1.0, hz=C1 * 2 ** (3 + semitone / 12))
    middle = chroma_cqt(constant_q(y, sr=22050, hop_length=512, tuning=0.0))[:, 10:-10]
    assert (middle.argmax(axis=0) == semitone).all()
    assert (middle.max(axis=0) == 1).all()


def test_a_hop_that_cannot_be_halved_is_an_error() -> None:
    with pytest.raises(UsageError, match="multiple of 64"):
        constant_q(np.zeros(22050, np.float32), sr=22050, hop_length=500)


def test_silence_has_no_chroma() -> None:
    transform = constant_q(np.zeros(22050, np.float32), sr=22050, hop_length=512, tuning=0.0)
    for found in (transform, chroma_cqt(transform), chroma_cens(transform), tonnetz(chroma_cqt(transform))):
        assert not found.any()
