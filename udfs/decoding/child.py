"""The child that `sandbox` starts: decodes the files whose descriptors it is sent. Its memory is limited.

`python -m genremill.udfs.decoding.child CHANNEL SAMPLES MEMORY`: the descriptors of a socket and of shared
memory, and how many bytes decoding may take. Imports little, since every new child waits for it.
"""

import ctypes
import json
import mmap
import os
import resource
import signal
import socket
import sys
from types import TracebackType
from typing import Any, Protocol

import numpy as np

from genremill.infra.audio.faults import AudioRejected
from genremill.udfs.allocator import keep_freed_memory
from genremill.udfs.decoding import decode as decoding, spotify_analysis
from genremill.udfs.decoding.decode import Budget, Decoded, DecodeSettings, Signal
from genremill.udfs.decoding.spotify_analysis import AnalysisSettings

READY = b"ready"
MESSAGE_BYTES = 4096
"""Longest request or answer; one message each."""
DETAIL_CHARACTERS = 300
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38


class Decode(Protocol):
    """Signature of `decoding.decode`."""

    def __call__(self, fd: int, settings: DecodeSettings, budget: Budget, out: Signal) -> Decoded: ...  # noqa: D102


def serve(decode: Decode = decoding.decode) -> None:
    """Answers requests until the parent closes its end; any error but `AudioRejected` ends the process."""
    channel_fd, samples_fd, memory_bytes = map(int, sys.argv[1:4])
    channel = socket.socket(fileno=channel_fd)
    samples = np.frombuffer(mmap.mmap(samples_fd, 0), np.float32)
    keep_freed_memory()  # or each file's decoder would have its pages cleared anew: up to 1 ms of a clip
    _confine(memory_bytes)
    _report_crashes(channel)
    channel.send(READY)
    while True:
        request, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
        if not request:
            return
        answer = _answer(json.loads(request), fds[0], samples, decode)
        os.close(fds[0])
        channel.send(answer)


def _answer(request: dict[str, Any], fd: int, samples: Signal, decode: Decode) -> bytes:
    """The number of samples and what else `Decoded` has, or a reason; the samples lie in shared memory."""
    try:
        if "analysis" in request:
            analysis = spotify_analysis.read(fd, AnalysisSettings(**request["analysis"]), samples)
            decoded = Decoded(analysis.steps, 1.0, analysis.seconds)
        else:
            decoded = decode(fd, DecodeSettings(**request["settings"]), Budget(**request["budget"]), samples)
    except AudioRejected as rejected:
        return json.dumps({"reason": rejected.reason, "detail": rejected.detail[:DETAIL_CHARACTERS]}).encode()
    found = {
        "samples": len(decoded.y),
        "coverage": decoded.coverage,
        "seconds_decoded": decoded.seconds_decoded,
    }
    return json.dumps(found).encode()


def _confine(memory_bytes: int) -> None:
    """Gives up what decoding does not need, for good.

    The address space (RLIMIT_AS) is limited, not the data segment (RLIMIT_DATA), which would leave out shared
    mappings; what the imports take, 110 to 150 MB of it, is not counted. With RLIMIT_FSIZE 0 no file can be
    written or grown: the samples' memory is mapped, and sized by the parent.
    """
    with open("/proc/self/statm") as statm:
        taken = int(statm.read().split()[0]) * mmap.PAGESIZE
    for kind, most in (
        (resource.RLIMIT_AS, taken + memory_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # A parent that dies in the meantime is noticed all the same: its end of the channel closes.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # To stdout, which is /dev/null: mpg123's lines about each damaged frame would fill the executors' logs.
    os.dup2(1, 2)


def _report_crashes(channel: socket.socket) -> None:
    """Lets the parent know the name of an error that ends this process, MemoryError above all."""

    def report(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        channel.send(json.dumps({"crash": f"{kind.__name__}: {error}"[:DETAIL_CHARACTERS]}).encode())

    sys.excepthook = report


if __name__ == "__main__":
    serve()
