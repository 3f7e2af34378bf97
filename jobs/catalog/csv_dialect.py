"""The dialect of a CSV text, found in a sample: encoding, quotes, line breaks."""

import codecs
import csv
import io
import itertools
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, TextIO

SAMPLE_RECORDS = 500
MAX_LINES = 50
"""The most lines of a record in a file with quotes that are never closed."""
UNCLOSED = "a quoted field is not closed on its line; if fields contain line breaks, pass --multiline"
MIN_NUL_SHARE = 0.3
"""UTF-16 without a byte order mark has NUL in at least this share of either the odd or the even bytes."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
UNDECODABLE = re.compile("[\udc80-\udcff]")
"""A byte that is not UTF-8, as `reader_of` reads it."""
_MULTIBYTE = re.compile(r"[^\x00-\x7f\ufffd]")
_AROUND = "\x00-\x20\x7f-\xa0\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f\u2060\u3000\ufeff"
"""Blanks, control characters and invisible characters, as a class of a regular expression."""
_BLANK_ENDS = re.compile(f"^[{_AROUND}]+|[{_AROUND}]+$")
_QUOTES = {'"': '"', "'": "'", "`": "`", "“": "”", "„": "“", "«": "»"}
_SINGLE_QUOTED = re.compile(r"\s*'[^'\r\n]+'(.)'[^'\r\n]+'(\1'[^'\r\n]+')*(\r\n|\n|\r)")
"""A header with two or more names in single quotes."""


def _as_latin1(error: UnicodeError) -> tuple[str, int]:
    """The five bytes that CP1252 does not define, as the control characters that Latin-1 has for them."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error("genremill.latin1", _as_latin1)


def _errors(encoding: str) -> str:
    """How bytes are read that an encoding does not define.

    In CP1252 they are read as Latin-1. Bytes that are not UTF-8 become lone surrogates, which are written as
    the same bytes. In other encodings they raise `UnicodeError`.
    """
    return {"cp1252": "genremill.latin1", "utf-8": "surrogateescape"}.get(encoding, "strict")


def reader_of(content: IO[bytes], encoding: str) -> TextIO:
    """The text of a stream, without a byte order mark and with line feeds as line ends."""
    name = "utf-8-sig" if encoding == "utf-8" else encoding
    return io.TextIOWrapper(content, name, _errors(encoding))


def decoded_start(data: bytes, encoding: str, whole: bool) -> str:
    """The text of the first bytes of a file; a character or line that is cut at the end is left out."""
    decoder = codecs.getincrementaldecoder(encoding)(_errors(encoding))
    text = decoder.decode(data, whole).removeprefix("\ufeff")
    return text if whole else text[: max(text.rfind("\n"), text.rfind("\r")) + 1] or text


def codec_name(encoding: str) -> str:
    """The one name that Python has for an encoding; raises `LookupError` if there is no such encoding."""
    return codecs.lookup(encoding).name


