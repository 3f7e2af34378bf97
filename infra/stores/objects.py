"""Objects and uploads of a warehouse on any storage."""

from dataclasses import dataclass

from genremill.infra.errors import StorageError


@dataclass(frozen=True)
class StoredObject:
    """One object under a folder."""

    name: str
    """Path relative to the listed folder."""
    size: int
    version: str
    """A modification time or an ETag: objects with equal versions have equal bytes."""
    modified_s: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Upload:
    """An unfinished multipart upload: its parts cannot be read, but the storage bills them."""

    name: str
    """Path of the future object, relative to the listed folder."""
    upload_id: str
    begun_s: float
    """Seconds since the epoch."""


class Conflict(StorageError):
    """Another process has written the object since it was read."""


REPLACED = "was written meanwhile by another process; this run has not changed it"
