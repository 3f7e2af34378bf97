"""Copies of a real catalog, each with ids, titles and artists of its own.

If two tracks of the real table share a sound or a title, so do their copies in each copy of the table.
"""

import dataclasses
import itertools
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame, SparkSession, Window, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.flag_types import Uri
from genremill.jobs import command
from genremill.jobs.catalog import source_rows
from genremill.jobs.catalog.catalog_source import TABLE, CatalogSource
from genremill.jobs.catalog.columns import Columns, Roles
from genremill.jobs.catalog.own_columns import MALFORMED, OWN_COLUMNS
from genremill.jobs.catalog.settings import Options as TableOptions
from genremill.jobs.catalog.splits import unit_hash
from genremill.jobs.contracts import quoted

JITTER = 0.05
"""A feature of a copy is up to this share closer to zero, so that it stays in its range."""
WIDE_SHARE, WIDE = 0.125, 16
"""Share of the artists that are the same in several copies of the table, and in how many copies."""
_OWN = ("_number", "_sound", "_artist", "_parts", "_copy")
"""Columns of a source track: its number from 0, the hash of its features, its first artist, the parts of its
genre; and the number of the copy."""


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
    """Share of the tracks that get the most frequent genre of the table as their only genre."""
    genres: int | None = None
    """Divide the genres until there are this many; the tracks of one artist and genre stay together. [as in
    the table]"""
    seed: int = 0
    """Random seed of the catalog."""
    columns: Columns = dataclasses.field(default_factory=Columns)


@dataclass(frozen=True)
class Original:
    """The table that is copied: its rows, and the columns `_OWN` that the copies are computed from."""

    rows: DataFrame
    roles: Roles
    id: str
    """The column with the ids."""
    numbers: tuple[str, ...]
    """The features whose numbers are no codes."""
    tracks: int
    whole: frozenset[str]
    """Features whose values are all whole numbers."""
    common: str | None
    """The most frequent genre."""


def transform(original: Original, copies: DataFrame, options: Options) -> DataFrame:
    """The first `count` copied tracks, in the columns of the table; `copies` has one row per copy of it."""
    every = copies.crossJoin(F.broadcast(original.rows))
    kept = every.where(F.col("_copy") * original.tracks + F.col("_number") < options.count)
    changed = _changed(original, options)
    names = [name for name in original.rows.columns if name not in _OWN]
    return kept.select(*(changed.get(name, F.col(quoted(name))).alias(name) for name in names))


def _changed(original: Original, options: Options) -> dict[str, Column]:
    """The columns of a copy that differ from those of its original."""
    roles, seed = original.roles, options.seed
    changed = {original.id: _new_id(_text(original.id), seed)}
    for name in original.numbers:
        less = F.col(quoted(name)) * (1 - JITTER * unit_hash(name, seed, "_sound", "_copy"))
        changed[name] = F.round(less, 0 if name in original.whole else 6)
    for column in (roles.title, roles.album):
        if column:
            changed[column] = F.concat(_text(column), F.lit(" "), "_copy")
    if roles.artists:
        names = F.transform(F.split(_text(roles.artists), ";"), lambda one: _in_copy(one, seed))
        changed[roles.artists] = F.array_join(names, ";")
    if roles.genre:
        changed[roles.genre] = _genre(_text(roles.genre), original.common, options)
    return changed


def _text(name: str) -> Column:
    """The trimmed text of a column; null if it is blank."""
    trimmed = F.trim(F.col(quoted(name)).cast("string"))
    return F.when(trimmed != "", trimmed)


def _number(name: str) -> Column:
    """The number of a column, with TRUE as 1 and FALSE as 0; null if it is not a number."""
    value, truth = _text(name), F.lower(_text(name))
    return F.when(truth == "true", 1.0).when(truth == "false", 0.0).otherwise(value.try_cast("double"))


def _in_copy(artist: Column, seed: int) -> Column:
    """The name of an artist in a copy; some artists have the same name in `WIDE` copies."""
    wide = F.pmod(F.xxhash64(F.lit("wide"), F.lit(seed), F.trim(artist)), F.lit(1000)) < 1000 * WIDE_SHARE
    number_of = F.when(wide, F.floor(F.col("_copy") / WIDE)).otherwise(F.col("_copy"))
    return F.concat(F.trim(artist), F.lit(" "), number_of)


