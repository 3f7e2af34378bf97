"""Makes a large catalog of a real one, to try sizes on: its tracks again and again, each time as others.

A copy of a track has an id, a title and artists of its own, and features up to 5 % off. Its labels are those
of its original, and it shares a sound or a title with the copies of whatever its original shares them with: a
track has as many labels, and a recording as many tracks, as in the real table. One artist in eight goes on
through sixteen copies of the table, since large catalogs have artists of many tracks.

    genremill replica --tracks tracks.csv --count 10000000 --out build/replica
"""

import dataclasses
import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import Uri
from genremill.infra.session import spark_session
from genremill.jobs import command
from genremill.jobs.catalog.columns import Columns, Layout, number, resolve, text
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.catalog.table_reader import MALFORMED, OWN_COLUMNS, read_table
from genremill.jobs.contracts import quoted
from genremill.jobs.snapshot_details import Kind

JITTER = 0.05
"""A feature of a copy is up to this share nearer to zero, which leaves it in its range."""
WIDE_SHARE, WIDE = 0.125, 16
"""Share of the artists that go on through more than one copy of the table, and through how many."""
_OWN = ("_number", "_sound", "_artist", "_parts", "_copy")
"""Of an original: its number from 0, the hash of its features, its first artist, the parts of its genre."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is copied, how often, and with which genres."""

    tracks: Uri
    """Path or URI of the real track table, CSV or Parquet."""
    out: Uri
    """Folder or URI for the Parquet files; it must not exist."""
    count: int
    """Number of tracks to write; each has as many rows as its original has labels."""
    skew: float = 0.0
    """Share of the tracks whose only genre becomes the most frequent genre of the table."""
    genres: int | None = None
    """Divide the genres until there are this many; the tracks of one artist and genre stay together. [as in
    the table]"""
    seed: int = 0
    """Random seed of the catalog."""
    columns: Columns = dataclasses.field(default_factory=Columns)


@dataclass(frozen=True)
class Original:
    """The table that is copied: its rows, with columns of our own that say what a copy depends on."""

    rows: DataFrame
    layout: Layout
    tracks: int
    whole: frozenset[str]
    """Features whose values are all whole numbers."""
    common: str | None
    """The most frequent genre."""


def transform(original: Original, copies: DataFrame, options: Options) -> DataFrame:
    """`count` tracks with the columns of the table: the original's once for each `_copy` of `copies`."""
    every = copies.crossJoin(F.broadcast(original.rows))
    kept = every.where(F.col("_copy") * original.tracks + F.col("_number") < options.count)
    changed = _changed(original, options)
    names = [name for name in original.rows.columns if name not in _OWN]
    return kept.select(*(changed.get(name, F.col(quoted(name))).alias(name) for name in names))


def _changed(original: Original, options: Options) -> dict[str, Column]:
    """The columns of a copy that are not its original's."""
    layout, seed = original.layout, options.seed
    changed = {layout.id: _new_id(text(layout.id), seed)}
    for one in layout.features:
        if one.kind is Kind.NUMERIC:
            less = F.col(quoted(one.name)) * (1 - JITTER * unit_hash(one.name, seed, "_sound", "_copy"))
            changed[one.name] = F.round(less, 0 if one.name in original.whole else 6)
    for name in (layout.title, layout.album):
        if name:
            changed[name] = F.concat(text(name), F.lit(" "), "_copy")
    if layout.artists:
        names = F.transform(F.split(text(layout.artists), ";"), lambda one: _in_copy(one, seed))
        changed[layout.artists] = F.array_join(names, ";")
    if layout.genre:
        changed[layout.genre] = _genre(text(layout.genre), original.common, options)
    return changed


def _in_copy(artist: Column, seed: int) -> Column:
    """An artist's name in a copy; that of a wide artist is the same in `WIDE` copies."""
    wide = F.pmod(F.xxhash64(F.lit("wide"), F.lit(seed), F.trim(artist)), F.lit(1000)) < 1000 * WIDE_SHARE
    number_of = F.when(wide, F.floor(F.col("_copy") / WIDE)).otherwise(F.col("_copy"))
    return F.concat(F.trim(artist), F.lit(" "), number_of)


