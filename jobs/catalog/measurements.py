"""What the rows of a whole table show about its columns: missing values, other text, and labels that leak."""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyspark.sql import Column, DataFrame, functions as F

from genremill.infra.log import LOGGER
from genremill.jobs.catalog.column_contents import ALMOST_ALL
from genremill.jobs.catalog.column_uses import NUMERIC, ONE_HOT, TAG_COLUMN, TEXT_COLUMN, feature_kind
from genremill.jobs.catalog.leaks import entries_of, leaking, leaking_texts
from genremill.jobs.catalog.left_out import IGNORED
from genremill.jobs.catalog.plausible_values import EVERYTHING, Range, limited, plausible_ranges
from genremill.jobs.catalog.understanding import Understanding
from genremill.jobs.catalog.vectors import Vectors
from genremill.jobs.snapshot_details import ColumnUse, Feature
from genremill.models.features import PROSE, TAGS
from genremill.udfs.cells.rows import EXAMPLES


@dataclass(frozen=True)
class Counts:
    """Numbers of rows of a table."""

    good: int
    labeled: int
    missing: Mapping[str, int]
    """Rows without a value, by column."""
    not_numbers: Mapping[str, int]
    """Rows with a value that is not a finite number, by column with numbers."""
    examples: Mapping[str, tuple[str, ...]]
    """A few values that are not finite numbers, by column that has some."""
    implausible: Mapping[str, int]
    """Rows with a number that is not plausible, by column with numbers."""
    extremes: Mapping[str, float]
    """The implausible number that is farthest from 0, by column that has some."""

    def unusable(self, name: str) -> int:
        """Rows that give no number for a column."""
        return self.missing[name] + self.not_numbers[name] + self.implausible[name]


@dataclass(frozen=True)
class Chosen:
    """The features of a table, and what is known about its columns from all rows."""

    understanding: Understanding
    features: tuple[Feature, ...]
    positions: tuple[int, ...]
    """Positions of the features in the column `numbers` of the rows."""
    ranges: tuple[Range, ...]
    """The plausible numbers of each column in `numbers`."""
    counts: Counts
    texts: tuple[str, ...] = ()
    """The inputs of models from columns of text and tags, without those that give the label away."""
    vectors: Vectors = field(default_factory=Vectors)
    """The columns of vectors, in the table and in the file that --vectors names."""


def count_values(rows: DataFrame, understanding: Understanding, ranges: Sequence[Range]) -> Counts:
    """Counts the missing values of each column that is read, over the good rows."""
    form, roles = understanding.row_format, understanding.roles
    blank = {role: F.col(role).isNull() for role in ("title", "album", "audio_uri", "popularity")}
    blank["duration"] = F.col("duration_s").isNull()
    blank |= {"artists": F.size("artists") == 0, "genre": F.size("genres") == 0}
    numbers = {column.name: F.get("numbers", F.lit(number)) for number, column in enumerate(form.features)}
    far = {name: each.excludes(numbers[name]) for name, each in zip(numbers, ranges, strict=True)}
    names = {role: name for role in blank if (name := getattr(roles, role)) and name not in numbers}
    names |= (texts := _text_columns(understanding))
    blank |= {name: F.size(entries_of(name)) == 0 for name in texts}
    row = rows.agg(
        F.count("*"),
        F.count_if(F.size("genres") > 0),
        *(F.count_if(blank[role]) for role in names),
        *(F.count_if(number.isNull()) for number in numbers.values()),
        *(F.count_if(F.isnan(number)) for number in numbers.values()),
        *(F.count_if(beyond) for beyond in far.values()),
    ).collect()[0]
    good, labeled, *counts = row
    left = iter(counts)
    missing, not_numbers, implausible = (
        {name: next(left) for name in columns} for columns in ((*names.values(), *numbers), numbers, numbers)
    )
    examples = _examples(rows) if any(not_numbers.values()) else {}
    extremes = _extremes(rows, {name: numbers[name] for name, count in implausible.items() if count}, far)
    return Counts(good, labeled, missing, not_numbers, examples, implausible, extremes)


def _examples(rows: DataFrame) -> dict[str, tuple[str, ...]]:
    """A few values that are not numbers, by column."""
    values = rows.where(F.col("not_numbers").isNotNull()).select(F.explode("not_numbers"))
    by_column = values.groupBy("key").agg(F.slice(F.array_sort(F.collect_set("value")), 1, EXAMPLES))
    return {name: tuple(examples) for name, examples in by_column.collect()}


def _extremes(rows: DataFrame, numbers: Mapping[str, Column], far: Mapping[str, Column]) -> dict[str, float]:
    """The implausible number that is farthest from 0, by column."""
    if not numbers:
        return {}
    farthest = (F.max_by(number, F.when(far[name], F.abs(number))) for name, number in numbers.items())
    return dict(zip(numbers, rows.agg(*farthest).collect()[0], strict=True))


