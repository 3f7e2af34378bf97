"""What is known of an object in a warehouse, wherever it lies."""

from dataclasses import dataclass

from genremill.infra.errors import StorageError


@dataclass(frozen=True)
class StoredObject:
    """One object under a folder."""

    name: str
    """Its path from the folder that was listed."""
    size: int
    version: str
    """Equal versions, equal bytes: a modification time, an ETag."""
    modified_s: float
    """Seconds since the epoch."""


@dataclass(frozen=True)
class Upload:
    """A multipart upload that was begun and not ended: nobody can read it, and it is paid for."""

    name: str
    """Path of the object that it would have become, from the folder that was listed."""
    upload_id: str
    begun_s: float
    """Seconds since the epoch."""


class Conflict(StorageError):
    """Somebody else has written the object meanwhile."""
