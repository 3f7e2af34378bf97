"""Where an audio object lies, read from a URI that users wrote: judged by its spelling alone.

Nothing here touches a disk or a network. Plain paths and `s3:` keys are taken as they are spelled; `file:`
URIs are percent-decoded once, so `%2e%2e` is `..` there and `%252e%252e` a name like any other.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError

MAX_KEY_BYTES = 1024
"""Of an S3 key; a longer one is answered with an error that looks like a broken request."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)|file:(.*)", re.DOTALL | re.IGNORECASE)
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
CREDENTIALS = re.compile(r"(//)([^/]*:.*@|[^/@]*@)", re.DOTALL)


@dataclass(frozen=True)
class Place:
    """An object or a folder: the names on the way to it, in a bucket or, without one, on the file system."""

    bucket: str
    parts: tuple[str, ...]

    @property
    def key(self) -> str:
        """The object's S3 key."""
        return "/".join(self.parts)

    @property
    def path(self) -> str:
        """The absolute local path."""
        return "/" + "/".join(self.parts)

    def holds(self, other: "Place") -> bool:
        """Whether `other` lies under this folder; a folder does not hold itself.

        >>> Place("", ("data", "audio")).holds(Place("", ("data", "audio2", "a.mp3")))
        False
        """
        under = other.parts[: len(self.parts)] == self.parts and len(other.parts) > len(self.parts)
        return self.bucket == other.bucket and under

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.bucket else self.path


def shown(uri: str) -> str:
    """A URI as messages quote it: no credentials, nothing from a `?` on, no control characters.

    >>> shown("https://ada:secret@host/a.mp3?X-Amz-Signature=1234")
    "'https://…@host/a.mp3?…'"
    """
    kept, query, _ = CREDENTIALS.sub(r"\1…@", uri, count=1).partition("?")
    return repr(kept[:200] + ("…" if len(kept) > 200 else "") + ("?…" if query else ""))


def root(location: str) -> Place:
    """The folder or prefix that `--audio-root` names; a relative path is taken from the working folder."""
    scheme, host, path = _split(location)
    if scheme in ("s3", "s3a") and _BUCKET.fullmatch(host):
        place = Place(host, tuple(path.strip("/").split("/")) if path.strip("/") else ())
    elif scheme in ("", "file") and not host and (path.startswith("/") or (not scheme and path.strip())):
        place = Place("", _local_parts(os.path.abspath(path)))
    else:
        raise UsageError(f"--audio-root {shown(location)}: expected a folder or s3://bucket/prefix")
    if fault := _fault(place.parts):
        raise UsageError(f"--audio-root {shown(location)}: {fault}")
    if not place.bucket and not place.parts:
        raise UsageError("--audio-root /: name a folder; the whole file system is too much")
    return place


def locate(uri: str, roots: Sequence[Place]) -> tuple[Place, Place]:
    """The root that holds an object, and the object's own place; `AudioRejected` where no root does.

    A relative path counts from the root, where there is exactly one.
    """
    scheme, host, path = _split(uri)
    if not uri.strip():
        raise refused(uri, "an empty path")
    if scheme == "" and not path.startswith("/"):
        if len(roots) != 1:
            raise refused(uri, "a relative path, and more than one --audio-root it may count from")
        place = Place(roots[0].bucket, roots[0].parts + _local_parts(path))
    elif scheme == "" or (scheme == "file" and path.startswith("/") and not host):
        place = Place("", _local_parts(path))
    elif scheme == "file":
        raise refused(uri, f"a file: URI of {'another host' if host else 'no absolute path'}")
    elif scheme in ("s3", "s3a") and not host:
        raise refused(uri, "an s3: URI without a bucket")
    elif scheme in ("s3", "s3a"):
        place = Place(host, tuple(path.removeprefix("/").split("/")))
    else:
        raise refused(uri, f"{scheme}: is not read; expected a path, file: or s3:")
    if fault := _fault(place.parts):
        raise refused(uri, fault)
    if place.bucket and not place.parts[-1]:
        raise refused(uri, "names a folder")
    if place.bucket and len(place.key.encode()) > MAX_KEY_BYTES:
        raise refused(uri, f"an S3 key of over {MAX_KEY_BYTES} bytes")
    for one in roots:
        if one.holds(place):
            return one, place
    raise refused(uri, f"not under --audio-root {' or '.join(map(str, roots))}")


def refused(uri: str, why: str) -> AudioRejected:
    """The rejection of a path that must not be read."""
    return AudioRejected(AudioReason.PATH_REFUSED, f"{shown(uri)}: {why}")


def _split(uri: str) -> tuple[str, str, str]:
    """Scheme in lower case (empty for a plain path), host or bucket, and path."""
    found = _SCHEME.fullmatch(uri)
    if found is None:
        return "", "", uri
    scheme, rest, opaque = found.groups()
    if opaque is not None:
        return "file", "", unquote(opaque, errors="surrogateescape")
    scheme = scheme.lower()
    host, slash, path = rest.partition("/")
    if scheme == "file":
        path = unquote(path, errors="surrogateescape")
    return scheme, host, slash + path


def _local_parts(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _fault(parts: tuple[str, ...]) -> str:
    if ".." in parts or "." in parts:
        return "'.' or '..' in the path"
    return "a NUL byte in the path" if any("\0" in name for name in parts) else ""
