"""Run ids, which a warehouse hands out in increasing order.

A run id is the second and its fraction in 2^-24 s: `20261121T105400-3fa9c1`. Clocks may be wrong, so the
order of runs does not depend on them: `_sequence.json` holds the last run id, and the next one is always
larger. It is the present time if that is later than the last run id, and else the last run id plus 2^-24 s.
So the order of run ids is the order of runs, in every table and for every reader. This is a hybrid logical
clock (Kulkarni et al., 2014).
"""

import calendar
import contextlib
import math
import random
import re
import time
import uuid
from dataclasses import dataclass

from genremill.infra import pointers, records, storage
from genremill.infra.errors import DamagedRecord
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import Conflict

SEQUENCE = "_sequence.json"
RUN_ID = re.compile(r"\d{8}T\d{6}-[0-9a-f]{6}")
PAUSE_S = 0.1
"""Longest pause after another job was faster; it is random, so that jobs do not meet again."""
MOST_APART_S = 60.0
"""Difference from the clock of the storage above which a run warns."""

_SECOND = "%Y%m%dT%H%M%S"
_PARTS = 1 << 24
"""Parts of a second that a run id counts."""


@dataclass(frozen=True)
class Sequence:
    """The content of `_sequence.json`."""

    last: str
    """The run id that was taken last."""
    token: str
    """Different each time, so that a job recognizes what it has written itself."""

    def __post_init__(self) -> None:
        _number(self.last)


def from_clock() -> str:
    """The run id of the present time: for work that no warehouse keeps."""
    return _text((time.time_ns() << 24) // 10**9)


def take(root: str) -> str:
    """Takes the next run id of a warehouse; it is larger than all before, and no other job gets it.

    Warns if the clocks of this machine and of the storage differ by more than `MOST_APART_S`.
    """
    path = f"{root}/{SEQUENCE}"
    while True:
        data, version = pointers.read(path)
        last = _last(root, data)
        run_id = max(from_clock(), _text(_number(last) + 1)) if last else from_clock()
        started_s = time.time()
        with contextlib.suppress(Conflict):  # another job was faster
            storage.write_over(path, records.to_json(Sequence(run_id, uuid.uuid4().hex)), version)
            _compare_clocks(root, started_s, time.time())
            return run_id
        time.sleep(random.uniform(0, PAUSE_S))


def taken_at_s(root: str) -> float:
    """When the last run id was taken, in seconds since the epoch on the clock of the storage.

    The second is rounded up, because S3 gives whole seconds.
    """
    return math.floor(storage.modified_s(f"{root}/{SEQUENCE}")) + 1


def _last(root: str, data: bytes | None) -> str:
    """The last run id; if no sequence says it, the largest in the name of an object, or "" without one."""
    if data is not None:
        try:
            return records.from_json(data, Sequence, f"{root}/{SEQUENCE}").last
        except DamagedRecord as err:
            LOGGER.warning("%s; run ids continue after the largest in the warehouse", err)
    names = (stored.name for stored in storage.objects(root))
    return max((found for name in names for found in RUN_ID.findall(name) if _is_time(found)), default="")


def _compare_clocks(root: str, started_s: float, ended_s: float) -> None:
    """Warns if the storage has not written the sequence between two times of this machine's clock."""
    written_s = storage.modified_s(f"{root}/{SEQUENCE}")
    ahead_s = max(started_s - written_s, 0.0) + min(ended_s - written_s, 0.0)
    if abs(ahead_s) > MOST_APART_S:
        LOGGER.warning(
            "the clock of this machine is %s %s the clock of %s: set it, for example with NTP. The times in "
            "records and on pages are wrong; the order of the runs is not",
            _duration(abs(ahead_s)),
            "ahead of" if ahead_s > 0 else "behind",
            root,
        )


def _duration(seconds: float) -> str:
    """A duration in a unit in which it is at least two.

    >>> _duration(90_000), _duration(7_000), _duration(61), _duration(315_000_000)
    ('25.0 hours', '116.7 minutes', '61.0 seconds', '3645.8 days')
    """
    units = {"days": 86_400, "hours": 3_600, "minutes": 60}
    name, length = next(((name, s) for name, s in units.items() if seconds >= 2 * s), ("seconds", 1))
    return f"{seconds / length:.1f} {name}"


def _number(run_id: str) -> int:
    """A run id as a number of parts of a second since the epoch; raises `ValueError` if it is none."""
    second, _, part = run_id.partition("-")
    if not RUN_ID.fullmatch(run_id):
        raise ValueError(f"not a run id: {run_id!r}")
    return calendar.timegm(time.strptime(second, _SECOND)) * _PARTS + int(part, 16)


def _text(number: int) -> str:
    """The run id of a number of parts of a second since the epoch."""
    second, part = divmod(number, _PARTS)
    return f"{time.strftime(_SECOND, time.gmtime(second))}-{part:06x}"


def _is_time(run_id: str) -> bool:
    try:
        _number(run_id)
    except ValueError:
        return False
    return True