def _genre(genre: Column, common: str | None, options: Options) -> Column:
    """A label of a copy: the original's, a part of it, or the most frequent genre."""
    if options.genres is not None:
        drawn = unit_hash("part", options.seed, _in_copy(F.col("_artist"), options.seed))
        part = F.floor(F.col("_parts") * drawn * drawn)  # squared: some parts are far larger than others
        genre = F.when(F.col("_parts") > 1, F.concat(genre, F.lit(" "), part)).otherwise(genre)
    if options.skew and common is not None:
        skewed = unit_hash("skew", options.seed, "_number", "_copy") < options.skew
        genre = F.when(skewed, F.lit(common)).otherwise(genre)
    return genre


def _new_id(original: Column, seed: int) -> Column:
    """22 letters and digits that nobody can compress, as Spotify's ids are."""
    digest = F.md5(F.concat_ws(" ", F.lit(seed), original, "_copy"))
    return F.translate(F.left(F.base64(F.unhex(digest)), F.lit(22)), "+/", "-_")


def _genre_parts(genres: list[str], wanted: int | None) -> dict[str, int]:
    """The number of parts that each genre is divided into, so that there are as many as wanted.

    >>> _genre_parts(["folk", "jazz", "rock"], 10)
    {'folk': 4, 'jazz': 3, 'rock': 3}
    """
    if wanted is None:
        return {}
    if wanted < len(genres):
        raise UsageError(f"--genres {wanted}: the table has {len(genres)} already; expected more")
    share, more = divmod(wanted, len(genres))
    return {genre: share + (at < more) for at, genre in enumerate(genres)}


def run(spark: SparkSession, options: Options) -> None:
    """Writes the catalog."""
    if options.count < 1 or not 0 <= options.skew <= 1:
        raise UsageError(
            f"--count {options.count} --skew {options.skew}: expected 1 or more, and a share of 0 to 1"
        )
    original = read_original(spark, options)
    number_of_copies = -(-options.count // original.tracks)
    copies = spark.range(0, number_of_copies, 1, number_of_copies).withColumnRenamed("id", "_copy")
    transform(original, copies, options).write.parquet(storage.absolute_uri(options.out))


def read_original(spark: SparkSession, options: Options) -> Original:
    """The table, features as numbers, without the rows that have no id."""
    source = storage.absolute_uri(options.tracks)
    raw = read_table(spark, source, ",", multiline=False)
    layout = resolve(raw, options.columns, f"--tracks {source}")
    known = raw.where(F.col(MALFORMED).isNull() & text(layout.id).isNotNull()).drop(*OWN_COLUMNS)
    known = known.withColumns({one.name: number(text(one.name)) for one in layout.features})
    genres = _genres(known, layout)
    rows = _with_own_columns(known, layout, _genre_parts(sorted(genres), options.genres)).cache()
    names = [one.name for one in layout.features]
    whole = [F.every(F.col(quoted(name)) == F.floor(quoted(name))).alias(name) for name in names]
    found = rows.agg(F.max("_number").alias("_number"), *whole).first()
    if found is None or found["_number"] is None:
        raise UsageError(f"--tracks {source}: no row has an id")
    common = max(genres, key=genres.__getitem__, default=None)
    return Original(
        rows, layout, found["_number"] + 1, frozenset(name for name in names if found[name]), common
    )


def _genres(known: DataFrame, layout: Layout) -> dict[str, int]:
    """Rows by genre."""
    if not layout.genre:
        return {}
    counts = known.groupBy(text(layout.genre).alias("genre")).count().where("genre is not null").collect()
    return {row["genre"]: row["count"] for row in sorted(counts)}


def _with_own_columns(known: DataFrame, layout: Layout, parts: dict[str, int]) -> DataFrame:
    sound = [quoted(one.name) for one in layout.features if not one.is_popularity]
    artist = F.split_part(text(layout.artists), F.lit(";"), F.lit(1)) if layout.artists else text(layout.id)
    part_of = F.create_map(*map(F.lit, itertools.chain.from_iterable(parts.items())))
    return known.select(
        "*",
        (F.dense_rank().over(Window.orderBy(text(layout.id))) - 1).alias("_number"),
        F.xxhash64(*sound).alias("_sound"),
        artist.alias("_artist"),
        (part_of[text(layout.genre)] if layout.genre and parts else F.lit(1)).alias("_parts"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command line."""

    def write(common: command.NoFlags, options: Options) -> command.Outcome:
        with spark_session("genremill replica") as spark:
            run(spark, options)
        return command.Outcome({})

    return command.plain_main("replica", __doc__, Options, write, argv, command.NoFlags)


if __name__ == "__main__":
    sys.exit(main())
