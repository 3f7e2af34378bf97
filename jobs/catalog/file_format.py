"""The format of a table file, found in its first bytes: what it is, and how it is packed."""

import enum
import re
from dataclasses import dataclass

from genremill.infra.errors import UsageError


class Kind(enum.StrEnum):
    """What a table file contains."""

    CSV = "CSV"
    PARQUET = "Parquet"
    EXCEL = "Excel"


class Packing(enum.StrEnum):
    """How a file is packed; the values are the names of pyarrow's codecs."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bz2"
    ZSTD = "zstd"
    ZIP = "zip"


_PACKED = {b"\x1f\x8b": Packing.GZIP, b"BZh": Packing.BZIP2, b"\x28\xb5\x2f\xfd": Packing.ZSTD}
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_REFUSED = (
    (
        b"\xd0\xcf\x11\xe0",
        "an old Excel file (.xls) or an Excel file with a password; save it as .xlsx without a password",
    ),
    (b"7z\xbc\xaf", "a 7-Zip archive; unpack it first"),
    (b"Rar!", "a RAR archive; unpack it first"),
    (b"\xfd7zXZ", "an xz file; unpack it first"),
    (b"\x04\x22\x4d\x18", "an LZ4 file; unpack it first"),
    (b"ARROW1", "an Arrow (Feather) file; save it as Parquet"),
    (b"FEA1", "a Feather file; save it as Parquet"),
    (b"ORC", "an ORC file; save it as Parquet"),
    (b"Obj\x01", "an Avro file; save it as Parquet"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"\x89HDF", "an HDF5 file; save the table as Parquet"),
    (b"%PDF", "a PDF document"),
    (b"version https://git-lfs", "a pointer of Git LFS instead of the file itself; run `git lfs pull`"),
)
"""The first bytes of files that are not read, and what such a file is."""
_PAGE = re.compile(rb"\s*<(!doctype|html|head|body|\?xml|error)", re.IGNORECASE)
_JSON = re.compile(rb'\s*(\[\s*)?\{\s*["}]|\s*\[\s*[\["]')
_PICKLE = re.compile(rb"\x80[\x02-\x05]")


def packing_of(start: bytes) -> Packing:
    """How a file that starts with these bytes is packed; an Excel file counts as a zip archive."""
    if start.startswith(_ZIP):
        return Packing.ZIP
    return next((packing for magic, packing in _PACKED.items() if start.startswith(magic)), Packing.NONE)


def kind_of(start: bytes, source: str) -> Kind:
    """What unpacked bytes are; raises `UsageError` if they are not a table, and says what they are."""
    if start.startswith(b"PAR1"):
        return Kind.PARQUET
    what = next((what for magic, what in _REFUSED if start.startswith(magic)), None)
    without_bom = start.removeprefix(b"\xef\xbb\xbf")
    if start[257:262] == b"ustar":
        what = "a tar archive; unpack it first"
    elif _PICKLE.match(start):
        what = "a pickle file; save the table as Parquet"
    elif _PAGE.match(without_bom):
        what = "a web page or an XML document; it may be the error message of a download"
    elif _JSON.match(without_bom):
        what = "a JSON file; save the table as CSV or Parquet"
    elif what is None and packing_of(start) is not Packing.NONE:
        what = f"packed more than once ({packing_of(start)}); unpack it first"
    if what:
        raise UsageError(f"{source}: expected a CSV, Parquet or Excel table; found {what}")
    return Kind.CSV


@dataclass(frozen=True)
class FileFormat:
    """The format of a table, as it was detected or set by flags."""

    kind: Kind
    files: int = 1
    packing: Packing = Packing.NONE
    encoding: str = "utf-8"
    delimiter: str = ","
    escape: str = '"'
    r"""The character before a quote in a quoted field: `"` or `\`."""
    multiline: bool = False
    """Whether quoted fields may contain line breaks."""
    inside: str = ""
    """The member of a zip archive or the sheet of an Excel file that was read."""
    undecodable_rows: int = 0
    """Rows with bytes that are not in the encoding; they are rejected."""

    @property
    def description(self) -> str:
        """One sentence for the log and the record of the run.

        >>> FileFormat(Kind.CSV, encoding="cp1252", delimiter=";").description
        "one CSV file, encoding cp1252, delimiter ';'"
        """
        count = f"{self.files:,} {self.kind} files" if self.files > 1 else f"one {self.kind} file"
        parts = [count + ("" if self.packing is Packing.NONE else f" ({self.packing})")]
        if self.inside:
            parts.append(f"{'sheet' if self.kind is Kind.EXCEL else 'member'} {self.inside!r}")
        if self.kind is Kind.CSV:
            parts += [f"encoding {self.encoding}", f"delimiter {self.delimiter!r}"]
            if self.escape == "\\":
                parts.append(r"quotes escaped as \"")
            if self.multiline:
                parts.append("line breaks in quoted fields, so one task reads each file")
        if self.undecodable_rows:
            parts.append(f"{self.undecodable_rows:,} rows with bytes that are not {self.encoding}")
        return ", ".join(parts)
