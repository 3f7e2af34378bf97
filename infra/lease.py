"""A lease: an object in the storage that its holder renews, so that two runs do not do the same work at once.

No clocks are compared. A run watches the lease that it finds. If nobody renews it for `EXPIRY_S`, the run
takes it over. If the holder was a process of the same PID namespace and has ended, the run takes it over at
once.
"""

import contextlib
import dataclasses
import os
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from genremill.infra import records, storage
from genremill.infra.background import repeated
from genremill.infra.errors import DamagedRecord, StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.records import Count
from genremill.infra.stores.objects import Conflict

SUFFIX = ".lease"
"""End of the name of every lease."""
EXPIRY_S = 60.0
"""Time without renewal after which a lease can be taken over. A holder renews it four times as often."""
LOOK_S = 0.5
"""Pause between two reads of the lease of another run."""

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_HELD: set[str] = set()
"""Tokens of the leases that this process holds or waits for."""


class Held(UsageError):
    """Another run holds the lease and is alive."""


@dataclass(frozen=True)
class Holder:
    """The holder of a lease: the content of its object."""

    run_id: str
    host: str
    pid: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
    started: Annotated[str, msgspec.Meta(min_length=1)]
    """Start of the process in the clock of its machine, because a later process may get the same pid."""
    since: str
    token: str
    renewed: Count = 0
    boot_id: str = ""
    pid_namespace: str = ""
    """A pid is unique in one namespace of one start of a kernel. Earlier versions did not write the two."""

    @classmethod
    def this_process(cls, run_id: str) -> "Holder":
        """A holder with a unique token for this process."""
        pid = os.getpid()
        host, boot_id, pid_namespace = _machine()
        started, token = _started(pid) or "?", uuid.uuid4().hex
        return cls(run_id, host, pid, started, storage.utc_now(), token, 0, boot_id, pid_namespace)

    @property
    def is_alive(self) -> bool | None:
        """Whether its process runs; None if this process cannot see the processes of its machine."""
        if not self.boot_id or (self.host, self.boot_id, self.pid_namespace) != _machine():
            return None
        started = _started(self.pid)
        if started != self.started:
            return None if started is None else False
        # An earlier run in this process may have failed to release its lease.
        return self.pid != os.getpid() or self.token in _HELD

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host}, since {self.since})"


class Lease:
    """A lease that this process holds, or waits for."""

    def __init__(self, uri: str, run_id: str) -> None:
        self.uri = uri
        self.holder = Holder.this_process(run_id)
        self.lost_to: str | None = None

    def take(self, wait: bool) -> None:
        """Takes the lease; waits for a holder that is alive, or raises `Held`."""
        seen: str | None = None
        since = time.monotonic()
        while True:
            holder, version = _read(self.uri)
            alive = holder.is_alive if holder else None
            name = str(holder or "an unknown run")
            if version is None or alive is False or time.monotonic() - since > EXPIRY_S:
                if version is not None:
                    LOGGER.warning("taking over %s from %s, which has ended", self.uri, name)
                with contextlib.suppress(Conflict):
                    return storage.write_over(self.uri, records.to_json(self.holder), version)
            elif version != seen:
                if not wait and (alive or seen is not None):
                    raise Held(f"{holder or 'another run'} is at work: it holds {self.uri}")
                LOGGER.info("%s is held by %s; checking if it is alive", self.uri, name)
                seen, since = version, time.monotonic()
            time.sleep(LOOK_S)

    def renew(self) -> None:
        """Renews the lease once, unless another run has taken it over."""
        if self.lost_to is not None:
            return
        with contextlib.suppress(StorageError):  # the next renewal may succeed
            holder, version = _read(self.uri)
            if holder is None or holder.token != self.holder.token:
                self.lost_to = str(holder or "nobody")
                return
            self.holder = dataclasses.replace(self.holder, renewed=self.holder.renewed + 1)
            storage.write_over(self.uri, records.to_json(self.holder), version)

    def check(self) -> None:
        """Raises `StorageError` if another run has taken over the lease because this run seemed dead."""
        if self.lost_to is not None:
            raise StorageError(
                f"{self.uri} was not renewed for {EXPIRY_S:g} s and is now held by {self.lost_to}; "
                "this run stops, and only what it has already published is current"
            )

    def release(self) -> None:
        """Releases the lease, if this process still holds it."""
        try:
            holder, _ = _read(self.uri)
            if holder is not None and holder.token == self.holder.token:
                storage.remove_object(self.uri)
        except StorageError as err:  # the lease will expire
            LOGGER.warning("cannot remove %s: %s", self.uri, err)


@contextlib.contextmanager
def held(uri: str, run_id: str, wait: bool = False) -> Iterator[Lease]:
    """Holds a lease until the block ends; waits for a holder that is alive, or raises `Held`."""
    lease = Lease(uri, run_id)
    _HELD.add(lease.holder.token)
    try:
        lease.take(wait)
        try:
            with repeated(lease.renew, EXPIRY_S / 4):
                yield lease
        finally:
            lease.release()
    finally:
        _HELD.discard(lease.holder.token)


def holder_of(uri: str) -> Holder | None:
    """The holder of a lease; None if there is no lease, or an invalid one."""
    return _read(uri)[0]


def _read(uri: str) -> tuple[Holder | None, str | None]:
    """The holder, None if invalid, and the version of the object, None if there is no object."""
    if not storage.is_object(uri):
        return None, None
    try:
        data, version = storage.read_version(uri)
    except StorageError:
        if storage.is_object(uri):
            raise
        return None, None  # released in the meantime
    with contextlib.suppress(DamagedRecord):
        return records.from_json(data, Holder, uri), version
    return None, version


def _machine() -> tuple[str, str, str]:
    """Host name, boot id and PID namespace of this process; the last two are empty if /proc lacks them."""
    host = os.uname().nodename
    try:
        if os.readlink("/proc/self") != str(os.getpid()):  # /proc of another namespace
            return host, "", ""
        return host, _BOOT_ID.read_text().strip(), os.readlink("/proc/self/ns/pid")
    except OSError:
        return host, "", ""


def _started(pid: int) -> str | None:
    """Start of a process; "?" if it has ended (a zombie, too), None if /proc hides it (hidepid)."""
    with contextlib.suppress(OSError):
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "?" if state in "ZX" else fields[18]
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return "?"
    except PermissionError:
        pass
    return None