def detected_encoding(sample: bytes) -> str:
    """The encoding of a text that starts with these bytes; `cp1252` stands for Latin-1 too."""
    for mark, encoding in _MARKS:
        if sample.startswith(mark):
            return encoding
    if sample:
        pairs = max(1, len(sample) // 2)
        even, odd = (sample[first : 2 * pairs : 2].count(0) / pairs for first in (0, 1))
        if max(even, odd) >= MIN_NUL_SHARE:
            return "utf-16-le" if odd > even else "utf-16-be"
    return "utf-8" if is_mostly_utf8(sample) else "cp1252"


def is_mostly_utf8(sample: bytes) -> bool:
    """Whether the bytes are UTF-8, perhaps with some damaged characters.

    Text in CP1252 that is read as UTF-8 has hardly any valid character beyond ASCII.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # ignores a character that is cut at the end
    text = decoder.decode(sample)
    return text.count("\ufffd") <= len(_MULTIBYTE.findall(text))


@dataclass(frozen=True)
class Dialect:
    """How the fields of a CSV text are separated and quoted."""

    delimiter: str = ","
    escape: str = '"'
    """A backslash if it is written before quotes in fields; `"` if they are doubled."""
    quote: str = '"'

    def records(self, lines: Iterable[str]) -> Iterator[tuple[list[str], list[str]]]:
        """The fields and the lines of all records that are not blank."""
        used: list[str] = []

        def noted() -> Iterator[str]:
            for line in lines:
                used.append(line)
                yield line

        for fields in self._reader(noted()):
            if len(fields) > 1 or "".join(fields).strip():
                yield fields, used[:]
            used.clear()

    def _reader(self, lines: Iterable[str], strict: bool = False) -> Iterator[list[str]]:
        doubled = self.escape == '"'
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar=self.quote,
            doublequote=doubled,
            escapechar=None if doubled else self.escape,
            strict=strict,
        )

    def requoted(self, lines: Iterable[str]) -> Iterator[str]:
        """The lines with double quotes around the fields; a quote within a field may be written once."""
        end = re.escape(self.delimiter) + self.quote
        within = re.compile(rf"(?<=[^{end}\\]){self.quote}(?=[^{end}\r\n])")
        for fields in self._reader(within.sub(self.quote * 2, line) for line in lines):
            quoted = ('"' + field.replace('"', '""') + '"' if field else "" for field in fields)
            yield from io.StringIO(self.delimiter.join(quoted) + "\n", newline="")

    def sampled(self, text: str) -> list[list[str]]:
        """The first records of a text. The sample ends before a record that is too long."""
        found = []
        try:
            for fields, _ in self.records(io.StringIO(text, newline="")):
                found.append(fields)
                if len(found) > SAMPLE_RECORDS:
                    break
        except csv.Error:
            pass
        return found

    def spans_lines(self, lines: Iterable[str], columns: int, whole: bool = True) -> bool | None:
        """Whether all records that span lines are complete; None if no record spans lines.

        Line breaks in fields make complete records. A quote that is never closed makes others. `whole`:
        whether the text ends with the file, and not within a record.
        """
        complete, last = None, None
        try:
            for _, used in self.records(lines):
                if last is False:
                    return False
                complete = last or complete
                last = self._is_complete(used, columns) if len(used) > 1 else None
        except csv.Error:
            return False
        return complete if last is None or not whole else last

    def with_marks(self, lines: Iterable[str], columns: int) -> Iterator[str]:
        """The lines, and instead of a record that is not closed on its line a row with too many fields.

        Spark would read such a record without its end, as if it were whole.
        """
        rest, ahead = iter(lines), deque[str]()
        while line := ahead.popleft() if ahead else next(rest, ""):
            if '"' not in line or self._is_closed(line):
                yield line
                continue
            ahead.extend(itertools.islice(rest, MAX_LINES - len(ahead)))
            used = [line, *ahead]
            sizes = range(2, len(used) + 1)
            size = next((size for size in sizes if self._is_complete(used[:size], columns)), 1)
            for _ in range(size - 1):
                ahead.popleft()
            record = "".join(used[:size]).strip().replace("\n", " ").replace('"', "'")
            yield f'"{UNCLOSED}: {record}"' + self.delimiter * columns + "\n"

    def _is_closed(self, line: str) -> bool:
        """Whether a line does not end within a quoted field."""
        try:
            return bool(list(self._reader([line], strict=True)))
        except csv.Error as err:
            return "unexpected end of data" not in str(err)

    def _is_complete(self, lines: list[str], columns: int) -> bool:
        """Whether lines are one record whose quotes are all closed before a delimiter or the end."""
        try:
            return [len(fields) for fields in self._reader(lines, strict=True)] == [columns]
        except csv.Error:
            return False


def single_quoted(text: str) -> Dialect | None:
    """The dialect of a text with fields in single quotes; None for other texts.

    All names of its header are quoted, and most cells that start with a quote end with one.
    """
    header = _SINGLE_QUOTED.match(text)
    if header is None:
        return None
    cells, end = text[header.end() :], re.escape(header[1]) + r"\r\n"
    starts = len(re.findall(rf"(?<=[{end}])'", "\n" + cells))
    ends = len(re.findall(rf"'(?=[{end}]|$)", cells))
    if starts > 2 * ends or not starts:
        return None
    escaped = len(re.findall(rf"\\'(?=[^{end}])", cells)) > cells.count("''")
    return Dialect(header[1], "\\" if escaped else '"', "'")


def backslash_evidence(text: str, delimiter: str) -> int:
    r"""Positive if quotes in quoted fields are escaped with a backslash, negative if doubled, 0 if unclear.

    Only a quote inside a field counts: a field can end with a backslash, and two quotes can be empty text.

    >>> backslash_evidence(r'1,"The \"Best\", live"', ",")
    1
    >>> backslash_evidence(r'1,"The ""Best"" live","C:\"', ",")
    -1
    """
    end = re.escape(delimiter) + r"\r\n"
    escaped = len(re.findall(rf'\\"(?=[^"{end}])', text))
    doubled = len(re.findall(rf'(?<![\\{end}])""(?=[^{end}])', "\n" + text))
    return (escaped > doubled) - (escaped < doubled)


def clean_name(name: str) -> str:
    r"""A column name without blanks, invisible characters and quotes around it.

    >>> clean_name("\ufeff 'Track\u00a0Name'\t\n")
    'Track\xa0Name'
    """
    while True:
        bare = _BLANK_ENDS.sub("", name)
        if len(bare) > 1 and _QUOTES.get(bare[0]) == bare[-1]:
            bare = bare[1:-1]
        if bare == name:
            return bare
        name = bare
