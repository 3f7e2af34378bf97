"""Work that a thread repeats while a block runs, such as the heartbeat of a job."""

import contextlib
import threading
from collections.abc import Callable, Iterator

from genremill.infra import storage
from genremill.infra.errors import StorageError, StorageRefused
from genremill.infra.log import LOGGER

ALIVE = "_alive"
"""Name of the object that a job rewrites in its folder as long as it runs."""
PERIOD_S = 300.0
ALIVE_S = 4 * PERIOD_S
"""A job with an older heartbeat counts as dead; storage errors may prevent a few heartbeats."""


@contextlib.contextmanager
def repeated(action: Callable[[], object], every_s: float, join_s: float | None = None) -> Iterator[None]:
    """Calls an action every `every_s` until the block ends; then waits at most `join_s` for the last call."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(every_s):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(join_s)


@contextlib.contextmanager
def beating(folder: str, period_s: float = PERIOD_S) -> Iterator[None]:
    """Rewrites the heartbeat in a folder regularly until the block ends.

    Raises `StorageRefused` at the start if the folder cannot be written.
    """

    def beat(*, first: bool = False) -> None:
        try:
            storage.write_atomic(f"{folder}/{ALIVE}", storage.utc_now().encode())
        except StorageError as err:  # if the storage is down permanently, the job itself will fail
            if first and isinstance(err, StorageRefused):
                raise  # for example, the warehouse is read-only: the job would fail at its end
            LOGGER.warning("cannot write the heartbeat: %s", err)

    beat(first=True)
    with repeated(beat, period_s):
        yield
