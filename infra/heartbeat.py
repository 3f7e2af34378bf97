"""A heartbeat: an object that a running job rewrites every few minutes, and removes at its end."""

import contextlib
from collections.abc import Iterator

from genremill.infra import storage
from genremill.infra.background import repeated
from genremill.infra.errors import StorageError
from genremill.infra.log import LOGGER

PERIOD_S = 300.0
ALIVE_S = 4 * PERIOD_S
"""A job with an older heartbeat counts as dead; storage errors may prevent a few heartbeats."""
NAME = "_alive"


@contextlib.contextmanager
def beating(folder: str, period_s: float = PERIOD_S) -> Iterator[None]:
    """Rewrites `_alive` in a folder regularly until the block ends."""
    _write(folder)
    with repeated(lambda: _write(folder), period_s):
        yield


def _write(folder: str) -> None:
    try:
        storage.write_atomic(f"{folder}/{NAME}", storage.utc_now().encode())
    except StorageError as err:  # if the storage is down permanently, the job itself will fail
        LOGGER.warning("cannot write the heartbeat: %s", err)
