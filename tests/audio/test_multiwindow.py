"""Statistics at several window sizes are equal to librosa with the same settings."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest
from librosa import feature, onset
from scipy import stats

from genremill.infra.errors import UsageError
from genremill.udfs.dsp.rhythm import RATIOS, tempogram_ratio
from genremill.udfs.feature_sets.multiwindow import FLOORS, ROWS, STATISTICS, Multiwindow
from tests.audio.audio_corpus import SYNTHETIC, noise, real_clip, real_paths
from tests.audio.test_fma518 import SCALES, TOLERANCE

SR = 22050
SECONDS = 1.5
NAMES = ("song", "half silent", "clicks", "noise", "tone", "silence", "song at 1e-4", "one over a frame")
SIGNALS = {name: SYNTHETIC[name](SECONDS) for name in NAMES} | {
    path.stem[:24]: real_clip(path, SECONDS) for path in real_paths()[:1]
}
FEATURES = Multiwindow()
COMPARED = Multiwindow(windows=(512, 2048, 8192))
"""librosa takes seconds for all five."""


def rows(y: npt.NDArray[np.float32], window: int) -> Iterator[tuple[str, npt.NDArray[np.floating]]]:
    """Each feature from its own call of librosa."""
    hop = window // 4
    yield "mfcc", feature.mfcc(y=y, sr=SR, n_mfcc=20, n_fft=window, hop_length=hop)
    yield "chroma_stft", feature.chroma_stft(y=y, sr=SR, n_fft=window, hop_length=hop)
    yield "chroma_cens", feature.chroma_cens(y=y, sr=SR, hop_length=hop, bins_per_octave=12)
    yield "spectral_centroid", feature.spectral_centroid(y=y, sr=SR, n_fft=window, hop_length=hop)
    yield "spectral_bandwidth", feature.spectral_bandwidth(y=y, sr=SR, n_fft=window, hop_length=hop)
    yield "spectral_rolloff", feature.spectral_rolloff(y=y, sr=SR, n_fft=window, hop_length=hop)
    yield "spectral_contrast", feature.spectral_contrast(y=y, sr=SR, n_fft=window, hop_length=hop)
    yield "zcr", feature.zero_crossing_rate(y, frame_length=window, hop_length=hop)
    yield "tonnetz", feature.tonnetz(y=y, sr=SR, hop_length=hop, bins_per_octave=12)
    strength = onset.onset_strength(y=y, sr=SR, n_fft=window, hop_length=hop)
    yield (
        "tempogram_ratio",
        feature.tempogram_ratio(onset_envelope=strength, sr=SR, hop_length=hop),
    )


def reference(y: npt.NDArray[np.float32], window: int) -> dict[str, float]:
    """librosa's rows and scipy's statistics, in double precision; constant rows have skewness 0."""
    found = {}
    for name, single in rows(y, window):
        x = np.asarray(single, np.float64)
        constant = np.std(x, axis=1) <= np.maximum(1e-4 * np.abs(x).max(axis=1), FLOORS.get(name, 0.0))
        by_statistic = {
            "min": x.min(axis=1),
            "max": x.max(axis=1),
            "mean": x.mean(axis=1),
            "var": x.var(axis=1),
            "skew": np.where(constant, 0.0, stats.skew(x, axis=1)),
            "kurtosis": np.where(constant, 0.0, stats.kurtosis(x, axis=1)),
        }
        for statistic, values in by_statistic.items():
            for row, value in enumerate(values, start=1):
                found[f"{name}_{row:02d}_{statistic}_{window}"] = float(value)
    return found


def scale(name: str) -> float:
    feature_name, _, statistic, _ = name.rsplit("_", 3)
    if statistic in ("skew", "kurtosis"):
        return 1.0
    of_feature = (SCALES | {"tempogram_ratio": 1.0})[feature_name]
    return of_feature**2 if statistic == "var" else of_feature


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", SIGNALS)
def test_values_are_equal_to_librosa(name: str) -> None:
    y = SIGNALS[name]
    found = dict(zip(COMPARED.value_names, COMPARED.values(y), strict=True))
    for window in COMPARED.windows:
        for value, expected in reference(y, window).items():
            allowed = TOLERANCE * max(abs(expected), 0.01 * scale(value))
            assert found.pop(value) == pytest.approx(expected, abs=allowed), value
    assert not found


def test_every_value_has_a_unique_name() -> None:
    names = FEATURES.value_names
    assert len(names) == len(set(names)) == 5 * sum(ROWS.values()) * len(STATISTICS) == 2220
    assert {"mfcc_01_mean_512", "tempogram_ratio_13_kurtosis_8192", "zcr_01_var_2048"} <= set(names)


def test_values_of_a_window_size_do_not_depend_on_the_other_sizes() -> None:
    y = SIGNALS["song"]
    alone = Multiwindow(windows=(2048,))
    among = dict(zip(FEATURES.value_names, FEATURES.values(y), strict=True))
    assert alone.values(y).tolist() == [among[name] for name in alone.value_names]


def test_the_shortest_signals_have_finite_values() -> None:
    assert np.isfinite(FEATURES.values(noise(1.0)[:2048])).all()


@pytest.mark.parametrize("windows", [(1000,), (128,)])
def test_an_invalid_window_size_is_an_error(windows: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="powers of two"):
        Multiwindow(windows=windows)


def test_the_tempo_of_clicks_has_ratio_one() -> None:
    onsets = np.zeros(1000, np.float32)
    onsets[::20] = 1  # 129.2 per minute at 512 samples per frame
    found = dict(zip(RATIOS, tempogram_ratio(onsets, sr=SR, hop_length=512).mean(axis=1), strict=True))
    assert found[1] > 0.9
    assert found[1 / 2] > 0.8
    assert found[3 / 4] < 0.05
