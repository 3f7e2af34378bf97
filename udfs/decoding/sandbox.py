"""Decoding in a child process with limits, where a malicious or broken file does no harm.

The child is reused. If a file crashes it, blocks it or exceeds its memory, only this file is rejected, and a
new child starts in 0.2 s. Before the first file, the child gives up all rights but to decode: see `confinement`.
Linux only: it uses memfd, descriptors in messages and parent-death signals.
"""

import contextlib
import dataclasses
import fcntl
import json
import math
import mmap
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import StorageError, UsageError
from genremill.udfs.decoding import ffmpeg
from genremill.udfs.decoding.child import MESSAGE_BYTES
from genremill.udfs.decoding.settings import Barrier, Budget, Decoded, DecodeSettings, capacity
from genremill.udfs.decoding.spotify_analysis import COEFFICIENTS

DECODER = "genremill.udfs.decoding.child"


@dataclass(frozen=True, kw_only=True)
class DecodingLimits:
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
    child runs `module`, which calls `child.serve`. With `Barrier.REQUIRE`, no file is decoded where the kernel
    lacks a part of the confinement: `UsageError` is raised instead.
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
        self._child: _ChildProcess | None = None

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
        """The parts of the confinement that the kernel lacks, with the error; starts a child if there is none."""
        return (self._child or self._idle_child(1, ())).lacking

    def decode(self, fd: int, settings: DecodeSettings) -> Decoded:
        """Runs `decode.decode` on an open file in the child; the signal is a copy that the caller owns.

        Open the file only for reading, because the child gets the same descriptor. Its position changes.
        Raises `AudioRejected` as `decode.decode`, or with `decode_timeout`, or with `decode_crashed` and the
        signal or error; and `StorageError`, which is not the fault of the file, if no child could be started.
        """
        request = {"settings": dataclasses.asdict(settings), "budget": dataclasses.asdict(self._budget)}
        modules = ffmpeg.MODULES if settings.ffmpeg else ()
        return self._request(fd, request, capacity(settings, self._budget), modules)

    def read_analysis(self, fd: int, segments: int) -> Decoded:
        """Runs `spotify_analysis.read` on an open file in the child; raises the same errors as `decode`."""
        return self._request(fd, {"segments": segments}, 2 * COEFFICIENTS * segments)

    def _request(
        self, fd: int, request: Mapping[str, object], samples: int, modules: tuple[str, ...] = ()
    ) -> Decoded:
        """The answer of the child, at most `samples` samples; repeated once if the child gets a SIGKILL."""
        try:
            return self._request_once(fd, request, samples, modules)
        except AudioRejected as err:
            # A file cannot cause SIGKILL, but a machine without free memory does.
            if (err.reason, err.detail) != (AudioReason.DECODE_CRASHED, signal.SIGKILL.name):
                raise
        return self._request_once(fd, request, samples, modules)

    def _request_once(
        self, fd: int, request: Mapping[str, object], samples: int, modules: tuple[str, ...]
    ) -> Decoded:
        child = self._idle_child(samples, modules)
        try:
            return child.answer(fd, request, self._limits.seconds)
        except TimeoutError as err:
            self.close()
            detail = f"not finished after {self._limits.seconds:g} s"
            raise AudioRejected(AudioReason.DECODE_TIMEOUT, detail) from err
        except _Crash as crash:
            self.close()
            raise AudioRejected(AudioReason.DECODE_CRASHED, str(crash) or child.ending()) from crash

    def _idle_child(self, samples: int, modules: tuple[str, ...]) -> "_ChildProcess":
        """The child; a new one if there is none, if it is not idle, or if it lacks memory or modules."""
        if self._child and not self._child.can_answer(samples, modules):
            self.close()
        if self._child is None:
            self._child = _ChildProcess(self._module, samples, modules, self._limits)
            self._check_barrier(self._child.lacking)
        return self._child

    def _check_barrier(self, lacking: Mapping[str, str]) -> None:
        if lacking and self._barrier is Barrier.REQUIRE:
            self.close()
            raise UsageError(
                f"--sandbox require: the kernel of {socket.gethostname()} lacks {named(lacking)}; "
                f"`genremill doctor` shows this, and SECURITY.md says what it means"
            )


