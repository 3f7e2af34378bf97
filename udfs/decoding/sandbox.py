"""Decoding where a hostile or broken file does no harm: in a child process with limits, used again and again.

A file that crashes the decoder, hangs it or makes it take memory costs that file and 0.2 s for a new child.
Linux only: memory files, descriptors in messages, death signals.
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
from types import TracebackType
from typing import Self

import numpy as np

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import StorageError
from genremill.udfs.decoding import decode as decoding, spotify_analysis
from genremill.udfs.decoding.child import MESSAGE_BYTES, READY
from genremill.udfs.decoding.decode import Budget, Decoded, DecodeSettings
from genremill.udfs.decoding.spotify_analysis import Analysis, AnalysisSettings

DECODER = "genremill.udfs.decoding.child"
_PASSED_ON = ("LD_LIBRARY_PATH", "PYTHONHOME")
"""All that the child sees of the environment, apart from where modules are: no credentials."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one file may take."""

    memory_bytes: int = 256 * 2**20
    """Beyond what the idle child has; 30 s of any codec take under 20 MiB."""
    seconds: float = 20.0
    """By the clock; 30 s of audio take 0.05."""
    start_seconds: float = 60.0
    """For a new child to be ready; on an idle machine it takes 0.2."""


class Sandbox:
    """A decoder in a child process, which the first file starts; a context manager for one thread.

    That thread must live as long as the sandbox: the child dies with the thread that started it.

    Parameters
    ----------
    limits, budget
        What a file may take, and what its header may declare.
    module
        What the child runs: `decoder_process`, or in tests one that calls its `serve`.
    """

    def __init__(
        self, limits: Limits | None = None, budget: Budget | None = None, *, module: str = DECODER
    ) -> None:
        self._limits = limits or Limits()
        self._budget = budget or Budget()
        self._module = module
        self._child: _Child | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int | None:
        """The child's process id, which is its group's too; None before the first file and after a crash."""
        return self._child.process.pid if self._child else None

    def close(self) -> None:
        """Kills the child and all it started; the next file starts another."""
        if self._child:
            self._child.kill()
            self._child = None

    def decode(self, fd: int, settings: DecodeSettings) -> Decoded:
        """`decoding.decode` of an open file, in the child; the signal is a copy that the caller owns.

        Open the file for reading only: the child gets the same descriptor. Its position is lost.

        Raises
        ------
        AudioRejected
            As `decoding.decode`, and `decode_timeout`, `decode_crashed` with the signal's or error's name.
        StorageError
            A child could not be started at all, which no file is to blame for.
        """
        request = {"settings": dataclasses.asdict(settings), "budget": dataclasses.asdict(self._budget)}
        return self._asked(fd, request, decoding.capacity(settings, self._budget))

    def read_analysis(self, fd: int, settings: AnalysisSettings) -> Analysis:
        """`audio_analysis.read` of an open file, in the child; raises what `decode` does."""
        request = {"analysis": dataclasses.asdict(settings)}
        found = self._asked(fd, request, spotify_analysis.capacity(settings))
        return Analysis(found.y, found.seconds_decoded)

    def _asked(self, fd: int, request: Mapping[str, object], samples: int) -> Decoded:
        """The child's answer, of at most so many samples; a second one's where the first was killed."""
        try:
            return self._asked_once(fd, request, samples)
        except AudioRejected as err:
            # No file ends a child by SIGKILL, but a machine that is out of memory does.
            if (err.reason, err.detail) != (AudioReason.DECODE_CRASHED, signal.SIGKILL.name):
                raise
        return self._asked_once(fd, request, samples)

    def _asked_once(self, fd: int, request: Mapping[str, object], samples: int) -> Decoded:
        child = self._idle_child(samples)
        try:
            return child.answer(fd, request, self._limits.seconds)
        except TimeoutError as err:
            self.close()
            took = f"not done after {self._limits.seconds:g} s"
            raise AudioRejected(AudioReason.DECODE_TIMEOUT, took) from err
        except _Crash as crash:
            self.close()
            raise AudioRejected(AudioReason.DECODE_CRASHED, str(crash) or child.ending()) from crash

    def _idle_child(self, samples: int) -> "_Child":
        """The child; a new one where there is none, it is not to be asked, or its memory is too small."""
        if self._child and not (self._child.is_idle() and self._child.samples >= samples):
            self.close()
        if self._child is None:
            self._child = _Child(self._module, self._limits, samples)
        return self._child


