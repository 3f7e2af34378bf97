"""Rows of a track table as tracks: clean names, labels, numbers, and a reason for a row that has no id.

Shape suffixes: B rows of a batch, F candidates for features.
"""

import enum
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from genremill.udfs.arrow_rows import BatchFunction, lists
from genremill.udfs.cells.lists import ListFormat, name_lists
from genremill.udfs.cells.numeric import Floats, NumberFormat, numbers
from genremill.udfs.cells.text import (
    NAME_MARKERS,
    are_missing_values,
    clean,
    shown,
    without_names,
    without_values,
)

SCHEMA = (
    "track_id string, row_digest string, title string, album string, audio_uri string, "
    "artists array<string>, genres array<string>, popularity double, duration_s double, "
    "texts array<struct<column:string,text:string>>, tags array<struct<column:string,tags:array<string>>>, "
    "vectors array<struct<column:string,vector:array<float>>>, "
    "numbers array<float>, not_numbers map<string,string>, problem struct<reason:string,detail:string>"
)
EXAMPLES = 3
"""Largest number of values of a column that are shown as examples."""
_DETAIL = 200
"""Largest number of characters in the detail of a problem."""


class Reason(enum.StrEnum):
    """Why a row of a track table is in `rejects`; for audio see `AudioReason`."""

    MALFORMED_ROW = "malformed_row"  # more or fewer fields than the header
    NO_ID = "no_id"  # no id; in a table without ids, no value at all
    # of a vector, without which its track stays:
    WRONG_LENGTH = "wrong_length"  # more or fewer numbers than most vectors of its column
    NOT_FINITE = "not_finite"  # a number that is NaN, infinite or missing


@dataclass(frozen=True)
class ListColumn:
    """A column with names."""

    name: str | None = None
    form: ListFormat = field(default_factory=ListFormat)


@dataclass(frozen=True)
class NumberColumn:
    """A column with numbers."""

    name: str
    form: NumberFormat = field(default_factory=NumberFormat)


@dataclass(frozen=True)
class RowFormat:
    """Which columns of a table become which columns of a track, and how their cells are read."""

    id: str | None
    """Column with the id; None if the table has none, and the id is a hash of `identity`."""
    title: str | None = None
    album: str | None = None
    audio_uri: str | None = None
    artists: ListColumn = field(default_factory=ListColumn)
    genres: ListColumn = field(default_factory=ListColumn)
    popularity: NumberColumn | None = None
    duration: NumberColumn | None = None
    """Its numbers are milliseconds."""
    features: tuple[NumberColumn, ...] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    """Columns with text, by their name in `tracks.texts`."""
    tags: Mapping[str, ListColumn] = field(default_factory=dict)
    """Columns with tags, by their name in `tracks.tags`."""
    vectors: Mapping[str, str] = field(default_factory=dict)
    """Columns with lists of numbers, by their name in `tracks.vectors`."""
    identity: tuple[str, ...] = ()
    """The columns by which rows without an id differ: not the label, row numbers and names of folders."""
    malformed: str | None = None
    """Column with the raw text of a row that cannot be read."""
    missing: frozenset[str] = field(default_factory=frozenset)
    """Further texts that stand for a missing value."""