def choose_features(
    rows: DataFrame, total: int, seed: str, understanding: Understanding, max_missing: float
) -> Chosen:
    """The candidates that are features, judged by all good rows, `total` or fewer.

    A column named by a flag stays, whatever its values are, and keeps them all.
    """
    names = [column.name for column in understanding.row_format.features]
    named = set(understanding.columns.features)
    is_exempt = [name in named or understanding.columns.is_categorical(name) for name in names]
    ranges = plausible_ranges(rows, total, seed, is_exempt)
    counts = count_values(rows, understanding, ranges)
    leaks = leaking(limited(rows, ranges), len(names), counts.labeled)
    accuracy_of = {names[position]: accuracy for position, accuracy in leaks.items()}
    columns = _text_columns(understanding)
    filled = {name: counts.good - counts.missing[column] for name, column in columns.items()}
    of_texts = leaking_texts(rows, filled, counts.labeled / max(counts.good, 1))
    why_no_text = {columns[name]: _gives_label_away(accuracy) for name, accuracy in of_texts.items()}
    why_not = {
        name: reason
        for name in names
        if (reason := _why_not(name, counts, max_missing, accuracy_of.get(name))) and name not in named
    }
    for name, reason in why_not.items():
        LOGGER.warning("column %r is not used as a feature: %s", name, reason)
    for name, reason in why_no_text.items():
        LOGGER.warning("column %r is not used as text or tags: %s", name, reason)
    positions = tuple(position for position, name in enumerate(names) if name not in why_not)
    good = max(counts.good, 1)
    features = tuple(understanding.feature(names[at], counts.unusable(names[at]) / good) for at in positions)
    kinds = {name: feature_kind(name, understanding.columns) for name in names if name not in why_not}
    range_of = dict(zip(names, ranges, strict=True))
    uses = {
        use.column: _measured_use(
            use, counts, kinds.get(use.column), why_not.get(use.column), range_of.get(use.column, EVERYTHING)
        )
        for use in understanding.uses
    }
    for name, reason in why_no_text.items():
        others = tuple(use for use in uses[name].uses if use not in (TEXT_COLUMN, TAG_COLUMN))
        uses[name] = dataclasses.replace(uses[name], uses=others or (IGNORED,), reason=reason)
    texts = tuple(name for name in columns if name not in of_texts)
    return Chosen(understanding.with_uses(uses), features, positions, ranges, counts, texts)


def with_texts(rows: DataFrame, texts: Sequence[str]) -> DataFrame:
    """The rows with only these inputs in `texts` and `tags`."""
    return rows.withColumns({"texts": _kept("texts", PROSE, texts), "tags": _kept("tags", TAGS, texts)})


def _kept(column: str, prefix: str, texts: Sequence[str]) -> Column:
    keys = [name.removeprefix(prefix) for name in texts if name.startswith(prefix)]
    return F.filter(column, lambda entry: entry["column"].isin(*keys))


def _text_columns(understanding: Understanding) -> dict[str, str]:
    """The columns of text and of tags, by input of a model."""
    form = understanding.row_format
    tags = {TAGS + key: str(column.name) for key, column in form.tags.items()}
    return {PROSE + key: name for key, name in form.texts.items()} | tags


def _gives_label_away(accuracy: float) -> str:
    return f"it gives the label away: alone, it predicts the genre with an accuracy of {accuracy:.3f}"


def _why_not(name: str, counts: Counts, max_missing: float, leak: float | None) -> str:
    """Why a candidate is no feature; empty if it is one."""
    filled = counts.good - counts.missing[name]
    parsed = filled - counts.not_numbers[name]
    if leak is not None:
        return f"{_gives_label_away(leak)}; if it is a measured value, name it with --columns.features"
    if not filled:
        return "it has no values"
    if parsed < ALMOST_ALL * filled:
        return f"only {parsed:,} of {filled:,} values are numbers"
    if counts.missing[name] > max_missing * counts.good:
        share = counts.missing[name] / counts.good
        return f"{share:.1%} of the rows have no value; expected at most --max-missing {max_missing:g}"
    return ""


def _measured_use(
    use: ColumnUse, counts: Counts, kind: str | None, why_not: str | None, plausible: Range
) -> ColumnUse:
    """A column with the figures of all rows; a rejected candidate is only what it is besides a feature.

    A column without values in the first rows is a feature of this kind if later rows have values.
    """
    if use.column not in counts.missing:
        return use
    missing, good = counts.missing[use.column], max(counts.good, 1)
    use = dataclasses.replace(use, missing=missing / good)
    examples = counts.examples.get(use.column, ())
    if use.column in counts.not_numbers:
        filled, others = counts.good - missing, counts.not_numbers[use.column]
        use = dataclasses.replace(use, parsed=(filled - others) / filled if filled else None)
    if why_not is not None:
        uses = tuple(other for other in use.uses if other not in (NUMERIC, ONE_HOT)) or (IGNORED,)
        return dataclasses.replace(use, uses=uses, reason=why_not, examples=examples or use.examples)
    if examples:
        note = f"{others:,} missing because they are not numbers, such as {', '.join(map(repr, examples))}"
        use = dataclasses.replace(use, reason=f"{use.reason}; {note}")
    if (extreme := counts.extremes.get(use.column)) is not None:
        note = f"{counts.implausible[use.column]:,} missing because they are implausible, such as {extreme:g}"
        use = dataclasses.replace(use, reason=f"{use.reason}; {note} ({plausible} is plausible)")
    return dataclasses.replace(use, uses=(kind,)) if kind and use.uses == (IGNORED,) else use
