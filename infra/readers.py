"""Spark's readers, set up so that every character of a path stands for itself.

By default, `*`, `?`, brackets, braces and backslashes make a path a pattern, and a colon in a name is an
error.
"""

from collections.abc import Sequence

from pyspark.sql import DataFrameReader, SparkSession

from genremill.infra import storage

_PATTERN = frozenset("*?[]{}\\")
_NO_PATTERNS = {"__globPaths__": "false"}
"""Spark sets this option for the paths of tables in its own catalog."""
_NO_CHECKSUMS = {
    "fs.file.impl": "org.apache.hadoop.fs.RawLocalFileSystem",
    "fs.file.impl.disable.cache": "true",
}
"""The local file system without checksum files: Hadoop takes `.NAME.crc` for a URI if NAME has a colon."""


def warehouse_reader(spark: SparkSession) -> DataFrameReader:
    """A reader of tables in the warehouse, whose files have plain names."""
    return spark.read.options(**_NO_PATTERNS)


def file_reader(spark: SparkSession, *uris: str) -> DataFrameReader:
    """A reader of the files of a user, whose names may contain any character."""
    return warehouse_reader(spark).options(**(_NO_CHECKSUMS if any(map(have_colons, uris)) else {}))


def path_groups(uris: Sequence[str]) -> list[list[str]]:
    """The files in groups that one reader can read.

    Spark takes a path with characters of a pattern for all paths of its reader, unless it is the only one.

    >>> path_groups(["file:///a.csv", "file:///a?.csv", "file:///b.csv"])
    [['file:///a.csv', 'file:///b.csv'], ['file:///a?.csv']]
    """
    plain = [uri for uri in uris if not _PATTERN & set(uri)]
    return [*([plain] if plain else []), *([uri] for uri in uris if _PATTERN & set(uri))]


def have_colons(uri: str) -> bool:
    """Whether a local file at a URI has a colon in its name. Hadoop reads such a name as a URI."""
    return not storage.is_s3(uri) and any(":" in file.name for file in storage.data_files(uri))
