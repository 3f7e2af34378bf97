"""Time to load 30 s of 44.1 kHz stereo with `librosa.load`, with our decoder, and with it in the sandbox.

The second table compares the decoders: libsndfile, FFmpeg (PyAV), and our decoder with one of them.

The loaders take turns, and processor time is measured (with that of the child process), so that the ratios
also hold on a busy machine; each figure is the best of its rounds. `read` is libsndfile alone, without mixing
and resampling: no loader that uses libsndfile can have a better ratio than `at most`. The share of the
isolation is its part of the extraction of a clip: decoding in the sandbox and 28 ms of features.

Run: python -m tests.bench.bench_loading
"""

import contextlib
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import av
import librosa
import numpy as np
import soundfile

from genremill.infra.audio.faults import AudioRejected
from genremill.udfs.decoding import ffmpeg
from genremill.udfs.decoding.decode import decode
from genremill.udfs.decoding.recording import Recording
from genremill.udfs.decoding.sandbox import Sandbox
from genremill.udfs.decoding.segments import FileView
from genremill.udfs.decoding.settings import Budget, DecodeSettings
from tests.audio.ffmpeg_corpus import ENCODINGS, encoded as encoded_by_ffmpeg

ROUNDS = 40
SOURCE_SR, SECONDS = 44100, 30
FEATURES_MS = 28.0
DEMUXERS = {"ogg": "ogg", "mp3": "mp3", "flac": "flac", "aac": "mov", "alac": "mov", "wma": "asf"}
SETTINGS = DecodeSettings(sr=22050, seconds=SECONDS)


def clip() -> np.ndarray:
    """Thirty seconds of stereo with partials, beats and noise, shape (frames, 2)."""
    rng = np.random.default_rng(0)
    t = np.arange(SECONDS * SOURCE_SR) / SOURCE_SR
    chord = sum(np.sin(2 * np.pi * f * t) / f for f in (110.0, 220.0, 277.2, 329.6, 880.0, 3520.0)) * 30
    beat = np.exp(-8 * (t % 0.5)) * rng.standard_normal(t.size)
    return np.stack([chord + 0.3 * beat, 0.8 * chord + 0.4 * beat], axis=1).astype(np.float32) * 0.3


def own_ms() -> float:
    """Processor time of this process."""
    return time.process_time() * 1000


