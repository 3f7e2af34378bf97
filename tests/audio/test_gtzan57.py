"""gtzan57: equal to librosa 0.11 on the corpus of signals, and to calculated results.

Values may differ by 1e-3 of the larger of their own magnitude and a hundredth of the scale of the statistic.
The scale depends on the unit: half the sample rate for Hz, 1 for chroma and zero crossings, the peak of the
signal for RMS and the harmonic and percussive parts, 80 (the range of decibels) for MFCCs; variances have the
squares. Tempo and tuning are identical.
"""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest
import scipy.ndimage
import scipy.signal

from genremill.udfs import compiled
from genremill.udfs.dsp import mel, spectra
from genremill.udfs.dsp.hpss import hpss
from genremill.udfs.dsp.medians import WINDOW, SortingNetwork, medians_along_rows, medians_down_columns
from genremill.udfs.dsp.pitch import chroma_filters, estimate_tuning
from genremill.udfs.dsp.simd import TILE
from genremill.udfs.dsp.spectral_shape import spectral_shape
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
from tests.audio.audio_corpus import SR, clicks, corpus, drums, noise, song, tone
from tests.audio.librosa_reference import librosa_tuning, librosa_values
from tests.conftest import real_data

pytestmark = pytest.mark.filterwarnings("ignore:Trying to estimate tuning")

SETTINGS = Gtzan57()
NAMES = SETTINGS.value_names
TEMPO = NAMES.index("tempo")
SIGNALS = corpus(3.0, real=4)
PEAK_SERIES = ("rms", "harmony", "perceptr")
HZ_SERIES = ("spectral_centroid", "spectral_bandwidth", "rolloff")


def scale(name: str, y: Signal) -> float:
    """The scale of a value, in its unit."""
    series, statistic = name.rsplit("_", 1)
    if series in HZ_SERIES:
        unit = SR / 2
    elif series in PEAK_SERIES:
        unit = float(np.abs(y).max())
    else:
        unit = 80.0 if series.startswith("mfcc") else 1.0
    return unit**2 if statistic == "var" else unit


def value(y: Signal, name: str) -> float:
    return float(SETTINGS.values(y)[NAMES.index(name)])


@pytest.mark.parametrize("name", SIGNALS)
def test_every_value_is_equal_to_librosa(name: str) -> None:
    y = SIGNALS[name]
    ours, theirs = SETTINGS.values(y), librosa_values(y, SETTINGS)
    assert ours.shape == (57,)
    assert ours.dtype == np.float32
    assert ours[TEMPO] == np.float32(theirs[TEMPO])
    off = {
        value_name: (float(our), their)
        for value_name, our, their in zip(NAMES, ours, theirs, strict=True)
        if value_name != "tempo"
        and not abs(our - their) <= 1e-3 * max(abs(their), 0.01 * scale(value_name, y))
    }
    assert not off
    P_TF = np.square(spectra.magnitudes(y, n_fft=2048, hop_length=512))
    assert estimate_tuning(P_TF, sr=SR) == librosa_tuning(y, SETTINGS)


def test_names_are_equal_to_the_published_table() -> None:
    with real_data("gtzan-features/features_30_sec.csv").open() as table:
        assert list(NAMES) == next(csv.reader(table))[2:-1]
    assert len(NAMES) == 57


def test_all_values_of_silence_are_zero_except_the_first_coefficient() -> None:
    values = SETTINGS.values(np.zeros(SR, np.float32))
    found = dict(zip(NAMES, values.tolist(), strict=True))
    # 128 bands of -100 dB: -100 * sqrt(128).
    assert found.pop("mfcc1_mean") == pytest.approx(-1131.37, abs=0.01)
    assert not any(found.values())


def test_centroid_level_and_crossings_of_a_tone() -> None:
    y = tone(3.0, hz=1000.0)
    assert value(y, "spectral_centroid_mean") == pytest.approx(1000, rel=0.01)
    assert value(y, "rolloff_mean") == pytest.approx(1000, abs=2 * SR / 2048)
    assert value(y, "rms_mean") == pytest.approx(0.5 / np.sqrt(2), rel=0.02)
    assert value(y, "zero_crossing_rate_mean") == pytest.approx(2 * 1000 / SR, rel=0.02)


@pytest.mark.parametrize("bpm", [100, 126, 160])
def test_the_tempo_of_drums_is_correct(bpm: int) -> None:
    assert value(drums(10.0, bpm=bpm), "tempo") == pytest.approx(bpm, rel=0.03)


