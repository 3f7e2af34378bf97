"""What all feature sets have in common: a name, a shape, and flat rows of it whatever the windows."""

import math

import numpy as np
import pytest

from genremill.udfs.feature_sets import base, registry
from genremill.udfs.feature_sets.base import WHOLE, FeatureSet
from tests.audio.audio_corpus import song

SHAPES = {
    "gtzan57": (57,),
    "fma518": (518,),
    "multiwindow": (2220,),
    "windows57": (10, 57),
    "segments": (512, 24),
    "logmel": (1, 96, 64),
    "musicnn": (250,),
    "musicnn_vgg": (306,),
} | {name: (1, 64, 64) for name in registry.FEATURE_SETS if name.startswith("spectrogram:")}
VECTOR, SEQUENCE = 1, 2


def default_windows(features: FeatureSet) -> float | None:
    return None if features.default_windows == WHOLE else float(features.default_windows)


def test_there_are_ten_spectrograms_and_the_others() -> None:
    assert sum(name.startswith("spectrogram:") for name in SHAPES) == 10
    assert set(SHAPES) == set(registry.FEATURE_SETS)


@pytest.mark.parametrize("name", SHAPES)
def test_rows_are_flat_finite_and_of_the_records_shape(name: str) -> None:
    features, shape = registry.named(name), SHAPES[name]
    described = base.record(features, {"seconds": 30.0})
    assert described["name"] == features.name == name
    assert described["shape"] == list(shape)
    channels = shape[-1] if len(shape) <= SEQUENCE else shape[0]
    assert len(set(features.value_names)) == len(features.value_names) == channels
    features.check_windows(default_windows(features))
    for seconds in (1.5, 3.2):
        rows = features.rows(song(seconds, features.sr), default_windows(features))
        assert rows[0].start_s == 0
        for row in rows:
            assert row.values.shape == (math.prod(shape),)
            assert row.values.dtype == np.float32
            assert np.isfinite(row.values).all()


def test_records_of_the_first_sets_are_as_they_were() -> None:
    # Features that are in a warehouse must not be extracted again.
    described = base.record(registry.named("gtzan57"), {"windows": WHOLE})
    assert set(described) == {"name", "settings", "revision", "versions", "shape", "values"}
    assert described["settings"] == {
        "sr": 22050,
        "n_fft": 2048,
        "hop_length": 512,
        "n_mels": 128,
        "n_mfcc": 20,
        "n_chroma": 12,
        "roll_percent": 0.85,
        "windows": "whole",
    }
    assert set(described["versions"]) == {"librosa", "numpy", "scipy", "soundfile", "soxr"}  # type: ignore[call-overload]
