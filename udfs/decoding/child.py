"""The child process of `sandbox`: it decodes files whose descriptors it receives, with limited memory.

`python -m genremill.udfs.decoding.child CHANNEL SAMPLES MEMORY`: the descriptors of a socket and of shared
memory, and the bytes that decoding may use. It imports little, because every new child waits for imports.
"""

import ctypes
import functools
import json
import mmap
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from genremill.infra.audio.faults import AudioRejected
from genremill.udfs.allocator import keep_freed_memory
from genremill.udfs.decoding import decode as decoding, spotify_analysis
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Signal

READY = b"ready"
MESSAGE_BYTES = 4096
"""Longest request or answer; each is one message."""
DETAIL_CHARACTERS = 300
_PR_SET_PDEATHSIG, _PR_SET_NO_NEW_PRIVS = 1, 38

Decode: TypeAlias = Callable[[int, DecodeSettings, Budget, Signal], Decoded]
"""The type of `decode.decode`."""


def serve(decode: Decode = decoding.decode) -> None:
    """Answers requests until the channel is closed; errors other than `AudioRejected` end the process."""
    channel_fd, samples_fd, memory_bytes = map(int, sys.argv[1:4])
    channel = socket.socket(fileno=channel_fd)
    samples = np.frombuffer(mmap.mmap(samples_fd, 0), np.float32)
    keep_freed_memory()  # otherwise the system clears new pages for each file: up to 1 ms per clip
    _confine(memory_bytes)
    sys.excepthook = functools.partial(_report_crash, channel)
    channel.send(READY)
    while True:
        request, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
        if not request:
            return
        answer = _answer(json.loads(request), fds[0], samples, decode)
        os.close(fds[0])
        channel.send(json.dumps(answer).encode())


def _answer(request: dict[str, Any], fd: int, samples: Signal, decode: Decode) -> dict[str, Any]:
    """The fields of `Decoded`, or a reason; the samples themselves are in shared memory."""
    try:
        if "segments" in request:
            decoded = spotify_analysis.read(fd, request["segments"], samples)
        else:
            decoded = decode(fd, DecodeSettings(**request["settings"]), Budget(**request["budget"]), samples)
    except AudioRejected as rejected:
        return {"reason": rejected.reason, "detail": rejected.detail[:DETAIL_CHARACTERS]}
    return {
        "samples": len(decoded.y),
        "coverage": decoded.coverage,
        "seconds_decoded": decoded.seconds_decoded,
    }


def _confine(memory_bytes: int) -> None:
    """Permanently removes the rights that decoding does not need.

    It limits the address space (RLIMIT_AS), because RLIMIT_DATA does not include shared mappings. The 110 to
    150 MB of the imports do not count. With RLIMIT_FSIZE 0 no file can be written; the parent has already set
    the size of the memory for samples.
    """
    with open("/proc/self/statm") as statm:
        used = int(statm.read().split()[0]) * mmap.PAGESIZE
    limits = {resource.RLIMIT_AS: used + memory_bytes, resource.RLIMIT_CORE: 0, resource.RLIMIT_FSIZE: 0}
    for kind, most in limits.items():
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # If the parent has died before this call, the child ends because the channel is closed.
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    # To stdout, which is /dev/null: messages of mpg123 about damaged frames would fill the logs of executors.
    os.dup2(1, 2)


def _report_crash(
    channel: socket.socket, kind: type[BaseException], error: BaseException, *_: object
) -> None:
    """Reports the error that ends this process to the parent, for example MemoryError."""
    channel.send(json.dumps({"crash": f"{kind.__name__}: {error}"[:DETAIL_CHARACTERS]}).encode())


if __name__ == "__main__":
    serve()