def test_a_tone_is_harmonic_and_clicks_are_percussive() -> None:
    assert value(tone(2.0), "harmony_var") > 50 * value(tone(2.0), "perceptr_var")
    assert value(clicks(2.0), "perceptr_var") > 50 * value(clicks(2.0), "harmony_var")


def test_a_louder_signal_only_changes_the_level() -> None:
    soft, loud = SETTINGS.values(song(2.0)), SETTINGS.values(np.float32(2) * song(2.0))
    for name, one, other in zip(NAMES, soft, loud, strict=True):
        gain = 4 if name in ("rms_var", "harmony_var", "perceptr_var") else 2
        if name.startswith(PEAK_SERIES):
            assert other == pytest.approx(gain * one, rel=1e-4, abs=1e-9)
        elif name != "mfcc1_mean":
            assert other == pytest.approx(one, rel=1e-3, abs=1e-3)


def test_harmonic_and_percussive_part_add_up_to_the_signal() -> None:
    y = song(1.0)
    D_TF = spectra.stft(y, n_fft=2048, hop_length=512)
    harmonic, percussive = hpss(y, D_TF, np.abs(D_TF), hop_length=512)
    assert harmonic + percussive == pytest.approx(y, abs=1e-6)


def test_the_selection_network_finds_medians() -> None:
    values = np.random.default_rng(0).permutation(WINDOW + TILE - 1).tolist()
    medians = SortingNetwork(min, max).medians(values)
    assert medians == [sorted(values[at : at + WINDOW])[WINDOW // 2] for at in range(TILE)]


@pytest.mark.parametrize("shape", [(1, 1025), (5, 257), (16, 16), (40, 70), (130, 1025)])
def test_medians_are_identical_to_scipy(shape: tuple[int, int]) -> None:
    S = np.random.default_rng(1).random(shape).astype(np.float32)
    S[S < 0.2] = 0  # ties
    down, along = medians_down_columns(S), medians_along_rows(S)
    assert np.array_equal(down, scipy.ndimage.median_filter(S, size=(WINDOW, 1), mode="reflect"))
    assert np.array_equal(along, scipy.ndimage.median_filter(S, size=(1, WINDOW), mode="reflect"))


@pytest.mark.parametrize(("sr", "n_fft"), [(22050, 2048), (44100, 512), (22050, 8192)])
@pytest.mark.filterwarnings("ignore:Empty filters")
def test_filters_and_windows_are_identical_to_librosa(sr: int, n_fft: int) -> None:
    assert np.array_equal(spectra.hann(n_fft), scipy.signal.get_window("hann", n_fft))
    assert np.array_equal(mel.mel_bands(sr, n_fft)[0], librosa.filters.mel(sr=sr, n_fft=n_fft))
    for tuning in (0.0, -0.37):
        theirs = librosa.filters.chroma(sr=sr, n_fft=n_fft, tuning=tuning)
        assert np.array_equal(chroma_filters(sr, n_fft, tuning=tuning), theirs)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 128), (2048, 512), (8192, 2048)])
def test_spectra_are_identical_to_librosa(n_fft: int, hop_length: int) -> None:
    y = noise(1.0)
    theirs = librosa.stft(y, n_fft=n_fft, hop_length=hop_length)
    assert np.array_equal(spectra.stft(y, n_fft=n_fft, hop_length=hop_length), theirs.T)
    assert np.array_equal(spectra.magnitudes(y, n_fft=n_fft, hop_length=hop_length), np.abs(theirs.T))


def in_fresh_process(code: str, **environment: str) -> dict[str, object]:
    """The JSON that a new Python process prints."""
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=os.environ | environment
    )
    answer: dict[str, object] = json.loads(ran.stdout)
    return answer


def test_workers_load_kernels_and_never_compile_them(tmp_path: Path) -> None:
    for kernel in compiled.kernels():
        kernel.load()
    assert compiled.is_warm()
    code = """
import json, sys
from genremill.infra.errors import UsageError
from genremill.udfs import compiled
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
try:
    compiled.require_warm()
    error = ""
    Gtzan57().warm()
except UsageError as err:
    error = str(err)
misses = [k.dispatcher.__name__ for k in compiled.kernels() if k.dispatcher.stats.cache_misses]
print(json.dumps({"error": error, "misses": misses}))
"""
    assert in_fresh_process(code) == {"error": "", "misses": []}
    cold = in_fresh_process(code, NUMBA_CACHE_DIR=str(tmp_path))
    assert compiled.COMMAND in str(cold["error"])
    assert cold["misses"] == []


def test_a_loaded_kernel_rejects_other_types() -> None:
    compiled.require_warm()
    with pytest.raises(TypeError):
        spectral_shape(np.ones((20, 1025), np.float64), sr=SR)
