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
    AUDIO = "audio"


class Packing(enum.StrEnum):
    """How a file is packed; the values are the names of pyarrow's codecs."""

    NONE = "none"
    GZIP = "gzip"
    BZIP2 = "bz2"
    ZSTD = "zstd"
    ZIP = "zip"


_PACKED = {b"\x1f\x8b": Packing.GZIP, b"\x28\xb5\x2f\xfd": Packing.ZSTD}
_BZIP2 = re.compile(rb"BZh[1-9](1AY&SY|\x17rE8P\x90)")
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_REFUSED = {
    rb"\xd0\xcf\x11\xe0": "an old Excel file (.xls) or one with a password; save it as .xlsx without one",
    rb".{257}ustar": "a tar archive; unpack it first",
    rb"PK\x03\x04.{26}(\[Content_T|_rels/|docProps/|xl/)": "an Excel file in an archive; unpack it first",
    rb"7z\xbc\xaf": "a 7-Zip archive; unpack it first",
    rb"Rar!\x1a": "a RAR archive; unpack it first",
    rb"\xfd7zXZ": "an xz file; unpack it first",
    rb"\x04\x22\x4d\x18": "an LZ4 file; unpack it first",
    rb"ARROW1\x00|FEA1\x00": "an Arrow or Feather file; save it as Parquet",
    rb"ORC[\x00-\x09\x0b-\x1f]": "an ORC file; save it as Parquet",
    rb"Obj\x01": "an Avro file; save it as Parquet",
    rb"SQLite format 3": "an SQLite database; export the table as CSV",
    rb"\x89HDF": "an HDF5 file; save the table as Parquet",
    rb"\x80[\x02-\x05]": "a pickle file; save the table as Parquet",
    rb"%PDF-": "a PDF document",
    rb"version https://git-lfs": "a pointer of Git LFS instead of the file itself; run `git lfs pull`",
    rb"(?i)(\xef\xbb\xbf)?\s*<(!doctype|html|head|body|\?xml|error)": "a web page, perhaps an error message",
    rb"""(\xef\xbb\xbf)?\s*(\[\s*)?[\[{]\s*["}{\[]""": "a JSON file; save the table as CSV or Parquet",
}
"""What a file is that is not read, by the pattern of its first bytes."""
_CONTROL = re.compile(rb"[\x02-\x08\x0e-\x1f]")
MAX_CONTROL_SHARE = 0.05
"""Text has fewer control characters than this share of its bytes."""


def packing_of(start: bytes) -> Packing:
    """How a file that starts with these bytes is packed; an Excel file counts as a zip archive."""
    if start.startswith(_ZIP):
        return Packing.ZIP
    if _BZIP2.match(start):
        return Packing.BZIP2
    return next((packing for magic, packing in _PACKED.items() if start.startswith(magic)), Packing.NONE)


def kind_of(start: bytes, source: str) -> Kind:
    """What unpacked bytes are; raises `UsageError` if they are not a table, and says what they are."""
    if start.startswith(b"PAR1"):
        return Kind.PARQUET
    what = next((what for pattern, what in _REFUSED.items() if re.match(pattern, start, re.DOTALL)), None)
    if what is None and packing_of(start) is not Packing.NONE:
        what = f"a file that is packed more than once ({packing_of(start)}); unpack it first"
    elif what is None and len(_CONTROL.findall(start)) > MAX_CONTROL_SHARE * len(start):
        what = "a binary file of an unknown format"
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
    other_sheets: tuple[str, ...] = ()
    """The sheets with cells that were not read."""
    lines_above: int = 0
    """Lines above the header that are not read, such as a title."""
    undecodable_rows: int = 0
    """Rows with bytes that are not in the encoding; they are rejected."""

    @property
    def description(self) -> str:
        """One sentence for the log and the record of the run.

        >>> FileFormat(Kind.CSV, encoding="cp1252", delimiter=";").description
        "one CSV file, encoding cp1252, delimiter ';'"
        >>> FileFormat(Kind.EXCEL, inside="Data", other_sheets=("Readme",), lines_above=2).description
        "one Excel file, sheet 'Data' (not read: 'Readme'), without 2 lines above the header"
        """
        count = f"{self.files:,} {self.kind} files" if self.files > 1 else f"one {self.kind} file"
        parts = [count + ("" if self.packing is Packing.NONE else f" ({self.packing})")]
        if self.inside:
            others = ", ".join(map(repr, self.other_sheets))
            parts.append(f"{'sheet' if self.kind is Kind.EXCEL else 'member'} {self.inside!r}")
            parts[-1] += f" (not read: {others})" if others else ""
        if self.kind is Kind.CSV:
            parts += [f"encoding {self.encoding}", f"delimiter {self.delimiter!r}"]
            if self.escape == "\\":
                parts.append(r"quotes escaped as \"")
            if self.multiline:
                parts.append("line breaks in quoted fields, so one task reads each file")
        if self.lines_above:
            parts.append(f"without {self.lines_above} line{'s' * (self.lines_above > 1)} above the header")
        if self.undecodable_rows:
            parts.append(f"{self.undecodable_rows:,} rows with bytes that are not {self.encoding}")
        return ", ".join(parts)
