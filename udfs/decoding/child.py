"""The child process of `sandbox`: it decodes files whose descriptors it receives, with limited memory.

`python -m genremill.udfs.decoding.child CHANNEL SAMPLES MEMORY MODULE…`: the descriptors of a socket and of
shared memory, the bytes that decoding may use, and modules that decoding imports late: it cannot open files.
It imports little, because every new child waits for imports.
"""

import dataclasses
import functools
import importlib
import json
import mmap
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from genremill.infra.audio.faults import AudioRejected
from genremill.udfs.allocator import keep_freed_memory
from genremill.udfs.decoding import confinement, decode as decoding, metadata, spotify_analysis
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, Signal

MESSAGE_BYTES = 1 << 16
"""Longest request or answer; each is one message."""
DETAIL_CHARACTERS = 300
LATE_MODULES = (
    "array",
    *(f"encodings.utf_{kind}" for kind in ("8_sig", "16", "16_be", "16_le", "32", "32_be", "32_le")),
)
"""What `socket.recv_fds` and `json.loads` only import when they need it."""

Decode: TypeAlias = Callable[[int, DecodeSettings, Budget, Signal], Decoded]
"""The type of `decode.decode`."""


def serve(decode: Decode = decoding.decode) -> None:
    """Answers requests until the channel is closed; errors other than `AudioRejected` end the process.

    The first message says which parts of the confinement the kernel lacks.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # it ends this process like every other signal
    channel_fd, samples_fd, memory_bytes = map(int, sys.argv[1:4])
    for module in (*LATE_MODULES, *sys.argv[4:]):
        importlib.import_module(module)
    channel = socket.socket(fileno=channel_fd)
    samples = np.frombuffer(mmap.mmap(samples_fd, 0), np.float32)
    keep_freed_memory()  # otherwise the system clears new pages for each file: up to 1 ms per clip
    # To stdout, which is /dev/null: messages of mpg123 about damaged frames would fill the logs of executors.
    os.dup2(1, 2)
    lacking = confinement.confine(memory_bytes, (0, 1, 2, channel_fd, samples_fd))
    sys.excepthook = functools.partial(_report_crash, channel)
    channel.send(json.dumps({"lacking": lacking}).encode())
    while True:
        request, fds, _, _ = socket.recv_fds(channel, MESSAGE_BYTES, 1)
        if not request:
            return
        answer = _answer(json.loads(request), fds[0], samples, decode)
        os.close(fds[0])
        channel.send(json.dumps(answer, ensure_ascii=False).encode())


def _answer(request: dict[str, Any], fd: int, samples: Signal, decode: Decode) -> dict[str, Any]:
    """The fields of `Decoded` or `Metadata`, or a reason; samples are in shared memory."""
    try:
        if "suffix" in request:
            found = metadata.read(fd, request["suffix"], tuple(request["hole"]))
            return {"metadata": found and dataclasses.asdict(found)}
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


def _report_crash(
    channel: socket.socket, kind: type[BaseException], error: BaseException, *_: object
) -> None:
    """Reports the error that ends this process to the parent, for example MemoryError."""
    channel.send(json.dumps({"crash": f"{kind.__name__}: {error}"[:DETAIL_CHARACTERS]}).encode())


if __name__ == "__main__":
    serve()
