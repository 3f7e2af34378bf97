"""The use of one column of a track table, from its name, its type and its first values."""

import dataclasses
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from pyspark.sql import types as T

from genremill.jobs.catalog import column_contents as contents, number_formats
from genremill.jobs.catalog.column_names import is_id, is_popularity
from genremill.jobs.catalog.columns import Columns, Roles, flag_of
from genremill.jobs.catalog.left_out import IGNORED
from genremill.jobs.catalog.sample import Sample, first_examples
from genremill.udfs.cells.numeric import Floats, NumberFormat, numbers, plain_number

LIKELY_NUMERIC = 0.5
"""A column of text may be a feature if at least this share of its first values are numbers."""
KEPT, NUMERIC, ONE_HOT = "kept", "numeric feature", "one-hot feature"
TEXT_COLUMN, TAG_COLUMN, VECTOR_COLUMN = "text", "tags", "vectors"
_DATES = (T.DateType, T.TimestampType, T.TimestampNTZType, T.DayTimeIntervalType)


@dataclass(frozen=True, eq=False)
class Measured:
    """The numbers in the first rows of a column, and how they are written."""

    form: NumberFormat
    values: Floats
    """NaN if a value is missing or not a number."""
    missing: float
    """Share of the rows without a value."""
    parsed: float | None
    """Share of the values that are numbers; None if there is no value."""
    is_row_number: bool
    """Whether the values count the rows of each file."""
    examples: tuple[str, ...]
    """The first values that are not numbers."""
    note: str = ""
    """How the numbers are written, if it is not plain."""

    @property
    def are_whole(self) -> bool:
        """Whether all values that are there are whole numbers."""
        return contents.are_whole(self.values[~np.isnan(self.values)])

    @property
    def are_other(self) -> bool:
        """Whether most values are not numbers."""
        return self.parsed is not None and self.parsed < LIKELY_NUMERIC

    @classmethod
    def of(
        cls, sample: Sample, name: str, decimal: str, markers: frozenset[str], *, is_duration: bool
    ) -> Self:
        """The numbers of a column of text or of numbers; `decimal` is the decimal sign of the table."""
        column, form = sample.columns[name], NumberFormat()
        if sample.is_text(name):
            column = sample.text(name, markers)
            cells = column.drop_null().to_pylist()
            form = number_formats.number_format(cells, name, decimal, is_duration=is_duration)
        note = _note(form)
        marked = tuple(number for text in sorted(markers) if (number := plain_number(text)) is not None)
        form = dataclasses.replace(form, missing=marked)
        if is_duration:
            values, _ = numbers(column, form)
            scale, unit = number_formats.milliseconds(
                values[~np.isnan(values)], name, form.unit, clock=form.clock
            )
            form, note = dataclasses.replace(form, scale=scale, least=0.0), f"read as {unit}"
        values, missing = numbers(column, form)
        filled = len(values) - int(missing.sum())
        parsed = int((~np.isnan(values)).sum()) / filled if filled else None
        share = 1.0 - filled / len(values) if len(values) else 0.0
        examples = first_examples(column.filter(pa.array(np.isnan(values) & ~missing)))
        is_row_number = contents.is_row_number(values, sample.file)
        return cls(form, values, share, parsed, is_row_number, examples, note)


def _note(form: NumberFormat) -> str:
    """How numbers are written, in a few words."""
    if form.words:
        return "names of pitches" if form.words == "key" else "major is 1, minor is 0"
    if form.clock:
        return "m:ss, read as seconds"
    parts = ["decimal commas"] if form.decimal == "," else []
    return ", ".join([*parts, f"with the unit {form.unit!r}"] if form.unit else parts)


@dataclass(frozen=True)
class Use:
    """What `ingest` does with a column, and why."""

    uses: tuple[str, ...]
    reason: str
    is_candidate: bool = False
    """Whether it becomes a feature, if all its values allow it."""


def use_of(
    name: str,
    sample: Sample,
    columns: Columns,
    roles: Roles,
    partitions: tuple[str, ...],
    measured: Measured | None,
) -> Use:
    """The use of a column; `measured` is None if its type has no numbers."""
    of_column = roles.by_column.get(name, [])
    use_by_flag = {"keep": KEPT, "text": TEXT_COLUMN, "tags": TAG_COLUMN, "vectors": VECTOR_COLUMN}
    flags = [flag for flag in use_by_flag if name in getattr(columns, flag)]
    kept = [use_by_flag[flag] for flag in flags]
    uses = [*(role.replace("_", " ") for role in of_column), *kept]
    reasons = [_role_reason(role, columns) for role in of_column[:1]]
    reasons += [f"named by {flag_of(flag)}" for flag in flags]
    is_number = bool({"popularity", "duration"} & {*of_column})
    if columns.features:
        feature = _named_feature(name, columns)
    elif (uses and not is_number) or (is_number and kept):
        feature = None
    else:
        feature = _feature_use(name, sample, columns, partitions, measured, has_role=is_number)
    if feature is None:
        return Use(tuple(uses) or (IGNORED,), "; ".join(reasons) or "not named by --columns.features")
    if feature.is_candidate:
        uses += feature.uses
    return Use(tuple(uses) or feature.uses, "; ".join(reasons) or feature.reason, feature.is_candidate)


def _named_feature(name: str, columns: Columns) -> Use | None:
    return (
        Use((feature_kind(name, columns),), "named by --columns.features", True)
        if name in columns.features
        else None
    )


def _role_reason(role: str, columns: Columns) -> str:
    default = getattr(columns, role) == getattr(Columns, role)
    return "has the default name" if default else f"named by {flag_of(role)}"


def feature_kind(name: str, columns: Columns) -> str:
    """The use of a column that is a feature."""
    return ONE_HOT if columns.is_categorical(name) else NUMERIC


def _feature_use(
    name: str,
    sample: Sample,
    columns: Columns,
    partitions: tuple[str, ...],
    measured: Measured | None,
    *,
    has_role: bool,
) -> Use:
    """The use of a column without a role, or of the popularity or the duration."""
    if name in partitions:
        return Use((IGNORED,), "from the names of folders")
    if measured is None:
        kind = sample.types[name]
        return Use((IGNORED,), "dates" if isinstance(kind, _DATES) else f"its type is {kind.simpleString()}")
    if measured.are_other:
        return Use((IGNORED,), _not_numbers(name, sample))
    if not has_role and (reason := _not_measured(name, sample, columns, measured)):
        return Use((IGNORED,), reason)
    if measured.parsed is None and not has_role:
        return Use((IGNORED,), "no values in the first rows", True)
    return Use((feature_kind(name, columns),), measured.note or "numbers", True)


def _not_numbers(name: str, sample: Sample) -> str:
    """What a column holds if most of its values are not numbers."""
    if not sample.is_text(name):
        return "most of its values are not finite"
    cells = sample.text(name, frozenset()).drop_null().to_pylist()
    return "dates" if contents.are_date_texts(cells) else "text"


def _not_measured(name: str, sample: Sample, columns: Columns, measured: Measured) -> str:
    """Why the numbers of a column say nothing about the sound of a track; empty if they may."""
    values = measured.values
    if measured.is_row_number:
        return "row numbers: whole numbers in the order of the rows"
    if is_id(name):
        return "ids, by its name"
    if contents.are_dates(values):
        return "dates"
    if is_popularity(name):
        return "popularity, by its name: it changes from day to day"
    if not columns.is_categorical(name) and contents.are_ids(values):
        return "ids: whole numbers that are all different"
    return ""
