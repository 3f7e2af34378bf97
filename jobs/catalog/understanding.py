"""What `ingest` understands of a track table: the role or the use of each column, and why."""

import dataclasses
import functools
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow.compute as pc
from pyspark.sql import types as T

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.column_uses import Measured, Use, use_of
from genremill.jobs.catalog.columns import ROLES, Columns, Roles, find_roles, flag_of, text_key
from genremill.jobs.catalog.left_out import IGNORED, LeftOut
from genremill.jobs.catalog.list_contents import label_list_format, name_list_format
from genremill.jobs.catalog.number_formats import decimal_sign
from genremill.jobs.catalog.own_columns import MALFORMED
from genremill.jobs.catalog.role_values import fits
from genremill.jobs.catalog.sample import Sample
from genremill.jobs.catalog.vectors import is_vector, set_names
from genremill.jobs.snapshot_details import ColumnUse, Feature, Kind
from genremill.udfs.cells.lists import NAME_FIELDS, ListFormat
from genremill.udfs.cells.rows import ListColumn, NumberColumn, RowFormat
from genremill.udfs.cells.text import without_names

_LISTS = "text, or lists of text or of structs with a field such as name or title"


@dataclass(frozen=True)
class Understanding:
    """The meaning of the columns of a table."""

    columns: Columns
    roles: Roles
    row_format: RowFormat
    uses: tuple[ColumnUse, ...]
    """All columns of the table, in order."""
    row_numbers: tuple[str, ...]
    """Columns without a role that count the rows."""

    def feature(self, name: str, missing: float) -> Feature:
        """The feature that a column is."""
        kind = Kind.CATEGORICAL if self.columns.is_categorical(name) else Kind.NUMERIC
        return Feature(name, kind, name == self.roles.popularity, missing)

    def with_uses(self, changed: Mapping[str, ColumnUse]) -> "Understanding":
        """The same, in which some columns have another use or other figures."""
        uses = tuple(changed.get(use.column, use) for use in self.uses)
        return dataclasses.replace(self, uses=uses)


_NOTHING = LeftOut()


def understand(
    sample: Sample, columns: Columns, source: str, markers: frozenset[str], left_out: LeftOut = _NOTHING
) -> Understanding:
    """The meaning of the columns, from their names and first rows.

    `markers` are further texts for a missing value. Raises `UsageError` if a column is missing or of a wrong
    type.
    """
    of_roles = (getattr(columns, role) for role in ROLES)
    named = {*columns.inputs, *columns.keep, *of_roles}
    if unreadable := [name for name in left_out.unreadable if name in named]:
        kinds = ", ".join(f"{name!r} ({left_out.unreadable[name]})" for name in unreadable)
        raise UsageError(
            f"{source}: a flag names the column {kinds}, whose type cannot be read; choose another column"
        )
    may_have = functools.partial(fits, sample)
    roles = find_roles(columns, list(sample.columns), source, left_out.ignored, may_have)
    measured = _measured(sample, roles, markers)
    _check_types(sample, columns, roles, measured, source)
    uses = {
        name: use_of(name, sample, columns, roles, left_out.partitions, measured.get(name))
        for name in sample.columns
    }
    row_numbers = tuple(
        name for name, column in measured.items() if column.is_row_number and name not in roles.by_column
    )
    left_out_of_ids = {roles.genre, *row_numbers, *left_out.partitions}
    form = dataclasses.replace(
        _row_format(sample, columns, roles, markers, uses, measured),
        identity=tuple(sorted({*sample.columns} - left_out_of_ids)),
    )
    described = tuple(_described(name, use, sample, form, measured.get(name)) for name, use in uses.items())
    return Understanding(columns, roles, form, (*described, *left_out.uses), row_numbers)


def _measured(sample: Sample, roles: Roles, markers: frozenset[str]) -> dict[str, Measured]:
    """The numbers of all columns that may have some."""
    numeric = (T.StringType, T.NumericType, T.BooleanType)
    names = [name for name, kind in sample.types.items() if isinstance(kind, numeric)]
    names_of_roles = {name for name, of in roles.by_column.items() if not {*of} & {"popularity", "duration"}}
    cells = [
        sample.text(name, markers).drop_null().to_pylist()
        for name in names
        if sample.is_text(name) and name not in names_of_roles
    ]
    decimal = decimal_sign(itertools.chain.from_iterable(cells))
    return {
        name: Measured.of(sample, name, decimal, markers, is_duration=name == roles.duration)
        for name in names
    }


