"""One decoder child as its parent sees it: its process, its channel, and the memory for samples."""

import contextlib
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
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from genremill.infra.audio.faults import OF_THE_PROCESS, OF_THE_STORAGE, AudioReason, AudioRejected
from genremill.infra.errors import StorageError
from genremill.udfs.decoding.child import MESSAGE_BYTES
from genremill.udfs.decoding.metadata import Metadata
from genremill.udfs.decoding.settings import Decoded

Fields = dict[str, Any]
_INVALID = (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)
"""What reading an answer of another form raises."""


@dataclass(frozen=True, kw_only=True)
class DecodingLimits:
    """Limits for decoding one file."""

    memory_bytes: int = 256 * 2**20
    """In addition to the idle child; 30 s of any codec need less than 20 MiB."""
    seconds: float = 20.0
    """Wall-clock time; 30 s of audio take 0.05 s."""
    start_seconds: float = 60.0
    """Time to start a child; on an idle machine it takes 0.2 s."""


@dataclass(frozen=True)
class Needs:
    """What a child must have for a request."""

    samples: int
    """Size of the shared memory, in float32."""
    modules: tuple[str, ...] = ()
    """Modules that the child imports before it gives up the right to open files."""


class Crash(Exception):
    """The child ended or sent an invalid answer; the message is its last error, if it reported one."""


class ChildProcess:
    """A child process, the parent's end of its channel, and their shared memory."""

    def __init__(self, module: str, needs: Needs, limits: DecodingLimits) -> None:
        self._channel, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        memory = _shared_memory(4 * needs.samples)
        self._answer_is_due = False
        self._modules = needs.modules
        self._memory = mmap.mmap(memory, 0, prot=mmap.PROT_READ)
        channel = theirs.fileno()
        arguments = (*map(str, (channel, memory, limits.memory_bytes)), *needs.modules)
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

    def decoded(self, fd: int, request: Mapping[str, object], seconds: float) -> Decoded:
        """The signal that the child answers; raises `TimeoutError` or `Crash` if there is no answer."""
        return _decoded(self._answer(fd, request, seconds), self._memory)

    def metadata(self, fd: int, request: Mapping[str, object], seconds: float) -> Metadata | None:
        """The metadata that the child answers; raises the same errors as `decoded`."""
        return _metadata(self._answer(fd, request, seconds))

    def _answer(self, fd: int, request: Mapping[str, object], seconds: float) -> bytes:
        try:
            self._channel.settimeout(seconds)
            self._answer_is_due = True
            socket.send_fds(self._channel, [json.dumps(request).encode()], [fd])
            answer = self._channel.recv(MESSAGE_BYTES)
            self._answer_is_due = False
        except ConnectionError as err:
            raise Crash from err
        if not answer:
            raise Crash
        return answer

    def can_answer(self, needs: Needs) -> bool:
        """Whether the child is alive, owes no answer, has sent nothing unexpected, and has what is needed."""
        waiting = select.poll()
        waiting.register(self._channel, select.POLLIN)
        idle = not self._answer_is_due and not waiting.poll(0)
        has_room = len(self._memory) >= 4 * needs.samples
        return idle and has_room and set(needs.modules) <= set(self._modules)

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
    """The signal that an answer describes; raises `Crash` if the answer is invalid."""
    with _checking(answer):
        fields = _fields(answer)
        length = int(fields["samples"])
        coverage, seconds = float(fields["coverage"]), float(fields["seconds_decoded"])
        if not (length > 0 and 0 < coverage <= 1 and 0 < seconds < math.inf):
            raise ValueError("impossible values")
        return Decoded(np.frombuffer(memory, np.float32, length).copy(), coverage, seconds)


def _metadata(answer: bytes) -> Metadata | None:
    """The metadata in an answer; raises `Crash` if the answer is invalid."""
    with _checking(answer):
        found = _fields(answer)["metadata"]
        return None if found is None else Metadata.of_json(found)


def _fields(answer: bytes) -> Fields:
    """The fields of an answer; raises `AudioRejected` with its reason, or `Crash` with the child's error."""
    fields: Fields = json.loads(answer)
    if "crash" in fields:
        raise Crash(fields["crash"])
    if "reason" in fields:
        reason = AudioReason(fields["reason"])
        if reason in OF_THE_STORAGE | OF_THE_PROCESS:  # a child that a file has taken over
            raise ValueError("not a reason of a decoder")
        raise AudioRejected(reason, str(fields["detail"]))
    return fields


@contextlib.contextmanager
def _checking(answer: bytes) -> Iterator[None]:
    """Turns errors about an answer of another form into `Crash`."""
    try:
        yield
    except _INVALID as err:
        raise Crash(f"invalid answer {answer[:40]!r}") from err


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
