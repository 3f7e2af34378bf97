"""The files of a track table: their list, their first bytes, and their content, unpacked."""

import contextlib
import errno
import io
import lzma
import re
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.jobs.catalog.file_format import Kind, Packing, kind_of, packing_of

START = 512
"""Bytes that are enough to recognize a format."""
BLOCK = 1 << 20
MAX_RATIO, SMALL = 200, 1 << 30
"""A packed file is refused if it expands to more than this multiple of its size, and to more bytes."""
_TABLE_NAMES = [
    re.compile(rf"(?i)\.({endings})(\.gz|\.bz2|\.zst)?$")
    for endings in ("csv|tsv|tab|parquet|pq|xlsx|xlsm", "txt")
]
"""How names of tables in an archive end; the first pattern that any name has decides."""
_DAMAGES = (OSError, EOFError, zipfile.BadZipFile, zlib.error, lzma.LZMAError)
"""What the readers of packed files raise for damaged content."""
_ABOUT = re.compile(r"(?i)(^|/)(readme|licen[cs]e)([^/]*\.(txt|md|rst|html?|pdf))?$")
"""Names of files that describe a table."""
_HIDDEN = re.compile(r"(^|/)(__MACOSX/|[._][^/]*$)")


@dataclass(frozen=True)
class SourceFile:
    """One file of a table."""

    uri: str
    size: int
    name: str
    """Its path below the table's folder, or its name."""
    kind: Kind = Kind.CSV
    packing: Packing = Packing.NONE
    member: str = ""
    """The member of a zip archive that is read."""
    copy: str = ""
    """URI of its converted form."""
    flag: str = "--tracks"
    """The flag that names it."""

    def __str__(self) -> str:
        return f"{self.flag} {self.uri}" + (f" ({self.member})" if self.member else "")

    @property
    def partitions(self) -> dict[str, str]:
        """The columns in the names of the folders below the table, such as `dt=20261127`."""
        folders = self.name.split("/")[:-1]
        return dict(folder.split("=", 1) for folder in folders if "=" in folder)

    @property
    def is_hidden(self) -> bool:
        """Whether Spark skips the file because of its name."""
        return self.name.rpartition("/")[2].startswith((".", "_"))


def source_files(uri: str, flag: str = "--tracks") -> list[SourceFile]:
    """The files of a table that are not empty, recognized; raises `UsageError` if they are not a table."""
    listed = storage.data_files(uri)
    listed = [file for file in listed if not _ABOUT.search(file.name)] or listed
    if sum(file.size for file in listed) == 0:
        raise UsageError(f"{flag} {uri}: the file is empty; expected a CSV, Parquet or Excel table")
    nested = [name for name in storage.folders(uri) if "=" not in name and name[0] not in "._"]
    nested += [part for file in listed for part in file.name.split("/")[:-1] if "=" not in part]
    if nested:
        raise UsageError(f"{flag} {uri}: the folder contains the folder {nested[0]!r}; expected only files")
    is_file = storage.is_object(uri)
    files = [
        SourceFile(uri if is_file else f"{uri}/{file.name}", file.size, file.name, flag=flag)
        for file in listed
        if file.size
    ]
    with ThreadPoolExecutor(16) as threads:
        recognized = list(threads.map(_recognized, files))
    for file in recognized:
        if file.kind is not recognized[0].kind:
            raise UsageError(
                f"{flag} {uri}: expected files of one kind; {recognized[0].name} is {recognized[0].kind}, "
                f"and {file.name} is {file.kind}"
            )
        if file.kind is not Kind.PARQUET and file.name.endswith(".parquet"):
            raise UsageError(f"{file}: the file is not Parquet, although its name ends in .parquet")
    return recognized


def _recognized(file: SourceFile) -> SourceFile:
    start = storage.read_start(file.uri, START)
    file = replace(file, packing=packing_of(start))
    if file.packing is Packing.ZIP:
        file = _inside_zip(file)
        if file.kind is Kind.EXCEL:
            return file
    if file.packing is not Packing.NONE:
        with opened(file) as content:
            start = content.read(START)
        if not start:
            raise UsageError(f"{file}: the packed file is empty; expected a CSV or Parquet table")
    return replace(file, kind=kind_of(start, str(file)))


