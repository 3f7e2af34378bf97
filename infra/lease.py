"""A lease: an object that its holder renews, on any storage, so that two runs do not do one thing at once.

No clocks are compared. Whoever finds a lease watches it: one that is renewed has a living holder, one that is
not for `EXPIRY_S` was left by a dead one and is taken over, at once where the holder was a process of this
machine that is gone.
"""

import contextlib
import dataclasses
import json
import os
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from genremill.infra import storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import Conflict

EXPIRY_S = 60.0
"""A lease that its holder has not renewed for so long is taken over."""
RENEWALS = 4
"""Times that a lease is renewed in `EXPIRY_S`."""
LOOK_S = 0.5
"""Pause between two looks at a lease of somebody else."""


_HELD: set[str] = set()
"""Tokens of the leases that this process holds, or is about to."""


class Held(UsageError):
    """Another run is at work, and alive."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as it says itself."""

    run_id: str
    host: str
    pid: int
    started: str
    """When the process started, as its machine counts: a later process may get the same pid."""
    since: str
    token: str
    renewed: int = 0

    @classmethod
    def this_process(cls, run_id: str) -> "Holder":
        """A holder that nobody else can be taken for."""
        pid = os.getpid()
        return cls(run_id, os.uname().nodename, pid, _started(pid), storage.utc_now(), uuid.uuid4().hex)

    @property
    def is_alive(self) -> bool | None:
        """Whether it is a living process of this machine; None where it is of another."""
        if self.host != os.uname().nodename:
            return None
        if self.pid == os.getpid() and self.started == _started(self.pid):
            return self.token in _HELD  # an earlier run here may not have been able to give its lease up
        return self.started == _started(self.pid)

    def to_bytes(self) -> bytes:
        """The text of the lease."""
        return json.dumps(dataclasses.asdict(self)).encode()

    def __str__(self) -> str:
        return f"run {self.run_id} (process {self.pid} on {self.host}, since {self.since})"


class Lease:
    """A lease that this process holds, or waits for."""

    def __init__(self, uri: str, run_id: str) -> None:
        self.uri = uri
        self.holder = Holder.this_process(run_id)
        self.lost_to: str | None = None

    def take(self, wait: bool) -> None:
        """Returns when the lease is this process's; a living holder is waited for, or `Held` is raised."""
        seen: str | None = None
        since = time.monotonic()
        while True:
            holder, version = self._read()
            alive = holder.is_alive if holder else None
            if version is None or alive is False or time.monotonic() - since > EXPIRY_S:
                if version is not None:
                    LOGGER.warning("taking over %s, which %s has left", self.uri, holder or "somebody")
                with contextlib.suppress(Conflict):
                    return storage.write_over(self.uri, self.holder.to_bytes(), version)
            elif version != seen:
                if not wait and (alive or seen is not None):
                    raise Held(f"{holder or 'another run'} is at work here: {self.uri} says so")
                LOGGER.info("%s is held by %s: is it alive?", self.uri, holder or "somebody")
                seen, since = version, time.monotonic()
            time.sleep(LOOK_S)

    def renew(self, ended: threading.Event) -> None:
        """Shows again and again that this process lives, until the event is set or the lease is lost."""
        while not ended.wait(EXPIRY_S / RENEWALS):
            with contextlib.suppress(StorageError):  # the next time may get through
                holder, version = self._read()
                if holder is None or holder.token != self.holder.token:
                    self.lost_to = str(holder or "nobody")
                    return
                self.holder = dataclasses.replace(self.holder, renewed=self.holder.renewed + 1)
                storage.write_over(self.uri, self.holder.to_bytes(), version)

    def check(self) -> None:
        """Raises where the lease was taken over: this process was thought dead."""
        if self.lost_to is not None:
            raise StorageError(
                f"{self.uri} was not renewed for {EXPIRY_S:g} s and is now held by {self.lost_to}; "
                "this run stops, and nothing it has not published is current"
            )

    def release(self) -> None:
        """Gives the lease up, if it is still this process's."""
        try:
            holder, _ = self._read()
            if holder is not None and holder.token == self.holder.token:
                storage.remove_object(self.uri)
        except StorageError as err:  # it will expire
            LOGGER.warning("%s is left behind: %s", self.uri, err)

    def _read(self) -> tuple[Holder | None, str | None]:
        """The holder, None where its text is none, and the object's version, None where there is none."""
        if not storage.is_object(self.uri):
            return None, None
        try:
            data, version = storage.read_version(self.uri)
        except StorageError:
            if storage.is_object(self.uri):
                raise
            return None, None  # released between the two requests
        try:
            return Holder(**json.loads(data)), version
        except (ValueError, TypeError):
            return None, version


@contextlib.contextmanager
def held(uri: str, run_id: str, wait: bool = False) -> Iterator[Lease]:
    """Holds a lease until the block ends; where somebody alive has it, waits for it or raises `Held`."""
    lease = Lease(uri, run_id)
    _HELD.add(lease.holder.token)
    try:
        lease.take(wait)
        with _renewed(lease):
            yield lease
    finally:
        _HELD.discard(lease.holder.token)


@contextlib.contextmanager
def _renewed(lease: Lease) -> Iterator[None]:
    """Renews a lease until the block ends, and gives it up."""
    ended = threading.Event()
    renewing = threading.Thread(target=lease.renew, args=(ended,), daemon=True)
    renewing.start()
    try:
        yield
    finally:
        ended.set()
        renewing.join()
        lease.release()


def _started(pid: int) -> str:
    """When a process of this machine started, "" where there is none; "?" where the system does not say."""
    stat = Path(f"/proc/{pid}/stat")
    if not stat.parent.parent.joinpath("self").exists():  # no /proc: a pid that lives counts as the same
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
