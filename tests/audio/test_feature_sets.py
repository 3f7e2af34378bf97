"""Properties of all feature sets: name, shape, flat rows for all windows, and stable fingerprints."""

import math
import subprocess
import sys
from typing import cast

import numpy as np
import pytest

from genremill.udfs.feature_sets import base, registry
from genremill.udfs.feature_sets.base import WHOLE, FeatureSet
from tests.audio.audio_corpus import song

SEQUENCE = 2
FINGERPRINTS = {
    "gtzan57": "1263fda082f64012",
    "multiwindow": "ff0395267b087957",
    "fma518": "3f35c611d6d2d679",
    "windows57": "61f49156dd2fee25",
    "segments": "3005d99e339617f7",
    "logmel": "9f7ee3fe6d178ba9",
    "musicnn": "9a1f0e89a39260f8",
    "musicnn_vgg": "6a973f9cc6883c51",
    "spectrogram:db": "e7542db8196d4f47",
    "spectrogram:power_db": "5d6a7d2f13c4fadc",
    "spectrogram:phase": "e54f363255bfec44",
    "spectrogram:chroma": "d0682c8433e17e2f",
    "spectrogram:chroma_cqt": "85af4d1c2ff38490",
    "spectrogram:mfcc": "f19dc64da9526d8c",
    "spectrogram:mel": "747c2fbd6ca311eb",
    "spectrogram:cqt": "f4bc2df1969b4f96",
    "spectrogram:tempogram": "e6949ae07b503c7c",
    "spectrogram:tonnetz": "28eda4296abdbfed",
}
"""Fingerprints of the sets with default settings, without the versions of libraries.

Version 0.1 had the same, except for `musicnn` and `musicnn_vgg`.
"""


def default_windows(features: FeatureSet) -> float | None:
    return None if features.default_windows == WHOLE else float(features.default_windows)


@pytest.mark.parametrize("name", registry.FEATURE_SETS)
def test_rows_are_flat_and_finite_and_have_the_shape_in_the_record(name: str) -> None:
    features = registry.named(name)
    shape = features.shape
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


@pytest.mark.parametrize("name", FINGERPRINTS)
def test_fingerprints_do_not_change(name: str) -> None:
    # Otherwise all features in existing warehouses would be extracted again.
    reading: dict[str, object] = {"seconds": 30.0, "offset": "start", "windows": "whole"}
    record = base.record(registry.named(name), reading)
    record["versions"] = sorted(cast(dict[str, str], record["versions"]))
    assert base.fingerprint(record) == FINGERPRINTS[name]


def test_the_record_of_a_set_keeps_its_keys_and_settings() -> None:
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


def test_workers_do_not_import_scipy_signal() -> None:
    # It would add most of a second to the start of every worker process.
    code = """
import sys
from genremill.udfs.feature_sets import registry
for name in ("gtzan57", "fma518"):
    registry.named(name).warm()
assert "scipy.signal" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
