"""Milliseconds to load 30 s of 44.1 kHz stereo: `librosa.load`, our decoding, and the same in the sandbox.

The three take turns, so that the ratios hold on a busy machine; each figure is the best of its rounds.
Isolation's share is of a clip's whole extraction: decoding in the sandbox and 28 ms of features.

Run: python tests/bench/bench_loading.py
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import soundfile

from genremill.udfs.decoding import DecodeSettings, decode
from genremill.udfs.sandbox import Sandbox

ROUNDS = 25
SOURCE_SR, SECONDS = 44100, 30
FEATURES_MS = 28.0
SETTINGS = DecodeSettings(sr=22050, seconds=SECONDS)


def clip() -> np.ndarray:
    """Thirty seconds of stereo with partials, beats and noise, shape (frames, 2)."""
    rng = np.random.default_rng(0)
    t = np.arange(SECONDS * SOURCE_SR) / SOURCE_SR
    chord = sum(np.sin(2 * np.pi * f * t) / f for f in (110.0, 220.0, 277.2, 329.6, 880.0, 3520.0)) * 30
    beat = np.exp(-8 * (t % 0.5)) * rng.standard_normal(t.size)
    return np.stack([chord + 0.3 * beat, 0.8 * chord + 0.4 * beat], axis=1).astype(np.float32) * 0.3


def best_of(loaders: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Milliseconds of each loader's fastest round."""
    found = dict.fromkeys(loaders, np.inf)
    for _ in range(ROUNDS):
        for name, load in loaders.items():
            start = time.perf_counter()
            load()
            found[name] = min(found[name], (time.perf_counter() - start) * 1000)
    return found


def main() -> None:
    """Prints the table."""
    y = clip()
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        print(f"{SECONDS} s of {SOURCE_SR} Hz stereo to mono at {SETTINGS.sr} Hz, ms; best of {ROUNDS}")
        print(
            f"{'':6}{'librosa':>9}{'decode':>9}{'ratio':>7}{'sandbox':>9}{'ratio':>7}{'isolation':>11}{'share':>7}"
        )
        for suffix in ("wav", "flac", "ogg", "mp3"):
            path = Path(folder) / f"clip.{suffix}"
            soundfile.write(path, y, SOURCE_SR)
            fd = os.open(path, os.O_RDONLY)
            ms = best_of(
                {
                    "librosa": partial(librosa.load, path, sr=SETTINGS.sr),
                    "decode": partial(decode, fd, SETTINGS),
                    "sandbox": partial(sandbox.decode, fd, SETTINGS),
                }
            )
            os.close(fd)
            isolation = ms["sandbox"] - ms["decode"]
            print(
                f"{suffix:6}{ms['librosa']:9.1f}{ms['decode']:9.1f}{ms['librosa'] / ms['decode']:7.2f}"
                f"{ms['sandbox']:9.1f}{ms['librosa'] / ms['sandbox']:7.2f}{isolation:11.2f}"
                f"{isolation / (ms['sandbox'] + FEATURES_MS):7.1%}"
            )
        start = time.perf_counter()
        with Sandbox() as another:
            fd = os.memfd_create("clip")
            os.write(fd, path.read_bytes())
            another.decode(fd, SETTINGS)
            os.close(fd)
        first = (time.perf_counter() - start) * 1000 - ms["sandbox"]
        print(f"a new child: {first:.0f} ms")


if __name__ == "__main__":
    main()
