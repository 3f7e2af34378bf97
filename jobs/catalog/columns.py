"""Finds the columns of a track table: roles such as the title by their names, features by their values."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, fields

from pyspark.sql import Column, DataFrame, functions as F, types as T

from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.jobs.catalog.table_reader import MALFORMED, OWN_COLUMNS
from genremill.jobs.contracts import quoted
from genremill.jobs.snapshot_details import Feature, Kind

NUMBER = r"^(?i)[+-]?(\d++\.?\d*+(e[+-]?\d++)?|\.\d++(e[+-]?\d++)?|nan|inf|infinity)$"
"""The quantifiers are possessive: otherwise a cell with a million digits and a letter would take hours."""

NUMBERS = (T.IntegralType, T.DoubleType, T.BooleanType)
"""Types whose values are not parsed, because parsing takes most of the time. A float is parsed from its text:
0.1 cast to a double is a different number."""
ROW_NUMBER = re.compile(r"\s*|_c0|Unnamed: .*", re.DOTALL)
"""The names that programs give to a column of row numbers."""
NUMERIC_SHARE = 0.99
"""A column is numeric if at least this share of its values are numbers."""
FILLED_SHARE = 0.5
"""A column with values in less than this share of the rows is not a feature: most rows would be rejected."""


@dataclass(frozen=True)
class Columns:
    """The columns of the track table."""

    id: str = "track_id"
    """Column with the id of a track, which is read as text."""
    title: str = "track_name"
    """Column with the title of the track."""
    album: str = "album_name"
    """Column with the title of the album."""
    artists: str = "artists"
    """Column with the credited artists, separated by `;`."""
    genre: str = "track_genre"
    """Column with one genre label; a track with several genres has one row for each."""
    popularity: str = "popularity"
    """Column with the popularity, which is not a model input by default."""
    duration: str = "duration_ms"
    """Column with the duration in milliseconds."""
    audio_uri: str = "audio_uri"
    """Column with the path or URI of the audio."""
    features: tuple[str, ...] = ()
    """Columns to use as features. [popularity, duration and all other numeric columns]"""
    ignore: tuple[str, ...] = ()
    """Columns to leave out."""
    categorical: tuple[str, ...] = ("key", "time_signature")
    """Features whose numbers are codes, which are one-hot encoded."""
    keep: tuple[str, ...] = ()
    """Columns to copy to the tables `tracks` and `tags`."""


ROLES = ("id", "title", "album", "artists", "genre", "popularity", "duration", "audio_uri")


@dataclass(frozen=True)
class Layout:
    """The columns of a table: for each role a column that exists, or None."""

    id: str
    title: str | None
    album: str | None
    artists: str | None
    genre: str | None
    popularity: str | None
    duration: str | None
    audio_uri: str | None
    features: tuple[Feature, ...]
    keep: tuple[str, ...]


def resolve(df: DataFrame, columns: Columns, source: str, ignored: Sequence[str] = ()) -> Layout:
    """Finds the column of each role, and the features; one error names all columns that do not exist."""
    there = [name for name in df.columns if name not in OWN_COLUMNS] + [*ignored]
    asked = {field.name: getattr(columns, field.name) for field in fields(Columns)}
    missing = [
        f"--columns.{field.name.replace('_', '-')} {name}"
        for field in fields(Columns)
        if (value := asked[field.name]) != field.default or field.name == "id"
        for name in ([value] if isinstance(value, str) else value)
        if name not in there
    ]
    if missing:
        raise UsageError(_missing(source, missing, there))
    _refuse_contradictions(columns)
    _refuse_id(df, columns)
    there = [name for name in there if name not in ignored]
    roles = {role: name for role in ROLES if (name := asked[role]) in there and name not in columns.ignore}
    return Layout(
        features=tuple(_features(df, columns, roles, there)),
        keep=columns.keep,
        id=columns.id,
        **{role: roles.get(role) for role in ROLES[1:]},
    )


def _refuse_contradictions(columns: Columns) -> None:
    """Raises on column flags that contradict each other."""
    if columns.id in columns.ignore:
        raise UsageError(f"--columns.ignore {columns.id}: it is the id, which is required")
    if both := sorted(set(columns.ignore) & {*columns.features, *columns.keep}):
        raise UsageError(f"--columns.ignore {both[0]}: --columns.features or --columns.keep names it too")
    for flag in ("features", "keep"):
        names = getattr(columns, flag)
        if doubled := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"--columns.{flag} names {doubled[0]!r} twice")
    if columns.popularity == columns.duration:
        raise UsageError(f"--columns.popularity and --columns.duration both name {columns.duration!r}")


def _refuse_id(df: DataFrame, columns: Columns) -> None:
    """Raises on ids of a type that Spark would change."""
    kind = df.schema[columns.id].dataType
    if isinstance(kind, T.FloatType | T.DoubleType | T.BinaryType) or not isinstance(kind, T.AtomicType):
        raise UsageError(
            f"--columns.id {columns.id}: expected text or whole numbers, found {kind.simpleString()}"
        )


def _missing(source: str, missing: list[str], there: list[str]) -> str:
    found = ", ".join(repr(name[:60]) for name in there[:40]) + (" …" if there[40:] else "")
    return f"{source}: no column for {'; '.join(missing)}. Found {len(there)} columns: {found}."


def _features(df: DataFrame, columns: Columns, roles: dict[str, str], there: list[str]) -> list[Feature]:
    """The named features, or all numeric columns: popularity and duration first, row numbers left out."""
    popularity, duration = roles.get("popularity"), roles.get("duration")
    not_features = {name for role, name in roles.items() if role not in ("popularity", "duration")}
    not_features |= {*columns.ignore, *columns.keep}
    candidates = [name for name in there if name not in not_features and not ROW_NUMBER.fullmatch(name)]
    ordered = columns.features or sorted(
        _numeric_columns(df, candidates), key=lambda name: (name != popularity, name != duration)
    )
    kinds = (Kind.CATEGORICAL if name in columns.categorical else Kind.NUMERIC for name in ordered)
    return [Feature(name, kind, name == popularity) for name, kind in zip(ordered, kinds, strict=True)]


def text(name: str) -> Column:
    """The value of a column as trimmed text; null if it is blank."""
    trimmed = F.trim(F.col(quoted(name)).cast("string"))
    return F.when(trimmed != "", trimmed)


def number(value: Column) -> Column:
    """Trimmed text as a double, TRUE and FALSE as 1 and 0; null if it is neither.

    The pattern comes first: a failed cast is slow, because it builds an exception.
    """
    parsed, truth = F.when(value.rlike(NUMBER), value.try_cast("double")), F.lower(value)
    return parsed.when(truth == "true", 1.0).when(truth == "false", 0.0)


def text_or_number(df: DataFrame, name: str) -> Column:
    """The value of a column: as it is if the type is one of `NUMBERS`, otherwise as trimmed text."""
    return F.col(quoted(name)) if isinstance(df.schema[name].dataType, NUMBERS) else text(name)


def parsed_number(df: DataFrame, name: str) -> Column:
    """The number in a column of `text_or_number`."""
    value = F.col(quoted(name))
    return value if isinstance(df.schema[name].dataType, NUMBERS) else number(value)


def _numeric_columns(df: DataFrame, candidates: list[str]) -> list[str]:
    """The candidates that are numeric, found in one pass over the table."""
    scalar = [name for name in candidates if isinstance(df.schema[name].dataType, T.AtomicType)]
    if not scalar:
        return []
    whole = df.where(F.col(MALFORMED).isNull())
    values = whole.select(*(text_or_number(df, name).alias(name) for name in scalar))
    row = values.agg(
        F.count("*").alias("rows"),
        *(F.count(F.col(quoted(name))).alias(f"filled_{name}") for name in scalar),
        *(F.count(parsed_number(values, name)).alias(f"parsed_{name}") for name in scalar),
    ).first()
    count: dict[str, int] = row.asDict() if row else {}
    numeric = []
    for name in scalar:
        filled, parsed = count[f"filled_{name}"], count[f"parsed_{name}"]
        if parsed and parsed >= NUMERIC_SHARE * filled and filled >= FILLED_SHARE * count["rows"]:
            numeric.append(name)
        elif parsed > 0.5 * filled:
            LOGGER.warning(
                "column %r is not used as a feature: %d of %d rows have a value, and %d of these are numbers",
                *(name, filled, count["rows"], parsed),
            )
    return numeric
