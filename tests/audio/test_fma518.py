"""fma518: equal to librosa and scipy on the corpus of signals; names; calculated results."""

import subprocess
import sys
import warnings

import numpy as np
import numpy.typing as npt
import pytest

from genremill.udfs.dsp.moments import median, moments
from genremill.udfs.feature_sets.fma518 import FLOORS, ROWS, STATISTICS, Fma518
from tests.audio import librosa_fma518
from tests.audio.audio_corpus import Signal, corpus, noise, song, tone

SECONDS = 3.0


def band_limited(y: Signal) -> Signal:
    """The signal with only the lower quarter of its spectrum."""
    spectrum = np.fft.rfft(y)
    spectrum[len(spectrum) // 4 :] = 0
    return np.fft.irfft(spectrum, len(y)).astype(np.float32)


def extremes() -> dict[str, Signal]:
    """Signals with almost no energy in some frames or bands, where normalizing magnifies rounding errors."""
    y = song(SECONDS)
    falling = np.exp(-4 * np.linspace(0, SECONDS, len(y), dtype=np.float32))
    bits = np.random.default_rng(1).random(len(y)) < 1e-3
    return {
        "a last bit now and then": (bits / 32768).astype(np.float32),
        "at 1e-10": np.float32(1e-10) * y,
        "fading": falling * y,
        "fading in 16 bits": np.round(falling * y * 32768) / np.float32(32768),
        "band-limited": band_limited(y),
        "once more at 1e-5": np.concatenate([y[: len(y) // 2], np.float32(1e-5) * y[: len(y) // 2]]),
        "over the highest filter": tone(SECONDS, hz=9000),
        "dc, then silence": np.repeat(np.array([0.3, 0], np.float32), len(y) // 2),
    }


SIGNALS = corpus(SECONDS, real=3) | extremes()
FEATURES = Fma518()
SCALES = {
    "chroma_cens": 1.0,
    "chroma_cqt": 1.0,
    "chroma_stft": 1.0,
    "mfcc": 100.0,  # dB
    "rms": 0.1,
    "spectral_bandwidth": 1000.0,  # Hz
    "spectral_centroid": 1000.0,
    "spectral_contrast": 20.0,  # dB
    "spectral_rolloff": 1000.0,
    "tonnetz": 0.1,
    "zcr": 0.1,
}
"""The scale of the values of each feature; skewness and kurtosis have the scale 1."""
TOLERANCE = 1e-3
"""Largest difference, relative to the larger of the magnitude and a hundredth of the scale."""


def scales() -> npt.NDArray[np.float64]:
    return np.array(
        [
            1.0 if statistic in ("skew", "kurtosis") else SCALES[feature]
            for feature, rows in ROWS.items()
            for statistic in STATISTICS
            for _ in range(rows)
        ]
    )


def reference(y: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    """librosa's rows and scipy's statistics in double precision; constant rows have skewness 0."""
    found = librosa_fma518.rows(y)
    in_double = {name: np.asarray(found[name], np.float64) for name in ROWS}
    by_name = librosa_fma518.statistics(in_double)
    for name, x in in_double.items():
        constant = np.std(x, axis=1) <= np.maximum(1e-4 * np.abs(x).max(axis=1), FLOORS.get(name, 0.0))
        for statistic in ("skew", "kurtosis"):
            by_name[f"{name}_{statistic}"][constant] = 0.0
    return np.concatenate([by_name[f"{name}_{statistic}"] for name in ROWS for statistic in STATISTICS])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SIGNALS)
def test_values_are_equal_to_librosa(name: str) -> None:
    y = SIGNALS[name]
    expected, found = reference(y), FEATURES.values(y)
    off = np.abs(found - expected) / np.maximum(np.abs(expected), 0.01 * scales())
    worst = int(np.argmax(off))
    assert off[worst] <= TOLERANCE, (FEATURES.value_names[worst], expected[worst], found[worst])


def test_names_are_unique_and_in_the_datasets_order() -> None:
    names = FEATURES.value_names
    assert len(names) == len(set(names)) == 518
    assert list(names) == sorted(names)
    assert names[0] == "chroma_cens_kurtosis_01"
    assert {"mfcc_mean_20", "spectral_contrast_median_07", "tonnetz_std_06", "zcr_max_01"} <= set(names)


@pytest.mark.parametrize("samples", [2048, 2049, 5000])
def test_short_signals_have_finite_values(samples: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(FEATURES.values(noise(1.0)[:samples])).all()


def test_importing_the_module_does_not_import_librosa() -> None:
    imports = "import sys, genremill.udfs.feature_sets.fma518, genremill.udfs.feature_sets.multiwindow"
    program = [sys.executable, "-c", f"{imports}; sys.exit('librosa' in sys.modules)"]
    assert subprocess.run(program, check=False).returncode == 0


def test_a_louder_signal_only_changes_the_level() -> None:
    y = SIGNALS["song"]
    quiet, loud = (dict(zip(FEATURES.value_names, FEATURES.values(g * y), strict=True)) for g in (1, 4))
    assert loud["rms_mean_01"] == pytest.approx(4 * quiet["rms_mean_01"])
    same = [
        name for name in FEATURES.value_names if name.startswith(("chroma", "tonnetz", "zcr", "spectral_r"))
    ]
    assert [loud[name] for name in same] == pytest.approx([quiet[name] for name in same], rel=1e-3, abs=1e-5)


def test_moments_are_equal_to_calculated_ones() -> None:
    rows = np.array([[0.0, 0.0, 0.0, 4.0], [1.0, -1.0, 1.0, -1.0], [5.0, 5.0, 5.0, 5.0]])
    found = moments(rows)
    assert found["mean"].tolist() == [1, 0, 5]
    assert found["var"].tolist() == [3, 1, 0]
    assert found["skew"] == pytest.approx([2 / np.sqrt(3), 0, 0])
    assert found["kurtosis"] == pytest.approx([21 / 9 - 3, -2, 0])
    assert (found["min"].tolist(), found["max"].tolist()) == ([0, -1, 5], [4, 1, 5])
    assert median(rows).tolist() == [0, 0, 5]
    assert median(rows[:, :3]).tolist() == [0, 1, 5]


def test_skewness_of_a_row_with_only_rounding_errors_is_zero() -> None:
    row = np.full((1, 100), 0.7, np.float32)
    row[0, 50] = np.nextafter(np.float32(0.7), np.float32(1))
    assert (moments(row)["skew"][0], moments(row)["kurtosis"][0]) == (0, 0)
    assert moments(row - row.mean(), floor=1e-6)["kurtosis"][0] == 0
