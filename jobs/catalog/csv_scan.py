"""Facts about all lines of CSV files that are too large to be sampled as a whole."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from pyspark.sql import SparkSession, functions as F

from genremill.infra.readers import file_reader, path_groups
from genremill.jobs.catalog import csv_dialect
from genremill.jobs.catalog.csv_dialect import UNDECODABLE, Dialect

EVIDENCE_LINES = 1000
_LINE_END = re.compile(r"\r\n|\n|\r")
_WRITTEN = r"[^\x00-\x20]"
"""What a line has that is not blank for Spark's CSV reader."""


@dataclass(frozen=True)
class Facts:
    """What a scan of all lines of a file finds."""

    lines: int
    """Lines that are not blank, with the header."""
    undecodable: int = 0
    """Lines with bytes that are not UTF-8."""
    odd: int = 0
    """Lines with an odd number of quotes."""
    escaped: int = 0
    """Lines with a backslash before a quote."""


def sample_facts(text: str) -> Facts:
    """The facts about a text from the header on; its line breaks in fields are looked at elsewhere."""
    lines = [line for line in _LINE_END.split(text) if re.search(_WRITTEN, line)]
    return Facts(len(lines), sum(bool(UNDECODABLE.search(line)) for line in lines))


def line_facts(spark: SparkSession, places: Sequence[str], dialect: Dialect) -> dict[str, Facts]:
    """What all lines of some files show, by file."""
    value = F.col("value")
    unescaped = value
    if dialect.escape != '"':
        unescaped = F.replace(F.replace(value, F.lit(r"\\"), F.lit("")), F.lit(r"\""), F.lit(""))
    quotes = F.octet_length(unescaped) - F.octet_length(F.replace(unescaped, F.lit('"'), F.lit("")))
    frames = [
        file_reader(spark, *group)
        .text(group)
        .groupBy(F.col("_metadata.file_path").alias("file"))
        .agg(
            # Most lines begin with a visible character, for which the pattern would take longer.
            F.count_if((value >= "!") | value.rlike(_WRITTEN)).alias("lines"),
            F.count_if(~F.is_valid_utf8(value)).alias("undecodable"),
            F.count_if(quotes % 2 == 1).alias("odd"),
            F.count_if(value.contains(r"\"")).alias("escaped"),
        )
        for group in path_groups(places)
    ]
    rows = [row.asDict() for frame in frames for row in frame.collect()]
    found = {row.pop("file"): Facts(**row) for row in rows}
    by_key = {_key(unquote(path)): facts for path, facts in found.items()}
    return {place: by_key.get(_key(place), Facts(0)) for place in places}


def _key(uri: str) -> str:
    """A URI without the slashes in which Spark's notation differs from ours."""
    scheme, _, path = uri.partition(":")
    return f"{scheme}:{path.lstrip('/')}"


def backslash_evidence(spark: SparkSession, places: Sequence[str], delimiter: str) -> int:
    """`csv_dialect.backslash_evidence` of lines that have a backslash before a quote."""
    lines = [
        row["value"]
        for group in path_groups(places)
        for row in file_reader(spark, *group)
        .text(group)
        .where(F.col("value").contains(r"\""))
        .limit(EVIDENCE_LINES)
        .collect()
    ]
    return csv_dialect.backslash_evidence("\n".join(lines), delimiter)


def lines_beyond_ascii(spark: SparkSession, place: str) -> int:
    """The number of lines that are UTF-8 and have characters beyond ASCII."""
    value = F.col("value")
    return (
        file_reader(spark, place)
        .text(place)
        .where(F.is_valid_utf8(value) & (F.octet_length(value) > F.length(value)))
        .count()
    )
