"""CSV files as a DataFrame of text: detects the dialect, and converts the files that Spark cannot read."""

import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TextIO

from pyspark.sql import SparkSession

from genremill.infra.errors import UsageError
from genremill.jobs.catalog import csv_dialect, csv_header, csv_scan
from genremill.jobs.catalog.converted_files import ConvertedFiles, copy_text, decoding
from genremill.jobs.catalog.csv_dialect import Dialect, reader_of
from genremill.jobs.catalog.csv_scan import Facts, sample_facts
from genremill.jobs.catalog.file_format import Packing
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.source_files import SourceFile, opened

SAMPLE = 1 << 20
"""Bytes of the files of a table from which the dialect is detected; at least a sixteenth of it from each."""
_ENDINGS = {Packing.NONE: "", Packing.GZIP: ".gz", Packing.BZIP2: ".bz2"}
"""How the names of packed files end that Spark unpacks; it does not look at the bytes."""
_CODECS = (".gz", ".bz2", ".zst", ".lz4", ".snappy", ".deflate", ".xz", ".passthrough")


@dataclass(frozen=True)
class CsvText:
    """One CSV file: its sample, and where Spark reads it."""

    file: SourceFile
    encoding: str
    sample: str
    """Its first lines."""
    whole: bool
    """Whether the sample is the whole file."""
    single_quoted: Dialect | None = None
    """The dialect of the file if its quotes are single ones; `sample` and a copy have double ones."""
    skip: int = 0
    """The number of characters above the header."""
    place: str = ""
    marked: bool = False
    """Whether records that span lines are marked at `place`, because Spark reads line by line."""
    facts: Facts | None = None
    spans_lines: bool | None = None
    """Whether all records that span lines are complete; None if no record spans lines."""

    @property
    def lines_above(self) -> int:
        """The number of lines above the header."""
        return len(list(io.StringIO(self.sample[: self.skip], newline="")))

    @property
    def table(self) -> str:
        """The sample from the header on."""
        return self.sample[self.skip :]

    def is_readable(self, multiline: bool) -> bool:
        """Whether Spark reads the file as it is; if fields span lines, it keeps carriage returns."""
        ending = _ENDINGS.get(self.file.packing)
        named = self.file.uri.endswith(ending or "") and (bool(ending) or not self.file.uri.endswith(_CODECS))
        carriage = multiline and "\r" in self.sample
        changed = self.skip or self.single_quoted or self.file.is_hidden or carriage
        return self.encoding == "utf-8" and ending is not None and named and not changed

    def lines(self, text: TextIO) -> Iterator[str]:
        """The lines of the file from the header on, with double quotes."""
        lines = itertools.islice(text, self.lines_above, None)
        return self.single_quoted.requoted(lines) if self.single_quoted else lines


@dataclass(frozen=True)
class CsvTable:
    """The files of a table in one dialect."""

    texts: tuple[CsvText, ...]
    dialect: Dialect
    names: tuple[str, ...]
    multiline: bool

    @property
    def undecodable(self) -> int:
        """Number of lines with bytes that are not UTF-8."""
        return sum(text.facts.undecodable for text in self.texts if text.facts)

    @property
    def rows(self) -> int | None:
        """Number of rows if each is one line and all lines were counted."""
        if self.multiline or not all(text.facts for text in self.texts):
            return None
        return sum(text.facts.lines - 1 for text in self.texts if text.facts)


def csv_table(
    spark: SparkSession,
    converted: ConvertedFiles,
    files: Sequence[SourceFile],
    flags: Options,
    scan: bool,
) -> CsvTable:
    """Detects the dialect of CSV files, and converts those that Spark cannot read.

    `scan`: whether to look at all lines, and not only at a sample.
    """
    encoding = _encoding(flags.encoding)
    size = max(SAMPLE // len(files), SAMPLE // 16)
    texts = _each(files, lambda file: _sampled(file, encoding, size))
    dialect = _dialect(texts, flags.delimiter)
    texts = [_with_header(text, dialect) for text in texts]
    names = _column_names(texts, dialect)
    if len(names) == 1 and flags.delimiter is None:
        csv_header.check_delimiter(texts[0].table, names[0], str(files[0]))
    texts = [replace(text, spans_lines=_sample_spans(text, dialect, len(names))) for text in texts]
    table = _placed(CsvTable(tuple(texts), dialect, tuple(names), False), converted, flags.multiline)
    if scan:
        table = _placed(_scanned(spark, table, converted, encoding), converted, flags.multiline)
    return table


def _each(files: Sequence[SourceFile], sampled: Callable[[SourceFile], CsvText]) -> list[CsvText]:
    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(sampled, files))


def _encoding(name: str | None) -> str | None:
    """The name that Python has for an encoding."""
    if name is None:
        return None
    try:
        "".encode(name)
        return csv_dialect.codec_name(name)
    except LookupError as err:
        raise UsageError(
            f"--encoding {name}: expected an encoding such as utf-8, cp1252, latin-1 or utf-16"
        ) from err


def _sampled(file: SourceFile, encoding: str | None, size: int) -> CsvText:
    with opened(file) as content:
        data = content.read(size)
        whole = not content.read(1)
    encoding = encoding or csv_dialect.detected_encoding(data)
    with decoding(file, encoding):
        text = csv_dialect.decoded_start(data, encoding, whole)
        single_quoted = csv_dialect.single_quoted(text)
        if single_quoted:
            text = "".join(single_quoted.requoted(io.StringIO(text, newline="")))
    return CsvText(file, encoding, text, whole, single_quoted)