class _Crash(Exception):
    """The child ended, or answered nonsense; says what it told before, if anything."""


class _Child:
    """One child process, its end of the channel and the memory shared with it, of `samples` float32."""

    def __init__(self, module: str, limits: Limits, samples: int) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = _shared_memory(4 * samples)
        self._owes_answer = False
        self._memory = mmap.mmap(memory, 0, prot=mmap.PROT_READ)
        arguments = [str(theirs.fileno()), str(memory), str(limits.memory_bytes)]
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-m", module, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), memory),
                start_new_session=True,
                env=_environment(),
                cwd="/",
            )
        except OSError as err:
            raise StorageError(f"cannot start {sys.executable}: {err.strerror}") from err
        finally:
            theirs.close()
            os.close(memory)
        try:
            self._channel.settimeout(limits.start_seconds)
            ready = self._channel.recv(MESSAGE_BYTES) == READY
        except OSError:
            ready = False
        if not ready:
            self.kill()
            raise StorageError(
                f"the decoder {module} did not start ({self.ending()}); its errors stand above"
            )

    def answer(self, fd: int, request: Mapping[str, object], seconds: float) -> Decoded:
        """The child's answer for one file; a `TimeoutError` or `_Crash` where there is none."""
        try:
            self._channel.settimeout(seconds)
            self._owes_answer = True
            socket.send_fds(self._channel, [json.dumps(request).encode()], [fd])
            answer = self._channel.recv(MESSAGE_BYTES)
            self._owes_answer = False
        except ConnectionError as err:
            raise _Crash from err
        if not answer:
            raise _Crash
        return _decoded(answer, self._memory)

    @property
    def samples(self) -> int:
        """Samples of the longest signal that it can hand over."""
        return len(self._memory) // 4

    def is_idle(self) -> bool:
        """Whether it lives, owes no answer (to a caller who was interrupted) and has not spoken unasked."""
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        return not self._owes_answer and not waiting.poll(0)

    def kill(self) -> None:
        """Ends the whole process group, and waits for the child to be gone."""
        self._channel.close()
        self._memory.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def ending(self) -> str:
        """How the child ended: a signal's name or an exit status; a later kill does not hide the first."""
        code = self.process.returncode
        return signal.Signals(-code).name if code < 0 else f"exit status {code}"


def _decoded(answer: bytes, memory: mmap.mmap) -> Decoded:
    """What an answer means; whatever it may not mean is a crash."""
    try:
        fields = json.loads(answer)
        if "crash" in fields:
            raise _Crash(fields["crash"])
        if "reason" in fields:
            raise AudioRejected(AudioReason(fields["reason"]), str(fields["detail"]))
        length = int(fields["samples"])
        coverage, seconds = float(fields["coverage"]), float(fields["seconds_decoded"])
        if not (length > 0 and 0 < coverage <= 1 and 0 < seconds < math.inf):
            raise ValueError("no such signal")
        return Decoded(np.frombuffer(memory, np.float32, length).copy(), coverage, seconds)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as err:
        raise _Crash(f"it answered {answer[:40]!r}") from err


def _shared_memory(size: int) -> int:
    """A descriptor of memory that nobody can shrink: reading what is gone would kill the parent."""
    memory = os.memfd_create("samples", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(memory, size)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
    return memory


def _environment() -> dict[str, str]:
    """Where modules are, one thread a library, and nothing else."""
    own = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    paths = os.pathsep.join(os.path.abspath(path) for path in sys.path)
    return own | {"PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