def _check_types(
    sample: Sample, columns: Columns, roles: Roles, measured: Mapping[str, Measured], source: str
) -> None:
    """Raises if a column has a type that its role cannot have."""
    text = (T.StringType, T.IntegralType, T.DecimalType)
    lists = (*text, T.ArrayType, T.StructType, T.BooleanType, T.FractionalType)
    expected: dict[str, tuple[type, ...]] = {"id": text, "artists": lists, "genre": lists}
    wanted_of = {"id": "text or whole numbers", "artists": _LISTS, "genre": _LISTS}
    wanted_of |= {"popularity": "numbers", "duration": "numbers"}
    for role, name in dataclasses.asdict(roles).items():
        if name is None:
            continue
        kind = sample.types[name]
        if isinstance(kind, expected.get(role, T.AtomicType)) and _has_names(kind):
            continue
        if role == "id" and name in measured and measured[name].are_whole:
            continue
        wanted, found = wanted_of.get(role, "text"), kind.simpleString()
        raise UsageError(f"{source}: {flag_of(role)} {name}: expected {wanted}, found {found}")
    for flag, names, wanted, types in (
        ("--columns.text", columns.text, "text", (T.AtomicType,)),
        ("--columns.tags", columns.tags, _LISTS, lists),
    ):
        for name in names:
            kind = sample.types[name]
            if not (isinstance(kind, types) and _has_names(kind)):
                raise UsageError(f"{source}: {flag} {name}: expected {wanted}, found {kind.simpleString()}")
    for name in columns.vectors:
        if not is_vector(kind := sample.types[name]):
            flag = f"--columns.vectors {name}"
            raise UsageError(f"{source}: {flag}: expected lists of numbers, found {kind.simpleString()}")
    for name in (*columns.features, *filter(None, (roles.popularity, roles.duration))):
        if name not in measured:
            raise UsageError(
                f"{source}: column {name!r}: expected numbers, found {sample.types[name].simpleString()}"
            )


def _has_names(kind: T.DataType) -> bool:
    """Whether a type is one value, or a struct with the field of a name, or a list of these."""
    if isinstance(kind, T.ArrayType):
        return not isinstance(kind.elementType, T.ArrayType) and _has_names(kind.elementType)
    if isinstance(kind, T.StructType):
        named = next((name for name in NAME_FIELDS if name in kind.names), None)
        return named is not None and isinstance(kind[named].dataType, T.AtomicType)
    return isinstance(kind, T.AtomicType)


def _row_format(
    sample: Sample,
    columns: Columns,
    roles: Roles,
    markers: frozenset[str],
    uses: Mapping[str, Use],
    measured: Mapping[str, Measured],
) -> RowFormat:
    """How the rows are read."""
    candidates = [name for name, use in uses.items() if use.is_candidate]
    ordered: Sequence[str] = columns.features or sorted(
        candidates, key=lambda name: (name != roles.popularity, name != roles.duration)
    )
    number = {name: NumberColumn(name, column.form) for name, column in measured.items()}
    return RowFormat(
        id=roles.id,
        title=roles.title,
        album=roles.album,
        audio_uri=roles.audio_uri,
        artists=ListColumn(roles.artists, _artist_format(sample, roles.artists, columns.separator)),
        genres=ListColumn(roles.genre, _genre_format(sample, roles.genre, markers)),
        popularity=number[roles.popularity] if roles.popularity else None,
        duration=number[roles.duration] if roles.duration else None,
        features=tuple(number[name] for name in ordered),
        texts={text_key(name): name for name in columns.text},
        tags={
            text_key(name): ListColumn(name, _genre_format(sample, name, markers)) for name in columns.tags
        },
        vectors=set_names(columns.vectors, "--columns.vectors"),
        malformed=MALFORMED,
        missing=markers,
    )


def _artist_format(sample: Sample, name: str | None, separator: str | None) -> ListFormat:
    if separator:
        return ListFormat(separator=separator)
    if name is None or not sample.is_text(name):
        return ListFormat()
    return name_list_format(without_names(sample.clean(name)).drop_null().to_pylist())


def _genre_format(sample: Sample, name: str | None, markers: frozenset[str]) -> ListFormat:
    if name is None or not sample.is_text(name):
        return ListFormat()
    return label_list_format(sample.text(name, markers).drop_null().to_pylist())


def _described(name: str, use: Use, sample: Sample, form: RowFormat, measured: Measured | None) -> ColumnUse:
    """A column in the table that `ingest` prints."""
    reason = use.reason
    for column in (form.artists, form.genres, *form.tags.values()):
        if column.name == name:
            reason += f"; {sample.types[name].simpleString() if not sample.is_text(name) else column.form}"
    is_number = use.is_candidate or name in {
        column.name for column in (form.popularity, form.duration) if column
    }
    if is_number and measured and measured.note and measured.note not in reason:
        reason += f"; {measured.note}"
    if measured and is_number:
        return ColumnUse(name, use.uses, reason, measured.parsed, measured.missing, sample.examples(name))
    if measured and measured.are_other and use.uses == (IGNORED,):
        return ColumnUse(name, use.uses, reason, measured.parsed or None, measured.missing, measured.examples)
    cells = sample.columns[name]
    if sample.is_text(name):
        is_name = name in (form.title, form.album, form.artists.name)
        cells = (
            without_names(sample.clean(name), form.missing) if is_name else sample.text(name, form.missing)
        )
    missing = pc.sum(pc.is_null(cells, nan_is_null=True)).as_py() or 0
    return ColumnUse(name, use.uses, reason, None, missing / max(sample.rows, 1), sample.examples(name))
