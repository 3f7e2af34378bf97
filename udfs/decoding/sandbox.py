"""Decoding in a child process with limits, where a malicious or broken file does no harm.

The child is reused. If a file crashes it, blocks it or exceeds its memory, only this file is rejected, and a
new child starts in 0.2 s. Before its first file, the child gives up the rights that decoding does not need:
see `confinement`. Linux only: it uses memfd, descriptors in messages and parent-death signals.
"""

import dataclasses
import functools
import socket
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError
from genremill.udfs.decoding import ffmpeg, metadata
from genremill.udfs.decoding.child_process import ChildProcess, Crash, DecodingLimits, Needs
from genremill.udfs.decoding.confinement import MEASURES
from genremill.udfs.decoding.metadata import Metadata
from genremill.udfs.decoding.segments import Range
from genremill.udfs.decoding.settings import Barrier, Budget, Decoded, DecodeSettings, capacity
from genremill.udfs.decoding.spotify_analysis import COEFFICIENTS

ResultT = TypeVar("ResultT")
DECODER = "genremill.udfs.decoding.child"
FROM_OUTSIDE = frozenset({"SIGHUP", "SIGINT", "SIGKILL", "SIGTERM"})
"""Signals that a file cannot cause, but a shutdown, an operator or a machine without free memory does."""


class Sandbox:
    """A decoder in a child process, which the first file starts; a context manager for one thread.

    The thread must live as long as the sandbox, because the child dies with the thread that started it. The
    child runs `module`, which calls `child.serve`. With `Barrier.REQUIRE`, no file is decoded if the kernel
    lacks a part of the confinement; `UsageError` is raised instead.
    """

    def __init__(
        self,
        limits: DecodingLimits | None = None,
        budget: Budget | None = None,
        barrier: Barrier = Barrier.AUTO,
        *,
        module: str = DECODER,
    ) -> None:
        self._limits = limits or DecodingLimits()
        self._budget = budget or Budget()
        self._barrier = barrier
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

    def lacking(self) -> dict[str, str]:
        """What the kernel lacks of the confinement, with the error; starts a child if there is none."""
        return (self._child or self._idle_child(Needs(1))).lacking

    def decode(self, fd: int, settings: DecodeSettings) -> Decoded:
        """Runs `decode.decode` on an open file in the child; the signal is a copy that the caller owns.

        Open the file only for reading, because the child gets the same descriptor. Its position changes.
        Raises `AudioRejected` as `decode.decode`, or with `decode_timeout`, or with `decode_crashed` and the
        signal or error; and `StorageError`, which is not the fault of the file, if no child could be started.
        """
        request = {"settings": dataclasses.asdict(settings), "budget": dataclasses.asdict(self._budget)}
        modules = ffmpeg.MODULES if settings.ffmpeg else ()
        needs = Needs(capacity(settings, self._budget), modules)
        return self._request(needs, lambda child: child.decoded(fd, request, self._limits.seconds))

    def read_analysis(self, fd: int, segments: int) -> Decoded:
        """Runs `spotify_analysis.read` on an open file in the child; raises the same errors as `decode`."""
        request, needs = {"segments": segments}, Needs(2 * COEFFICIENTS * segments)
        return self._request(needs, lambda child: child.decoded(fd, request, self._limits.seconds))

    def read_metadata(self, fd: int, suffix: str, hole: Range = (0, 0)) -> Metadata | None:
        """Runs `metadata.read` on an open file in the child; raises the same errors as `decode`."""
        request, needs = {"suffix": suffix, "hole": hole}, Needs(1, metadata.MODULES)
        return self._request(needs, lambda child: child.metadata(fd, request, self._limits.seconds))

    def _request(self, needs: Needs, ask: Callable[[ChildProcess], ResultT]) -> ResultT:
        """The answer of the child; repeated once if a signal from outside ends the child."""
        try:
            return self._request_once(needs, ask)
        except AudioRejected as err:
            if err.reason is not AudioReason.DECODE_CRASHED or err.detail not in FROM_OUTSIDE:
                raise
        return self._request_once(needs, ask)

    def _request_once(self, needs: Needs, ask: Callable[[ChildProcess], ResultT]) -> ResultT:
        child = self._idle_child(needs)
        try:
            return ask(child)
        except TimeoutError as err:
            self.close()
            detail = f"not finished after {self._limits.seconds:g} s"
            raise AudioRejected(AudioReason.DECODE_TIMEOUT, detail) from err
        except Crash as crash:
            self.close()
            raise AudioRejected(AudioReason.DECODE_CRASHED, str(crash) or child.ending()) from crash

    def _idle_child(self, needs: Needs) -> ChildProcess:
        """The child; a new one if there is none, if it is not idle, or if it does not have what is needed."""
        if self._child and not self._child.can_answer(needs):
            self.close()
        if self._child is None:
            self._child = ChildProcess(self._module, needs, self._limits)
            self._check_barrier(self._child.lacking)
        return self._child

    def _check_barrier(self, lacking: Mapping[str, str]) -> None:
        if lacking and self._barrier is Barrier.REQUIRE:
            self.close()
            raise UsageError(
                f"--sandbox require: the kernel of {socket.gethostname()} lacks {_listed(lacking)}; "
                f"`genremill doctor` shows this, and SECURITY.md says what it means"
            )


@functools.cache
def of_this_process(barrier: Barrier) -> Sandbox:
    """The sandbox of a worker process; its tasks share it. Unlike `cache(Sandbox)`, it can be pickled."""
    return Sandbox(barrier=barrier)


def described(lacking: Mapping[str, str]) -> str:
    """The parts of the confinement that hold, and those that the kernel lacks.

    >>> described({"Landlock": "Not supported"})
    'PR_SET_DUMPABLE, NO_NEW_PRIVS, RLIMIT_NPROC, seccomp; the kernel lacks Landlock (Not supported)'
    """
    holding = ", ".join(name for name in MEASURES if name not in lacking)
    return f"{holding}; the kernel lacks {_listed(lacking)}" if lacking else holding


def _listed(lacking: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({why})" for name, why in lacking.items())
