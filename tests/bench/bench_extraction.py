"""Speed of `gtzan57`, compared with librosa called function by function.

`OMP_NUM_THREADS=1 python -m tests.bench.bench_extraction`: librosa and our code take turns, so that other
load affects both alike, and the fastest of several runs counts. Compare the ratios, not the times.
"""

import io
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import librosa
import numpy as np
import soundfile
import soxr
import tyro

from genremill.udfs import compiled
from genremill.udfs.dsp import mel, onsets, pitch, rhythm, spectra, spectral_shape, waveform
from genremill.udfs.feature_sets.base import Signal
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
from tests.audio.audio_corpus import SR, real_clip, real_paths, song
from tests.audio.librosa_reference import librosa_series, librosa_tempo

SETTINGS = Gtzan57()
FIRST_CLIP = """
import time
started = time.perf_counter()
import numpy as np
from genremill.udfs import compiled
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
compiled.require_warm()
Gtzan57().values(np.random.default_rng(0).normal(scale=0.1, size=30 * 22050).astype(np.float32))
print(time.perf_counter() - started)
"""


@dataclass(frozen=True)
class Options:
    """What is measured."""

    seconds: float = 30.0
    repeats: int = 7


def fastest(repeats: int, *runs: Callable[[], object]) -> list[float]:
    """Milliseconds of the fastest run of each, taking turns."""
    times: list[list[float]] = [[] for _ in runs]
    for _ in range(repeats):
        for run, found in zip(runs, times, strict=True):
            started = time.perf_counter()
            run()
            found.append(1e3 * (time.perf_counter() - started))
    return [min(found) for found in times]


def librosa_without_hpss(y: Signal) -> None:
    """Every function of librosa but HPSS."""
    for name, series in librosa_series(SETTINGS).items():
        if name != "hpss":
            series(y)
    librosa_tempo(y, SETTINGS)


def librosa_by_function(y: Signal) -> None:
    """Every function of librosa on `y`; they do not share an STFT."""
    librosa_without_hpss(y)
    librosa_series(SETTINGS)["hpss"](y)


def ours_without_hpss(y: Signal) -> None:
    """All values but those of the harmonic and the percussive part."""
    n_fft, hop_length = SETTINGS.n_fft, SETTINGS.hop_length
    S_TF = spectra.magnitudes(y, n_fft=n_fft, hop_length=hop_length)
    P_TF = np.square(S_TF)
    log_mel_TM = spectra.power_to_db(mel.mel_spectrogram(P_TF, sr=SR))
    pitch.chroma(P_TF, sr=SR, tuning=pitch.estimate_tuning(P_TF, sr=SR))
    waveform.rms(y, frame_length=n_fft, hop_length=hop_length)
    spectral_shape.spectral_shape(S_TF, sr=SR)
    waveform.zero_crossing_rate(y, frame_length=n_fft, hop_length=hop_length)
    mel.mfcc(log_mel_TM).var(axis=0)
    strength = onsets.onset_strength(log_mel_TM, n_fft=n_fft, hop_length=hop_length, by_median=True)
    rhythm.tempo(strength, sr=SR, hop_length=hop_length)


def decode(data: bytes) -> Signal:
    """Mono signal at `SR` of an MP3."""
    samples, sr = soundfile.read(io.BytesIO(data), dtype="float32")
    y: Signal = samples if sr == SR else soxr.resample(samples, sr, SR)
    return y


def report(name: str, theirs: float, ours: float) -> None:
    """Prints one row of the table."""
    print(f"{name:34} {theirs:9.1f} {ours:9.1f} {theirs / ours:8.1f} x")


def measure(y: Signal, repeats: int) -> None:
    """Prints all comparisons on one clip."""
    window = 3 * SR
    windows = [y[start : start + window] for start in range(0, len(y) - window + 1, window)]
    mp3 = io.BytesIO()
    soundfile.write(mp3, y, SR, format="MP3")

    few = max(1, repeats // 3)
    slow, slow_windows = fastest(
        few, lambda: librosa_by_function(y), lambda: list(map(librosa_by_function, windows))
    )
    whole, by_window, slow_parts, parts, decoding, one_stft = fastest(
        repeats,
        lambda: SETTINGS.values(y),
        lambda: list(map(SETTINGS.values, windows)),
        lambda: librosa_without_hpss(y),
        lambda: ours_without_hpss(y),
        lambda: decode(mp3.getvalue()),
        lambda: librosa.stft(y, n_fft=SETTINGS.n_fft, hop_length=SETTINGS.hop_length),
    )
    print(f"{'':34} {'librosa':>9} {'ours':>9}   (ms)")
    report(f"gtzan57, {len(y) / SR:.0f} s", slow, whole)
    report(f"gtzan57, {len(windows)} windows of 3 s", slow_windows, by_window)
    report("without HPSS", slow_parts, parts)
    print(f"decoding {decoding:.1f} + one librosa.stft {one_stft:.1f} ms; ", end="")
    print(f"gtzan57 takes {whole / (decoding + one_stft):.2f} x that\n")


def main(options: Options) -> None:
    """Prints the speed on a synthesized and a real clip, and the time of the first clip in a new process."""
    compiled.require_warm()
    SETTINGS.warm()
    librosa_by_function(song(3.0))
    print("synthesized song")
    measure(song(options.seconds), options.repeats)
    for path in real_paths()[:1]:
        print(path.name)
        measure(real_clip(path, options.seconds, offset=0), options.repeats)
    first = [
        float(subprocess.run([sys.executable, "-c", FIRST_CLIP], capture_output=True, check=True).stdout)
        for _ in range(3)
    ]
    print(f"first clip of a new process, with imports: {min(first):.2f} s (librosa is not imported)")


if __name__ == "__main__":
    main(tyro.cli(Options))