def named(lacking: Mapping[str, str]) -> str:
    """What the kernel lacks, in one line.

    >>> named({"Landlock": "Function not implemented"})
    'Landlock (Function not implemented)'
    """
    return ", ".join(f"{name} ({why})" for name, why in lacking.items())


class _Crash(Exception):
    """The child ended or sent an invalid answer; the message is its last error, if it reported one."""


class _ChildProcess:
    """A child process, the parent's end of its channel, and their shared memory of `samples` float32.

    `modules` are imported before the child gives up the right to open files.
    """

    def __init__(self, module: str, samples: int, modules: tuple[str, ...], limits: DecodingLimits) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = _shared_memory(4 * samples)
        self._answer_is_due = False
        self._modules = modules
        self._memory = mmap.mmap(memory, 0, prot=mmap.PROT_READ)
        channel = theirs.fileno()
        arguments = (*map(str, (channel, memory, limits.memory_bytes)), *modules)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(channel, memory),
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )
        except OSError as err:
            raise StorageError(f"cannot start {sys.executable}: {err.strerror}") from err
        finally:
            theirs.close()
            os.close(memory)
        self._channel.settimeout(limits.start_seconds)
        greeting = b""
        with contextlib.suppress(OSError):
            greeting = self._channel.recv(MESSAGE_BYTES)
        if not greeting.startswith(b'{"lacking": '):
            self.kill()
            raise StorageError(f"the decoder {module} did not start ({self.ending()}); see its errors above")
        self.lacking: dict[str, str] = json.loads(greeting)["lacking"]

    def answer(self, fd: int, request: Mapping[str, object], seconds: float) -> Decoded:
        """The answer for one file; raises `TimeoutError` or `_Crash` if there is none."""
        try:
            self._channel.settimeout(seconds)
            self._answer_is_due = True
            socket.send_fds(self._channel, [json.dumps(request).encode()], [fd])
            answer = self._channel.recv(MESSAGE_BYTES)
            self._answer_is_due = False
        except ConnectionError as err:
            raise _Crash from err
        if not answer:
            raise _Crash
        return _decoded(answer, self._memory)

    def can_answer(self, samples: int, modules: tuple[str, ...]) -> bool:
        """Whether the child is alive, owes no answer, has sent nothing unexpected, and has what is needed."""
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        idle = not self._answer_is_due and not waiting.poll(0)
        return idle and len(self._memory) >= 4 * samples and set(modules) <= set(self._modules)

    def kill(self) -> None:
        """Kills the whole process group, and waits for the end of the child."""
        self._channel.close()
        self._memory.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ending(self) -> str:
        """The signal or exit status that ended the child; a later kill does not change it."""
        code = self.process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _decoded(answer: bytes, memory: mmap.mmap) -> Decoded:
    """The signal that an answer describes; raises `_Crash` if the answer is invalid."""
    try:
        fields = json.loads(answer)
        if "crash" in fields:
            raise _Crash(fields["crash"])
        if "reason" in fields:
            raise AudioRejected(AudioReason(fields["reason"]), str(fields["detail"]))
        length = int(fields["samples"])
        coverage, seconds = float(fields["coverage"]), float(fields["seconds_decoded"])
        if not (length > 0 and 0 < coverage <= 1 and 0 < seconds < math.inf):
            raise ValueError("impossible values")
        return Decoded(np.frombuffer(memory, np.float32, length).copy(), coverage, seconds)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as err:
        raise _Crash(f"invalid answer {answer[:40]!r}") from err


def _shared_memory(size: int) -> int:
    """A descriptor of memory that cannot shrink: reading removed memory would kill the parent."""
    memory = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return memory


def _environment() -> dict[str, str]:
    """The environment of a child: the module path, one thread per library, and no credentials."""
    own = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "PYTHONHOME") if name in os.environ}
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return own | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
