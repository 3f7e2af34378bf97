"""Copies of table files in a form that Spark reads: unpacked UTF-8 text with line feeds, or Parquet.

The copies are in the scratch folder of the run. Every file is converted as a stream.
"""

import contextlib
import csv
import itertools
import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import TextIO

from genremill.infra.errors import UsageError
from genremill.infra.new_files import create
from genremill.jobs.catalog.csv_dialect import reader_of
from genremill.jobs.catalog.source_files import BLOCK, SourceFile, opened

ROWS = 1 << 16
"""Rows of a Parquet file that are converted at once."""


class ConvertedFiles:
    """The scratch folder of a run for converted files, and which file each of them was made from."""

    def __init__(self, folder: str, lines: int | None = None) -> None:
        self.lines = lines
        """Number of lines of a text or rows of a workbook that are converted; None for all."""
        self.folder = f"{folder}/table-{uuid.uuid4().hex[:8]}"
        self.numbers = itertools.count()
        self.origins: dict[str, str] = {}
        """URI of the user's file by name of the converted file."""

    def add(self, file: SourceFile, extension: str) -> str:
        """The URI for the converted form of a file."""
        name = f"{next(self.numbers):06d}.{extension}"
        self.origins[name] = file.uri
        return f"{self.folder}/{name}"


def copy_bytes(file: SourceFile, to: str) -> None:
    """Writes the unpacked bytes of a file."""
    with opened(file) as content, create(to) as out:
        shutil.copyfileobj(content, out, BLOCK)


def copy_text(
    file: SourceFile,
    encoding: str,
    to: str,
    change: Callable[[TextIO], Iterable[str]] | None = None,
    lines: int | None = None,
) -> None:
    """Writes a text in UTF-8; each line ends with a line feed.

    `change` gets the text and returns the lines to write. At most `lines` lines are written, or all.
    Bytes that are not UTF-8 in a UTF-8 file are copied; other wrong bytes are a `UsageError`.
    """
    with opened(file) as content, create(to) as out, decoding(file, encoding):
        text = reader_of(content, encoding)
        whole = change is None and lines is None
        changed = change(text) if change else text
        for part in iter(lambda: text.read(BLOCK), "") if whole else itertools.islice(changed, lines):
            out.write(part.encode("utf-8", "surrogateescape"))


@contextlib.contextmanager
def decoding(file: SourceFile, encoding: str) -> Iterator[None]:
    """Turns bytes that are not in the encoding, and fields that are too long, into a `UsageError`."""
    try:
        yield
    except csv.Error as err:
        raise UsageError(f"{file}: the file cannot be read as CSV: {err}") from err
    except UnicodeError as err:
        raise UsageError(
            f"{file}: the file is not text in the encoding {encoding}: {err}; pass its encoding with "
            "--encoding, for example cp1252 or utf-16"
        ) from err
