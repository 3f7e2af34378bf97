"""Decoding in a child process with limits, where a malicious or broken file does no harm.

The child is reused. If a file crashes it, blocks it or exceeds its memory, only this file is rejected, and a
new child takes 0.2 s. Linux only: memory files, descriptors in messages, death signals.
"""

import dataclasses
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.udfs.decoding.child_process import ChildProcess, Crash
from genremill.udfs.decoding.settings import Budget, Decoded, DecodeSettings, capacity
from genremill.udfs.decoding.spotify_analysis import COEFFICIENTS

DECODER = "genremill.udfs.decoding.child"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits for decoding one file."""

    memory_bytes: int = 256 * 2**20
    """In addition to the idle child; 30 s of any codec need less than 20 MiB."""
    seconds: float = 20.0
    """Wall-clock time; 30 s of audio take 0.05 s."""
    start_seconds: float = 60.0
    """Time to start a child; on an idle machine it takes 0.2 s."""


class Sandbox:
    """A decoder in a child process, which the first file starts; a context manager for one thread.

    The thread must live as long as the sandbox, because the child dies with the thread that started it. The
    child runs `module`, which calls `child.serve`.
    """

    def __init__(
        self, limits: Limits | None = None, budget: Budget | None = None, *, module: str = DECODER
    ) -> None:
        self._limits = limits or Limits()
        self._budget = budget or Budget()
        self._module = module
        self._child: ChildProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """Process id of the child and its group; None before the first file and after a crash."""
        return self._child.process.pid if self._child else None

    def close(self) -> None:
        """Kills the child and all its processes; the next file starts a new child."""
        if self._child:
            self._child.kill()
            self._child = None

    def decode(self, fd: int, settings: DecodeSettings) -> Decoded:
        """Runs `decode.decode` on an open file in the child; the signal is a copy that the caller owns.

        Open the file only for reading, because the child gets the same descriptor. Its position changes.
        Raises `AudioRejected` as `decode.decode`, or with `decode_timeout`, or with `decode_crashed` and the
        signal or error; and `StorageError`, which is not the fault of the file, if no child could be started.
        """
        request = {"settings": dataclasses.asdict(settings), "budget": dataclasses.asdict(self._budget)}
        return self._request(fd, request, capacity(settings, self._budget))

    def read_analysis(self, fd: int, segments: int) -> Decoded:
        """Runs `spotify_analysis.read` on an open file in the child; raises the same errors as `decode`."""
        return self._request(fd, {"segments": segments}, 2 * COEFFICIENTS * segments)

    def _request(self, fd: int, request: Mapping[str, object], samples: int) -> Decoded:
        """The answer of the child, with at most this many samples; a second child if the first was killed."""
        try:
            return self._request_once(fd, request, samples)
        except AudioRejected as err:
            # A file cannot cause SIGKILL, but a machine without free memory does.
            if (err.reason, err.detail) != (AudioReason.DECODE_CRASHED, signal.SIGKILL.name):
                raise
        return self._request_once(fd, request, samples)

    def _request_once(self, fd: int, request: Mapping[str, object], samples: int) -> Decoded:
        child = self._idle_child(samples)
        try:
            return child.answer(fd, request, self._limits.seconds)
        except TimeoutError as err:
            self.close()
            detail = f"not finished after {self._limits.seconds:g} s"
            raise AudioRejected(AudioReason.DECODE_TIMEOUT, detail) from err
        except Crash as crash:
            self.close()
            raise AudioRejected(AudioReason.DECODE_CRASHED, str(crash) or child.ending()) from crash

    def _idle_child(self, samples: int) -> ChildProcess:
        """The child; a new one if there is none, if it is not idle, or if its memory is too small."""
        if self._child and not self._child.can_answer(samples):
            self.close()
        if self._child is None:
            self._child = ChildProcess(
                self._module, samples, self._limits.memory_bytes, self._limits.start_seconds
            )
        return self._child