def _inside_zip(file: SourceFile) -> SourceFile:
    """The file as an Excel workbook, or with the name of the one table in the archive."""
    with local_copy(file.uri) as path, _archive(path, file) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not _HIDDEN.search(name)]
        kind = archive.read("mimetype")[:100].decode("latin-1") if "mimetype" in names else ""
    if "xl/workbook.xml" in names:
        return replace(file, kind=Kind.EXCEL, packing=Packing.NONE)
    if "xl/workbook.bin" in names or "opendocument" in kind:
        what = "an OpenDocument table" if kind else "a binary Excel file (.xlsb)"
        raise UsageError(f"{file}: expected a CSV, Parquet or Excel table; found {what}; save it as .xlsx")
    names = [name for name in names if not _ABOUT.search(name)] or names
    found = ([name for name in names if pattern.search(name)] for pattern in _TABLE_NAMES)
    tables = next(filter(None, found), names)
    if len(tables) != 1:
        shown = ", ".join(map(repr, tables[:10])) + (" …" if tables[10:] else "")
        raise UsageError(
            f"{file}: expected a zip archive with one table; found {len(tables)} files"
            + (f": {shown}. Unpack it, and pass one of them as --tracks" if tables else "")
        )
    return replace(file, member=tables[0])


@contextlib.contextmanager
def _archive(path: Path, file: SourceFile) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError) as err:
        # A damaged archive may refer to a place before its start, which is an invalid argument of a seek.
        if isinstance(err, OSError) and err.errno != errno.EINVAL:
            raise storage.arrow_error("read", file.uri, err) from err
        raise UsageError(f"{file}: the zip archive is damaged or cannot be read: {err}") from err
    except RuntimeError as err:  # a member that needs a password
        raise UsageError(f"{file}: {err}; unpack the archive first") from err


@contextlib.contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """A file that can be read at any position: the file itself, or a temporary copy of an object on S3."""
    if not storage.is_s3(uri):
        yield storage.local_path(uri)
        return
    store, path = storage.arrow(uri)
    with tempfile.NamedTemporaryFile() as copy:
        try:
            with store.open_input_stream(path) as content:
                shutil.copyfileobj(content, copy, BLOCK)
        except OSError as err:
            raise storage.arrow_error("read", uri, err) from err
        copy.flush()
        yield Path(copy.name)


@contextlib.contextmanager
def opened(file: SourceFile) -> Iterator[IO[bytes]]:
    """The unpacked content of a file; raises if it cannot be unpacked or is read beyond the limit of size."""
    with contextlib.ExitStack() as stack:
        if file.packing is Packing.ZIP:
            archive = stack.enter_context(_archive(stack.enter_context(local_copy(file.uri)), file))
            content = stack.enter_context(archive.open(file.member))
        else:
            store, path = storage.arrow(file.uri)
            codec = None if file.packing is Packing.NONE else file.packing.value
            try:
                content = stack.enter_context(store.open_input_stream(path, compression=codec))
            except OSError as err:
                raise storage.arrow_error("read", file.uri, err) from err
        yield io.BufferedReader(_Limited(content, file), BLOCK)


class _Limited(io.RawIOBase):
    """A stream that turns errors into ours, and refuses to expand a packed file without limit."""

    def __init__(self, content: IO[bytes], file: SourceFile) -> None:
        self.content, self.file, self.done = content, file, 0

    def readable(self) -> bool:
        """True: the stream is only read."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Reads the next bytes into a buffer, and returns their number."""
        try:
            data = self.content.read(len(buffer))
        except _DAMAGES as err:
            if self.file.packing is Packing.NONE and isinstance(err, OSError):
                raise storage.arrow_error("read", self.file.uri, err) from err
            message = f"{self.file} cannot be read as a table: it cannot be unpacked and may be damaged"
            raise UsageError(f"{message}: {err}") from err
        buffer[: len(data)] = data
        self.done += len(data)
        if self.done > max(SMALL, MAX_RATIO * self.file.size) and self.file.packing is not Packing.NONE:
            raise UsageError(
                f"{self.file}: the packed file expands to more than {MAX_RATIO} times its size; "
                "unpack it first if it is a table"
            )
        return len(data)