def make_read_rows(form: RowFormat, names: Sequence[str], carried: Sequence[str]) -> BatchFunction:
    """A `mapInArrow` function from the rows of a table to `SCHEMA`, followed by the `carried` columns.

    `names` are the names of the columns in the table, in order.
    """

    def read_rows(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            own = track_columns(batch.rename_columns(list(names)), form)
            columns = own | {name: batch.column(name) for name in carried}
            yield pa.RecordBatch.from_arrays(list(columns.values()), names=list(columns))

    return read_rows


def track_columns(batch: pa.RecordBatch, form: RowFormat) -> dict[str, pa.Array]:
    """The columns of `SCHEMA` for a batch of rows.

    In `numbers`, a missing value is null, and a value that is not a finite number is NaN. `not_numbers` has
    a few of the latter as they were written, by column.
    """
    read = _Reader(batch, form)
    columns = {
        "track_id": read.name(form.id),
        "row_digest": pa.nulls(batch.num_rows, pa.string()),
        "title": read.name(form.title),
        "album": read.name(form.album),
        "audio_uri": read.path(form.audio_uri),
        "artists": read.names(form.artists, pa.array(NAME_MARKERS | form.missing, pa.string())),
        "genres": read.labels(form.genres),
        "popularity": read.optional(form.popularity),
        "duration_s": pc.divide(read.optional(form.duration), 1000.0),
        "texts": _entries(
            {key: read.prose(name) for key, name in form.texts.items()}, "text", pa.string(), batch.num_rows
        ),
        "tags": _entries(
            {key: read.tags(column) for key, column in form.tags.items()},
            *("tags", pa.list_(pa.string()), batch.num_rows),
        ),
        "vectors": _entries(
            {key: read.vector(name) for key, name in form.vectors.items()},
            *("vector", pa.list_(pa.float32()), batch.num_rows),
        ),
        "numbers": read.matrix(form.features),
        "not_numbers": read.not_numbers(form.features),
    }
    if form.id is None:
        columns["track_id"], columns["row_digest"] = _made_ids(batch, form, columns)
    return columns | {"problem": _problem(batch, form, columns["track_id"])}


@dataclass(frozen=True, eq=False)
class _Reader:
    """Reads the columns of one batch, each only once."""

    batch: pa.RecordBatch
    form: RowFormat
    parsed: dict[NumberColumn, tuple[Floats, np.ndarray]] = field(default_factory=dict)

    def text(self, name: str | None) -> pa.StringArray:
        if name is None:
            return pa.nulls(self.batch.num_rows, pa.string())
        cells = self.batch.column(name)
        if not pa.types.is_floating(cells.type):
            return clean(cells.cast(pa.string()))
        whole = cells.cast(pa.int64(), safe=False).cast(pa.string())  # a blank made integers floats
        return pc.if_else(pc.equal(cells, pc.floor(cells)), whole, cells.cast(pa.string()))

    def name(self, name: str | None) -> pa.StringArray:
        return without_names(self.text(name), self.form.missing)

    def path(self, name: str | None) -> pa.StringArray:
        """Paths as they are written, because a file may have any name; without blanks around them."""
        known = self.name(name)
        if name is None:
            return known
        written = pc.utf8_trim_whitespace(self.batch.column(name).cast(pa.string()))
        return pc.if_else(pc.is_valid(known), written, pa.scalar(None, pa.string()))

    def names(self, column: ListColumn, missing: pa.StringArray) -> pa.ListArray:
        if column.name is None:
            return lists(np.zeros((self.batch.num_rows, 0)), pa.array([], pa.string()))
        return name_lists(_names_or_text(self.batch.column(column.name)), column.form, missing)

    def labels(self, column: ListColumn) -> pa.ListArray:
        """Names without the markers of a missing label, in any case."""
        found = self.names(column, pa.array(self.form.missing, pa.string()))
        is_missing = are_missing_values(found.flatten(), self.form.missing)
        if not pc.any(is_missing).as_py():
            return found
        return name_lists(found, ListFormat(), found.flatten().filter(is_missing).unique())

    def prose(self, name: str) -> pa.StringArray:
        """Text without the markers of a missing value."""
        return without_values(self.text(name), self.form.missing)

    def tags(self, column: ListColumn) -> pa.ListArray:
        """Lists of different tags; null if there is none."""
        found = self.labels(column)
        counts = pc.list_value_length(found)
        row_N = np.repeat(np.arange(len(found)), counts.to_numpy())
        pairs = pa.table({"row": row_N, "tag": found.flatten(), "place": np.arange(len(row_N))})
        first = pairs.group_by(["row", "tag"], use_threads=False).aggregate([("place", "min")])
        place = np.sort(first.column("place_min").to_numpy())
        ends = np.bincount(row_N[place], minlength=len(found)).cumsum()
        offsets = pa.array(np.concatenate([[0], ends]).astype(np.int32))
        different = found.flatten().take(pa.array(place))
        return pa.ListArray.from_arrays(offsets, different, mask=pc.equal(counts, 0))

    def vector(self, name: str) -> pa.ListArray:
        """Lists of numbers, in which a null is NaN; an empty list is null."""
        cells = self.batch.column(name)
        counts = pc.list_value_length(cells)
        flat = cells.flatten().cast(pa.float64(), safe=False).fill_null(np.nan).cast(pa.float32(), safe=False)
        offsets = np.concatenate([[0], pc.fill_null(counts, 0).to_numpy().cumsum()]).astype(np.int32)
        is_empty = pc.fill_null(pc.equal(counts, 0), True)
        return pa.ListArray.from_arrays(pa.array(offsets), flat, mask=is_empty)

    def number(self, column: NumberColumn) -> tuple[Floats, np.ndarray]:
        if column not in self.parsed:
            cells = self.batch.column(column.name)
            if pa.types.is_string(cells.type):
                cells = without_values(clean(cells), self.form.missing)
            self.parsed[column] = numbers(cells, column.form)
        return self.parsed[column]

    def optional(self, column: NumberColumn | None) -> pa.DoubleArray:
        """Finite numbers; null for all others."""
        if column is None:
            return pa.nulls(self.batch.num_rows, pa.float64())
        values_B, _ = self.number(column)
        return pa.array(values_B, mask=np.isnan(values_B))

    def matrix(self, columns: Sequence[NumberColumn]) -> pa.ListArray:
        if not columns:
            return lists(np.zeros((self.batch.num_rows, 0)), pa.array([], pa.float32()))
        values_FB, missing_FB = zip(*(self.number(column) for column in columns), strict=True)
        values_BF = np.stack(values_FB, axis=1).astype(np.float32)
        return lists(values_BF, pa.array(values_BF.ravel(), mask=np.stack(missing_FB, axis=1).ravel()))

    def not_numbers(self, columns: Sequence[NumberColumn]) -> pa.MapArray:
        """By column, the value of a row that is not a finite number; only the first `EXAMPLES` of a batch."""
        examples: dict[int, list[tuple[str, str]]] = {}
        for column in columns:
            values_B, missing_B = self.number(column)
            cells = self.batch.column(column.name)
            for row in np.flatnonzero(np.isnan(values_B) & ~missing_B)[:EXAMPLES]:
                examples.setdefault(row, []).append((column.name, shown(cells[row].as_py())))
        rows = [examples.get(row) for row in range(self.batch.num_rows)]
        return pa.array(rows, pa.map_(pa.string(), pa.string()))


def _entries(columns: Mapping[str, pa.Array], name: str, kind: pa.DataType, rows: int) -> pa.ListArray:
    """For each row, structs of the columns that have a value, in order, and their values."""
    arrays = [column.cast(kind) for column in columns.values()] or [pa.nulls(0, kind)]
    valid_KB = np.array([pc.is_valid(column).to_numpy(zero_copy_only=False) for column in columns.values()])
    row_N, column_N = np.nonzero(valid_KB.T if columns else np.zeros((rows, 0), np.bool_))
    values = pa.chunked_array(arrays).take(pa.array(column_N * rows + row_N)).combine_chunks()
    keys = pa.array(list(columns), pa.string()).take(pa.array(column_N))
    offsets = np.concatenate([[0], np.bincount(row_N, minlength=rows).cumsum()]).astype(np.int32)
    return pa.ListArray.from_arrays(
        pa.array(offsets), pa.StructArray.from_arrays([keys, values], names=["column", name])
    )


def _names_or_text(column: pa.Array) -> pa.Array:
    return column if pa.types.is_nested(column.type) else column.cast(pa.string())


def _problem(batch: pa.RecordBatch, form: RowFormat, ids: pa.StringArray) -> pa.StructArray:
    """Why a row is no track, as (reason, detail); null for a good row."""
    text = pa.string()
    detail = pa.scalar(f"{form.id} is blank" if form.id else "the row is empty")
    no_id = pc.is_null(ids)
    reason = pc.if_else(no_id, pa.scalar(Reason.NO_ID.value), pa.scalar(None, text))
    details = pc.if_else(no_id, detail, pa.scalar(None, text))
    undecoded = pc.fill_null(pc.match_substring(ids, "\ufffd"), False)
    reason = pc.if_else(undecoded, pa.scalar(Reason.MALFORMED_ROW.value), reason)
    details = pc.if_else(undecoded, pa.scalar("the id has bytes that are not of the encoding"), details)
    if form.malformed is not None:
        raw = batch.column(form.malformed)
        reason = pc.if_else(pc.is_valid(raw), pa.scalar(Reason.MALFORMED_ROW.value), reason)
        details = pc.coalesce(pc.utf8_slice_codeunits(raw, 0, _DETAIL), details)
    return pa.StructArray.from_arrays([reason, details], names=["reason", "detail"], mask=pc.is_null(reason))


def _made_ids(
    batch: pa.RecordBatch, form: RowFormat, columns: dict[str, pa.Array]
) -> tuple[pa.StringArray, pa.StringArray]:
    """Ids, and digests of whole rows; both are null for a row without any value.

    The id is a digest of title, artists, album and duration, or of the whole row if it has no artist.
    """
    columns_of_ids = [map(_plain, batch.column(name).to_pylist()) for name in form.identity]
    rows = zip(*columns_of_ids, strict=True) if columns_of_ids else [()] * batch.num_rows
    named = (columns[name].to_pylist() for name in ("title", "artists", "album", "duration_s"))
    pairs: list[tuple[str | None, str | None]] = []
    for cells, (title, artists, *others) in zip(rows, zip(*named, strict=True), strict=True):
        whole = None if all(cell in (None, "") for cell in cells) else _digest(cells)
        pairs.append((_digest((title, artists, *others)) if whole and artists else whole, whole))
    ids, digests = zip(*pairs, strict=True) if pairs else ((), ())
    return pa.array(ids, pa.string()), pa.array(digests, pa.string())


def _plain(value: object) -> object:
    """The same value for a number that is an integer in one file and a float in another."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _digest(values: object) -> str:
    return hashlib.blake2b(repr(values).encode(), digest_size=10).hexdigest()


def make_clean_ids() -> BatchFunction:
    """A `mapInArrow` function that reads the text in the column `track_id` like the ids of a track table."""

    def clean_ids(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            ids = without_names(clean(batch.column("track_id")))
            yield batch.set_column(batch.schema.get_field_index("track_id"), "track_id", ids)

    return clean_ids


def columns_read(form: RowFormat) -> list[str]:
    """The columns of a table that `track_columns` reads."""
    columns = [form.id, form.title, form.album, form.audio_uri, form.artists.name, form.genres.name]
    columns += [column.name for column in (form.popularity, form.duration, *form.features) if column]
    columns += [*form.texts.values(), *(column.name for column in form.tags.values()), *form.vectors.values()]
    columns += form.identity if form.id is None else ()
    return list(dict.fromkeys(name for name in (*columns, form.malformed) if name is not None))
