"""A child for `Sandbox` that decodes files, but first does the action of a file that starts with `do:`."""

import contextlib
import ctypes
import mmap
import os
import subprocess
import sys
import time

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding import decode as decoding
from genremill.udfs.decoding.child import serve
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Signal


def _answer(words: bytes) -> None:
    os.write(int(sys.argv[1]), words)


def _segfault() -> None:
    ctypes.string_at(0)


def _hang() -> None:
    time.sleep(1000)


def _dawdle() -> None:
    time.sleep(3)
    raise AudioRejected(AudioReason.SILENT, "too late")


def _exit() -> None:
    os._exit(3)


def _allocate() -> None:
    blocks = []
    while True:
        blocks.append(np.ones(2**22, np.float32))


def _map_memory() -> None:
    blocks = []
    while True:
        blocks.append(mmap.mmap(-1, 2**24))


def _grandchild() -> None:
    """Hangs if the grandchild can be started."""
    subprocess.Popen(["sleep", "1000"])
    _hang()


def _write_file() -> None:
    """Makes the shared memory larger, as if it were a file."""
    os.lseek(int(sys.argv[2]), 0, os.SEEK_END)
    os.write(int(sys.argv[2]), b"x")


def _count_descriptors() -> None:
    found = 0
    for fd in range(1024):
        with contextlib.suppress(OSError):
            os.fstat(fd)
            found += 1
    raise AudioRejected(AudioReason.SILENT, str(found))


def _name_modules() -> None:
    packages = {name.partition(".")[0] for name in sys.modules}
    raise AudioRejected(AudioReason.SILENT, " ".join(sorted(packages & PACKAGES)))


def _print() -> None:
    print("words on stdout", flush=True)
    os.write(1, b"more of them" * 10_000)
    os.write(2, b"and on stderr" * 10_000)


def _garbage() -> None:
    _answer(b"\xff\x00garbage")
    _hang()


def _deep_nesting() -> None:
    _answer(b"[" * 4000)
    _hang()


def _unknown_reason() -> None:
    _answer(b'{"reason": "bad mood", "detail": ""}')
    _hang()


def _too_many_samples() -> None:
    _answer(b'{"samples": 1000000000, "coverage": 1, "seconds_decoded": 30}')
    _hang()


def _nan_coverage() -> None:
    _answer(b'{"samples": 3000, "coverage": NaN, "seconds_decoded": 30}')
    _hang()


def _infinite_samples() -> None:
    _answer(b'{"samples": Infinity, "coverage": 1, "seconds_decoded": 30}')
    _hang()


def _answer_twice() -> None:
    """Sends an answer before the correct one, which then waits for the next request."""
    _answer(b'{"reason": "silent", "detail": "too early"}')


def _shrink_memory() -> None:
    os.ftruncate(int(sys.argv[2]), 0)


def _raise() -> None:
    raise ZeroDivisionError("float division by zero")


def _refuse() -> None:
    raise AudioRejected(AudioReason.DECODE_FAILED, "\N{SNOWMAN}" * 5000)


PACKAGES = {
    *("av", "librosa", "numba", "onnxruntime", "pandas", "pyarrow", "pyspark", "scipy", "soundfile", "torch")
}
"""Packages that a worker of Spark imports, or that need much time or memory."""
ACTIONS = {
    action.__name__.lstrip("_"): action
    for action in (
        _segfault,
        _hang,
        _dawdle,
        _exit,
        _allocate,
        _map_memory,
        _grandchild,
        _count_descriptors,
        _name_modules,
        _write_file,
        _print,
        _garbage,
        _deep_nesting,
        _unknown_reason,
        _too_many_samples,
        _nan_coverage,
        _infinite_samples,
        _answer_twice,
        _shrink_memory,
        _raise,
        _refuse,
    )
}


def decode(fd: int, settings: DecodeSettings, budget: Budget, out: Signal) -> Decoded:
    start = os.pread(fd, 100, 0)
    if start.startswith(b"do:"):
        ACTIONS[start.removeprefix(b"do:").decode()]()
    return decoding.decode(fd, settings, budget, out)


if __name__ == "__main__":
    serve(decode)
