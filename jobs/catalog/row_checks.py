"""Checks the rows of a track table: a good row gets typed values, a bad row gets a reason."""

from pyspark.sql import Column, DataFrame, Window, functions as F

from genremill.jobs.catalog.columns import Layout, parsed_number, text, text_or_number
from genremill.jobs.catalog.table_reader import BLOCK, FILE, MALFORMED, OWN_COLUMNS, POSITION
from genremill.jobs.contracts import Reason, quoted

FLOAT_MAX = 3.4028234663852886e38
TEXT_PREFIX, NUMBER_PREFIX = "_text_of_", "_number_of_"
INTERNAL_PREFIXES = (TEXT_PREFIX, NUMBER_PREFIX)
"""How the names of the columns begin that hold the text and the number of a feature."""
INTERNAL_COLUMNS = ("problem", "known", *OWN_COLUMNS)
"""Other columns that `ingest` adds while it works."""


def checked_rows(raw: DataFrame, layout: Layout) -> DataFrame:
    """Every row of the table, parsed; `problem` (reason, detail) is null if the row is good."""
    features = [feature.name for feature in layout.features]
    measured = sorted({*features, *filter(None, (layout.popularity, layout.duration))})
    texts = raw.select(
        text(layout.id).alias("track_id"),
        *(_optional_text(getattr(layout, role)).alias(role) for role in ("title", "album", "audio_uri")),
        _list(raw, layout.artists).alias("artists"),
        _list(raw, layout.genre, separator=None).alias("genres"),
        *(text_or_number(raw, name).alias(TEXT_PREFIX + name) for name in measured),
        *map(quoted, layout.keep),
        *(MALFORMED, FILE, BLOCK, POSITION),
    )
    numbers = {name: parsed_number(texts, TEXT_PREFIX + name).cast("double") for name in measured}
    values = [_number(name).cast("float") for name in features]
    # Separate steps: Spark then computes each text and number once, and not once for each rule.
    return texts.withColumns({NUMBER_PREFIX + name: number for name, number in numbers.items()}).select(
        *("track_id", "title", "album", "audio_uri", "artists", "genres"),
        _optional_number(layout.popularity).alias("popularity"),
        (_optional_number(layout.duration) / 1000.0).alias("duration_s"),
        F.array(*values).cast("array<float>").alias("table_features"),
        *map(quoted, layout.keep),
        _problem(layout, features).alias("problem"),
        *(FILE, BLOCK, POSITION),
    )


def _text(name: str) -> Column:
    """A numeric column as it was read: text, or a number if the table has a numeric type."""
    return F.col(quoted(TEXT_PREFIX + name))


def _number(name: str) -> Column:
    return F.col(quoted(NUMBER_PREFIX + name))


def _optional_text(name: str | None) -> Column:
    return text(name) if name else F.lit(None).cast("string")


def _optional_number(name: str | None) -> Column:
    """A finite number, or null."""
    if name is None:
        return F.lit(None).cast("double")
    return F.when(F.abs(_number(name)) <= FLOAT_MAX, _number(name))


def _list(raw: DataFrame, name: str | None, separator: str | None = ";") -> Column:
    """A column of text or of lists of text as an array without blanks; null becomes an empty array."""
    empty = F.array().cast("array<string>")
    if name is None:
        return empty
    if raw.schema[name].dataType.typeName() == "array":
        values = F.coalesce(F.col(quoted(name)).cast("array<string>"), empty)
    else:
        whole = F.coalesce(text(name), F.lit(""))
        values = F.split(whole, separator) if separator else F.array(whole)
    return F.filter(F.transform(values, lambda value: F.trim(value)), lambda value: value != "")


def _problem(layout: Layout, features: list[str]) -> Column:
    """The first rule that a row breaks, as (reason, detail); null for a good row."""
    rules = [
        _when(F.col(MALFORMED).isNotNull(), Reason.MALFORMED_ROW, F.col(MALFORMED)),
        _when(F.col("track_id").contains("\ufffd"), Reason.MALFORMED_ROW, F.lit("the id is not UTF-8")),
        _when(F.col("track_id").isNull(), Reason.NO_ID, F.lit(f"{layout.id} is blank")),
        *(rule for name in features for rule in _value_rules(name)),
    ]
    if layout.duration:
        rules.append(_when(_number(layout.duration) <= 0, Reason.ZERO_DURATION, _shown(layout.duration)))
    return F.coalesce(*rules)


def _value_rules(name: str) -> list[Column]:
    not_finite = F.isnan(_number(name)) | (F.abs(_number(name)) > FLOAT_MAX)
    return [
        _when(_text(name).isNull(), Reason.MISSING_VALUE, F.lit(f"{name} has no value")),
        _when(_number(name).isNull(), Reason.NOT_A_NUMBER, _shown(name)),
        _when(not_finite, Reason.NON_FINITE, _shown(name)),
    ]


def _shown(name: str) -> Column:
    return F.concat(F.lit(f"{name}: "), _text(name).cast("string"))


def _when(condition: Column, reason: Reason, detail: Column) -> Column:
    problem = F.lit(reason.value).alias("reason"), F.left(detail, F.lit(200)).alias("detail")
    return F.when(condition, F.struct(*problem))


def rejected(rows: DataFrame, run_id: str, positions_count_blocks: bool) -> DataFrame:
    """The bad rows as rows of `rejects`; the key of a row without an id is its file and row number.

    `positions_count_blocks`: positions start again in each block (CSV), and not only in each file (Parquet).
    """
    bad = rows.where(F.col("problem").isNotNull())
    if positions_count_blocks:
        bad = bad.join(F.broadcast(_block_starts(rows)), [FILE, BLOCK], "left")
        row_number = F.col(POSITION) - F.col("first") + F.col("before") + 1
    else:
        row_number = F.col(POSITION) + 1
    place = F.concat_ws(":", FILE, row_number.cast("string"))
    return bad.select(
        F.lit("ingest").alias("stage"),
        F.coalesce("track_id", place).alias("key"),
        F.col("problem.reason").alias("reason"),
        F.col("problem.detail").alias("detail"),
        F.lit(None).cast("string").alias("etag"),
        F.lit(None).cast("string").alias("fingerprint"),
        F.lit(run_id).alias("run_id"),
        F.lit(None).cast("string").alias("decoder"),
    )


def _block_starts(rows: DataFrame) -> DataFrame:
    """The first position in each block of each file, and the number of rows of the file before it."""
    blocks = rows.groupBy(FILE, BLOCK).agg(F.min(POSITION).alias("first"), F.count("*").alias("count"))
    earlier = Window.partitionBy(FILE).orderBy(BLOCK).rowsBetween(Window.unboundedPreceding, -1)
    before = F.coalesce(F.sum("count").over(earlier), F.lit(0))
    return blocks.select(FILE, BLOCK, "first", before.alias("before"))