def best_of(load: dict[str, Callable[[], object]], clock: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Milliseconds of each loader's fastest round, by its clock."""
    fastest = dict.fromkeys(load, np.inf)
    for _ in range(ROUNDS):
        for name, run in load.items():
            start = clock[name]()
            run()
            fastest[name] = min(fastest[name], clock[name]() - start)
    return fastest


def latency_ms(sandbox: Sandbox, path: Path, files: int = 2000) -> tuple[float, float]:
    """Best wall time of the shortest file in the sandbox and in this process."""
    soundfile.write(path, clip()[:2048, 0], SETTINGS.sr)
    fd = os.open(path, os.O_RDONLY)
    best = [np.inf, np.inf]
    for _ in range(files):
        for index, run in enumerate((sandbox.decode, decode)):
            start = time.perf_counter()
            run(fd, SETTINGS)
            best[index] = min(best[index], (time.perf_counter() - start) * 1000)
    os.close(fd)
    return best[0], best[1]


def main() -> None:
    """Prints the table."""
    y = clip()
    with tempfile.TemporaryDirectory() as folder, Sandbox() as sandbox:
        isolated, direct = latency_ms(sandbox, Path(folder) / "short.wav")

        def with_child_ms() -> float:
            """Processor time of this process and of the sandbox's child."""
            return own_ms() + int(Path(f"/proc/{sandbox.pid}/schedstat").read_text().split()[0]) / 1e6

        print(f"{SECONDS} s of {SOURCE_SR} Hz stereo to mono at {SETTINGS.sr} Hz: ms of processor time")
        columns = [("librosa", 9), ("read", 7), ("at most", 9)]
        columns += [("decode", 9), ("ratio", 7), ("sandbox", 9), ("ratio", 7)]
        columns += [("isolation", 11), ("share", 7)]
        print(" " * 6 + "".join(f"{name:>{width}}" for name, width in columns))
        for suffix in ("wav", "flac", "ogg", "mp3"):
            path = Path(folder) / f"clip.{suffix}"
            soundfile.write(path, y, SOURCE_SR)
            fd = os.open(path, os.O_RDONLY)
            ms = best_of(
                {
                    "librosa": partial(librosa.load, path, sr=SETTINGS.sr),
                    "read": partial(soundfile.read, path, dtype="float32"),
                    "decode": partial(decode, fd, SETTINGS),
                    "sandbox": partial(sandbox.decode, fd, SETTINGS),
                },
                {"librosa": own_ms, "read": own_ms, "decode": own_ms, "sandbox": with_child_ms},
            )
            os.close(fd)
            isolation = ms["sandbox"] - ms["decode"]
            print(
                f"{suffix:6}{ms['librosa']:9.1f}{ms['read']:7.1f}{ms['librosa'] / ms['read']:9.2f}"
                f"{ms['decode']:9.1f}{ms['librosa'] / ms['decode']:7.2f}"
                f"{ms['sandbox']:9.1f}{ms['librosa'] / ms['sandbox']:7.2f}{isolation:11.2f}"
                f"{isolation / (ms['sandbox'] + FEATURES_MS):7.1%}"
            )
        print_decoders(Path(folder))
        print(f"shortest file, wall time: {direct:.2f} ms, in the sandbox {isolated:.2f} ms")
    print(f"a new child, wall time: {start_ms():.0f} ms")


def ffmpeg_read(path: Path) -> None:
    """Decodes a file with FFmpeg to float32, as `soundfile.read` does, without mixing and resampling."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        stream.codec_context.thread_count = 1
        resampler = av.AudioResampler(format="flt")
        for frame in container.decode(stream):
            for converted in resampler.resample(frame):
                converted.to_ndarray()


def ours_with_ffmpeg(path: Path, demuxer: str) -> None:
    """Our decoder, with FFmpeg also for a format that libsndfile decodes."""
    with (
        path.open("rb") as file,
        contextlib.closing(ffmpeg.sources(FileView(file.fileno()), 0, demuxer)) as found,
    ):
        recording = Recording(SETTINGS, Budget(), None)
        for source in found:
            recording.add(source, 0)
        recording.decoded()


def print_decoders(folder: Path) -> None:
    """Prints the time of each decoder by format."""
    for name, made_by in (("aac", ENCODINGS[0]), ("alac", ENCODINGS[2]), ("wma", ENCODINGS[3])):
        (folder / f"clip.{name}").write_bytes(encoded_by_ffmpeg(made_by, clip()))
    print("decoders: ms of processor time; decoding alone, and with mixing and resampling")
    names = ("libsndfile", "FFmpeg", "librosa.load", "ours", "ours, FFmpeg")
    print(" " * 6 + "".join(f"{name:>14}" for name in names))
    for suffix, demuxer in DEMUXERS.items():
        path = folder / f"clip.{suffix}"
        load: dict[str, Callable[[], object]] = {
            "FFmpeg": partial(ffmpeg_read, path),
            "ours, FFmpeg": partial(ours_with_ffmpeg, path, demuxer),
        }
        if path.suffix in (".ogg", ".mp3", ".flac"):
            load |= {
                "libsndfile": partial(soundfile.read, path, dtype="float32"),
                "librosa.load": partial(librosa.load, path, sr=SETTINGS.sr),
                "ours": partial(ours, path),
            }
        ms = best_of(load, dict.fromkeys(load, own_ms))
        print(f"{suffix:6}" + "".join(f"{ms[name]:14.1f}" if name in ms else f"{'':14}" for name in names))


def ours(path: Path) -> None:
    """Our decoder with libsndfile."""
    with path.open("rb") as file:
        decode(file.fileno(), SETTINGS)


def start_ms() -> float:
    """Best wall time in which a new child rejects an empty file."""
    best = np.inf
    for _ in range(5):
        with Sandbox() as sandbox, open(os.devnull, "rb") as nothing:
            start = time.perf_counter()
            with contextlib.suppress(AudioRejected):
                sandbox.decode(nothing.fileno(), SETTINGS)
            best = min(best, (time.perf_counter() - start) * 1000)
    return best


if __name__ == "__main__":
    main()
