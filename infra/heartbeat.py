"""A sign of life: an object that a running job writes anew every few minutes, and removes at its end."""

import contextlib
import threading
from collections.abc import Iterator

from genremill.infra import storage
from genremill.infra.errors import StorageError
from genremill.infra.log import LOGGER

PERIOD_S = 300.0
ALIVE_S = 4 * PERIOD_S
"""A job whose sign of life is older counts as dead: it may have missed a few in a storm of errors."""
NAME = "_alive"


@contextlib.contextmanager
def beating(folder: str, period_s: float = PERIOD_S) -> Iterator[None]:
    """Keeps `_alive` in a folder fresh until the block ends."""
    ended = threading.Event()

    def beat() -> None:
        while not ended.wait(period_s):
            _write(folder)

    _write(folder)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _write(folder: str) -> None:
    try:
        storage.write_atomic(f"{folder}/{NAME}", storage.utc_now().encode())
    except StorageError as err:  # the job itself will see whether the storage is down for good
        LOGGER.warning("no sign of life: %s", err)