def _genre(genre: Column, common: str | None, options: Options) -> Column:
    """The label of a copy: that of the original, a part of it, or the most frequent genre."""
    if options.genres is not None:
        drawn = unit_hash("part", options.seed, _in_copy(F.col("_artist"), options.seed))
        part = F.floor(F.col("_parts") * drawn * drawn)  # squared: some parts are far larger than others
        genre = F.when(F.col("_parts") > 1, F.concat(genre, F.lit(" "), part)).otherwise(genre)
    if options.skew and common is not None:
        skewed = unit_hash("skew", options.seed, "_number", "_copy") < options.skew
        genre = F.when(skewed, F.lit(common)).otherwise(genre)
    return genre


def _new_id(original: Column, seed: int) -> Column:
    """22 random letters and digits, like the ids of Spotify: they do not compress."""
    digest = F.md5(F.concat_ws(" ", F.lit(seed), original, "_copy"))
    return F.translate(F.left(F.base64(F.unhex(digest)), F.lit(22)), "+/", "-_")


def _genre_parts(genres: list[str], wanted: int | None) -> dict[str, int]:
    """The number of parts that each genre is divided into, so that there are `wanted` genres in all.

    >>> _genre_parts(["folk", "jazz", "rock"], 10)
    {'folk': 4, 'jazz': 3, 'rock': 3}
    """
    if wanted is None:
        return {}
    if wanted < len(genres):
        raise UsageError(
            f"--genres {wanted}: expected at least {len(genres)}, the number of genres in the table"
        )
    share, more = divmod(wanted, len(genres))
    return {genre: share + (number < more) for number, genre in enumerate(genres)}


def read_original(spark: SparkSession, work: command.Run, options: Options) -> Original:
    """The source table with its features as numbers, without the rows that have no id."""
    source = CatalogSource(TABLE, storage.absolute_uri(options.tracks))
    table_options = TableOptions(columns=options.columns)
    table = source_rows.open_table(spark, work, source, table_options)
    understood, raw = source_rows.understood(table, table_options), table.rows
    roles, names = understood.roles, [column.name for column in understood.row_format.features]
    if roles.id is None:
        raise UsageError(f"--columns.id {options.columns.id}: expected a column with ids")
    known = raw.where(F.col(MALFORMED).isNull() & _text(roles.id).isNotNull()).drop(*OWN_COLUMNS)
    # The numbers of the rows would not be row numbers in the copies.
    known = known.drop(*understood.row_numbers).withColumns({name: _number(name) for name in names})
    genres: dict[str, int] = {}
    if roles.genre:
        counts = known.groupBy(_text(roles.genre).alias("genre")).count().where("genre is not null")
        genres = dict(sorted(tuple(row) for row in counts.collect()))
    sound = [name for name in names if name != roles.popularity]
    rows = _with_own_columns(
        known, roles, roles.id, sound, _genre_parts(list(genres), options.genres)
    ).cache()
    whole = [F.every(F.col(quoted(name)) == F.floor(quoted(name))).alias(name) for name in names]
    sums = rows.agg(F.max("_number").alias("_number"), *whole).first()
    if sums is None or sums["_number"] is None:
        raise UsageError(f"{source}: no row has an id")
    whole_numbers = frozenset(name for name in names if sums[name])
    common = max(genres, key=genres.__getitem__, default=None)
    numbers = tuple(name for name in names if not options.columns.is_categorical(name))
    return Original(rows, roles, roles.id, numbers, sums["_number"] + 1, whole_numbers, common)


def _with_own_columns(
    known: DataFrame, roles: Roles, id_column: str, sound: list[str], parts: dict[str, int]
) -> DataFrame:
    first_artist = (
        F.split_part(_text(roles.artists), F.lit(";"), F.lit(1)) if roles.artists else _text(id_column)
    )
    part_of = F.create_map(*map(F.lit, itertools.chain.from_iterable(parts.items())))
    return known.select(
        "*",
        (F.dense_rank().over(Window.orderBy(_text(id_column))) - 1).alias("_number"),
        F.xxhash64(*map(quoted, sound)).alias("_sound"),
        first_artist.alias("_artist"),
        (part_of[_text(roles.genre)] if roles.genre and parts else F.lit(1)).alias("_parts"),
    )
