"""Reads and writes the files that decide which runs of a warehouse are current."""

from collections.abc import Callable
from contextlib import suppress

from genremill.infra import storage
from genremill.infra.errors import DamagedRecord
from genremill.infra.log import LOGGER
from genremill.infra.stores.objects import Conflict

ASIDE = ".damaged"
"""What is added to the name of a damaged file that was set aside."""


def read(path: str) -> tuple[bytes | None, str | None]:
    """The bytes of a file and its version, or None for both if there is no such file."""
    return storage.read_version(path) if storage.is_object(path) else (None, None)


def replace(path: str, text: bytes | None) -> None:
    """Writes the text of a file, or removes the file, if it does not have this text yet."""
    found, version = read(path)
    if found == text:
        return
    if text is None:
        storage.remove_object(path)
        return
    with suppress(Conflict):  # another job does the same, or a newer generation is there
        storage.write_over(path, text, version)


def set_aside_if_damaged(path: str, parse: Callable[[bytes, str], object]) -> None:
    """Renames a file that cannot be parsed, so that jobs go on as if it did not exist."""
    data, _ = read(path)
    if data is None:
        return
    try:
        parse(data, path)
    except DamagedRecord as err:
        LOGGER.warning("%s; it is kept as %s", err, path + ASIDE)
        storage.write_atomic(path + ASIDE, data)
        storage.remove_object(path)