def _dialect(texts: Sequence[CsvText], delimiter: str | None) -> Dialect:
    delimiter = "\t" if delimiter == r"\t" else delimiter
    if delimiter is not None and (len(delimiter) != 1 or delimiter in '"\r\n'):
        raise UsageError(rf"--delimiter {delimiter!r}: expected one character, or \t")
    if delimiter is None:
        line = csv_header.separator_line(texts[0].sample)
        delimiter = line[0] if line else csv_header.detected_delimiter(texts[0].sample)
    evidence = sum(csv_dialect.backslash_evidence(text.sample, delimiter) for text in texts)
    return Dialect(delimiter, "\\" if evidence > 0 else '"')


def _with_header(text: CsvText, dialect: Dialect) -> CsvText:
    text = replace(text, skip=csv_header.above_header(text.sample, dialect))
    return replace(text, facts=sample_facts(text.table) if text.whole else None)


def _column_names(texts: Sequence[CsvText], dialect: Dialect) -> list[str]:
    """The names in the header, which is the same in all files."""
    header = csv_header.header(texts[0].table, dialect, str(texts[0].file))
    for text in texts:
        _check_header(text, texts[0], header, dialect)
    rows = [fields for text in texts for fields in dialect.sampled(text.table)[1:]]
    return csv_header.column_names(header, rows, str(texts[0].file))


def _check_header(text: CsvText, first: CsvText, names: list[str], dialect: Dialect) -> None:
    """Raises if a file has other columns than the first file."""
    found = csv_header.header(text.table, dialect, str(text.file))
    if found != names:
        pairs = ((one, other) for one, other in zip(names, found, strict=False) if one != other)
        expected, other = next(pairs, (f"{len(names)} columns", f"{len(found)} columns"))
        raise UsageError(
            f"{text.file}: expected the header of {first.file.name}; the first difference is {other!r} "
            f"instead of {expected!r}. All files of a CSV table need the same columns and the same delimiter"
        )


def _sample_spans(text: CsvText, dialect: Dialect, columns: int) -> bool | None:
    return dialect.spans_lines(io.StringIO(text.table, newline=""), columns, text.whole)


def _placed(table: CsvTable, converted: ConvertedFiles, forced: bool) -> CsvTable:
    """Decides whether fields contain line breaks, and converts the files that Spark cannot read."""
    spans = {text.spans_lines for text in table.texts}
    multiline = forced or (True in spans and False not in spans)
    table = replace(table, multiline=multiline)
    return replace(table, texts=tuple(_placed_text(text, converted, table) for text in table.texts))


def _placed_text(text: CsvText, converted: ConvertedFiles, table: CsvTable) -> CsvText:
    mark = text.spans_lines is not None and not table.multiline
    if text.is_readable(table.multiline) and not mark:
        return replace(text, place=text.file.uri)
    if text.place and text.place != text.file.uri and text.marked == mark:
        return text
    place = converted.add(text.file, "csv")

    def marked(content: TextIO) -> Iterable[str]:
        lines = text.lines(content)
        return table.dialect.with_marks(lines, len(table.names)) if mark else lines

    change = marked if mark or text.skip or text.single_quoted else None
    copy_text(text.file, text.encoding, place, change, converted.lines)
    return replace(text, place=place, marked=mark)


def _scanned(
    spark: SparkSession, table: CsvTable, converted: ConvertedFiles, encoding: str | None
) -> CsvTable:
    """The table with what all lines of its large files show beyond the samples."""
    large = [text.place for text in table.texts if not text.whole]
    if not large:
        return table
    found = csv_scan.line_facts(spark, large, table.dialect)
    unclear = table.dialect.escape == '"' and any(facts.escaped for facts in found.values())
    if unclear and csv_scan.backslash_evidence(spark, large, table.dialect.delimiter) > 0:
        table = replace(table, dialect=replace(table.dialect, escape="\\"))
        found = csv_scan.line_facts(spark, large, table.dialect)
    texts = [text if text.whole else replace(text, facts=found[text.place]) for text in table.texts]
    texts = [_with_scanned_encoding(spark, text, encoding) for text in texts]
    return replace(table, texts=tuple(_with_scanned_lines(text, table) for text in texts))


def _with_scanned_encoding(spark: SparkSession, text: CsvText, encoding: str | None) -> CsvText:
    """The text as CP1252 if more lines are not UTF-8 than have UTF-8 characters beyond ASCII."""
    if encoding or text.whole or text.encoding != "utf-8" or not (text.facts and text.facts.undecodable):
        return text
    if csv_scan.lines_beyond_ascii(spark, text.place) >= text.facts.undecodable:
        return text
    return replace(text, encoding="cp1252", facts=replace(text.facts, undecodable=0), place="")


def _with_scanned_lines(text: CsvText, table: CsvTable) -> CsvText:
    """The text with `spans_lines` of the whole file instead of its sample."""
    if text.whole or not (text.facts and (text.facts.odd or text.spans_lines is not None)):
        return text
    with opened(text.file) as content, decoding(text.file, text.encoding):
        lines = text.lines(reader_of(content, text.encoding))
        return replace(text, spans_lines=table.dialect.spans_lines(lines, len(table.names)))
