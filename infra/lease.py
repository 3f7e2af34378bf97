"""A lease: an object in the storage that its holder renews, so that two runs do not do the same work at once.

No clocks are compared. A run watches the lease that it finds. If nobody renews it for `EXPIRY_S`, the run
takes it over. If the holder was a process of this machine and has ended, the run takes it over at once.
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

EXPIRY_S = 60.0
"""Time without renewal after which a lease can be taken over. A holder renews it four times as often."""
LOOK_S = 0.5
"""Pause between two reads of the lease of another run."""

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

    @classmethod
    def this_process(cls, run_id: str) -> "Holder":
        """A holder with a unique token for this process."""
        pid = os.getpid()
        return cls(run_id, os.uname().nodename, pid, _started(pid), storage.utc_now(), uuid.uuid4().hex)

    @property
    def is_alive(self) -> bool | None:
        """Whether it is a running process of this machine; None for a process of another machine."""
        if self.host != os.uname().nodename:
            return None
        if self.started != _started(self.pid):
            return False
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
            holder, version = self._read()
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
            holder, version = self._read()
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
            holder, _ = self._read()
            if holder is not None and holder.token == self.holder.token:
                storage.remove_object(self.uri)
        except StorageError as err:  # the lease will expire
            LOGGER.warning("cannot remove %s: %s", self.uri, err)

    def _read(self) -> tuple[Holder | None, str | None]:
        """The holder, None if invalid, and the version of the object, None if there is no object."""
        if not storage.is_object(self.uri):
            return None, None
        try:
            data, version = storage.read_version(self.uri)
        except StorageError:
            if storage.is_object(self.uri):
                raise
            return None, None  # released in the meantime
        with contextlib.suppress(DamagedRecord):
            return records.from_json(data, Holder, self.uri), version
        return None, version


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


def _started(pid: int) -> str:
    """Start of a process of this machine; "" if it does not exist, "?" on a system without /proc."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():  # without /proc, only the pid is compared
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return ""
        except PermissionError:
            pass
        return "?"
    try:
        return stat.read_text().rpartition(")")[2].split()[19]
    except OSError:
        return ""
