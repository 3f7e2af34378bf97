"""The location of an audio object, from a URI that a user wrote.

Only the text of the URI is checked, without access to disks or networks. Plain paths and `s3:` keys are used
as they are. `file:` URIs are percent-decoded once: `%2e%2e` means `..`, `%252e%252e` is an ordinary name.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from genremill.infra.audio.faults import AudioReason, AudioRejected
from genremill.infra.errors import UsageError

MAX_KEY_BYTES = 1024
"""Longest S3 key; for a longer one, S3 returns an error that looks like a broken request."""

_URI = re.compile(r"(?:([a-z][a-z0-9+.-]*)://([^/]*)|(file):)(.*)", re.DOTALL | re.IGNORECASE)
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,254}")
CREDENTIALS = re.compile(r"(//)([^/]*:.*@|[^/@]*@)", re.DOTALL)


@dataclass(frozen=True)
class Location:
    """An object or a folder: the names in its path, in a bucket or (without a bucket) on the file system."""

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

    def holds(self, other: "Location") -> bool:
        """Whether `other` is below this folder; a folder does not hold itself.

        >>> Location("", ("data", "audio")).holds(Location("", ("data", "audio2", "a.mp3")))
        False
        """
        depth = len(self.parts)
        return self.bucket == other.bucket and self.parts == other.parts[:depth] and len(other.parts) > depth

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.key}" if self.bucket else self.path


def redacted(uri: str) -> str:
    """A URI for messages: without credentials, query and control characters.

    >>> redacted("https://ada:secret@host/a.mp3?X-Amz-Signature=1234")
    "'https://…@host/a.mp3?…'"
    """
    kept, query, _ = CREDENTIALS.sub(r"\1…@", uri, count=1).partition("?")
    return repr(kept[:200] + ("…" if len(kept) > 200 else "") + ("?…" if query else ""))


def parse_root(uri: str) -> Location:
    """The folder or prefix of `--audio-root`; a relative path is relative to the working folder."""
    scheme, host, path = split(uri)
    if scheme in ("s3", "s3a") and BUCKET.fullmatch(host):
        root = Location(host, tuple(path.strip("/").split("/")) if path.strip("/") else ())
    elif scheme in ("", "file") and not host and (path.startswith("/") or (not scheme and path.strip())):
        root = Location("", _local_parts(os.path.abspath(path)))
    else:
        raise UsageError(f"--audio-root {redacted(uri)}: expected a folder or s3://bucket/prefix")
    if fault := _fault(root.parts):
        raise UsageError(f"--audio-root {redacted(uri)}: {fault}")
    if not root.bucket and not root.parts:
        raise UsageError("--audio-root /: expected a folder, not the whole file system")
    return root


def locate(uri: str, roots: Sequence[Location]) -> tuple[Location, Location]:
    """The root of an object, and the location of the object; raises `AudioRejected` if no root holds it.

    A relative path is relative to the root; there must be exactly one root.
    """
    scheme, host, path = split(uri)
    if not uri.strip():
        raise refused(uri, "an empty path")
    if scheme == "" and not path.startswith("/"):
        if len(roots) != 1:
            raise refused(uri, "a relative path, which is ambiguous with more than one --audio-root")
        location = Location(roots[0].bucket, roots[0].parts + _local_parts(path))
    elif scheme == "" or (scheme == "file" and path.startswith("/") and not host):
        location = Location("", _local_parts(path))
    elif scheme == "file":
        raise refused(uri, f"a file: URI with {'another host' if host else 'a relative path'}")
    elif scheme in ("s3", "s3a") and not host:
        raise refused(uri, "an s3: URI without a bucket")
    elif scheme in ("s3", "s3a"):
        location = Location(host, tuple(path.removeprefix("/").split("/")))
    else:
        raise refused(uri, f"{scheme}: is not supported; expected a path, a file: or an s3: URI")
    if fault := _fault(location.parts):
        raise refused(uri, fault)
    if location.bucket and not location.parts[-1]:
        raise refused(uri, "this is a folder")
    if location.bucket and len(location.key.encode()) > MAX_KEY_BYTES:
        raise refused(uri, f"an S3 key longer than {MAX_KEY_BYTES} bytes")
    for root in roots:
        if root.holds(location):
            return root, location
    raise refused(uri, f"not under --audio-root {' or '.join(map(str, roots))}")


def refused(uri: str, reason: str) -> AudioRejected:
    """The rejection of a path that must not be read."""
    return AudioRejected(AudioReason.PATH_REFUSED, f"{redacted(uri)}: {reason}")


def split(uri: str) -> tuple[str, str, str]:
    """Scheme in lower case (empty for a plain path), host or bucket, and path; `file:` paths are decoded."""
    match = _URI.fullmatch(uri)
    if match is None:
        return "", "", uri
    scheme, host, file, path = match.groups(default="")
    if (scheme or file).lower() == "file":
        return "file", host, unquote(path, errors="surrogateescape")
    return scheme.lower(), host, path


def _local_parts(path: str) -> tuple[str, ...]:
    return tuple(name for name in path.split("/") if name not in ("", "."))


def _fault(parts: tuple[str, ...]) -> str:
    if ".." in parts or "." in parts:
        return "'.' or '..' in the path"
    return "a NUL byte in the path" if any("\0" in name for name in parts) else ""
