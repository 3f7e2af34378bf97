"""A proposal for the columns of a track table, and the configuration file that holds it."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow.compute as pc
from pyspark.sql import types as T

from genremill.jobs.catalog.column_contents import ALMOST_ALL
from genremill.jobs.catalog.column_names import words
from genremill.jobs.catalog.columns import NONE, ROLES, Columns
from genremill.jobs.catalog.look_alikes import is_clear, look_alikes
from genremill.jobs.catalog.number_formats import numeric_share
from genremill.jobs.catalog.role_values import fits
from genremill.jobs.catalog.sample import Sample
from genremill.udfs.cells.numeric import NumberFormat

_AUDIO = re.compile(r".*\.(mp3|wav|flac|ogg|opus|m4a|aac|aiff?|wma)", re.IGNORECASE)
_FEWEST_PER_LABEL, _MOST_LABELS = 3, 2000
"""A column of text may hold labels if its values recur this often on average, and are not more."""
_ID_WORDS = frozenset({"id", "ids", "uuid", "guid", "isrc", "file", "filename", "path"})
_LABEL_WORDS = frozenset({"genre", "genres", "subgenre", "style", "styles", "label", "class", "category"})


@dataclass(frozen=True)
class Guess:
    """The column that may have a role."""

    role: str
    column: str | None
    """None if no column seems to have it."""
    reason: str
    others: tuple[str, ...] = ()
    """Other columns that may have the role."""
    is_certain: bool = True

    @property
    def value(self) -> str:
        """The value of the flag."""
        return self.column or NONE


def guesses(sample: Sample) -> list[Guess]:
    """A guess for each role, from the names of the columns and their first values."""
    found: list[Guess] = []
    for role in ROLES:
        taken = {guess.column for guess in found}
        free = [name for name in sample.columns if name not in taken]
        found.append(_guess(role, free, sample))
    return found


def _guess(role: str, names: Sequence[str], sample: Sample) -> Guess:
    default = str(getattr(Columns, role))
    alike = look_alikes(role, names, functools.partial(fits, sample))
    clear = [name for name in alike if is_clear(role, name)]
    by_name = clear or alike
    by_value = [name for name in _by_value(role, names, sample) if name not in by_name]
    if default in names:
        return Guess(role, default, "has the default name")
    if by_name and (role != "id" or _is_unique(sample, by_name[0])):
        others = tuple(by_name[1:] + by_value) if role in ("id", "genre", "artists", "title") else ()
        return Guess(role, by_name[0], "by its name", others, is_certain=bool(clear) and not others)
    if by_value:
        is_certain = role == "audio_uri" and len(by_value) == 1
        return Guess(role, by_value[0], "by its values", tuple(by_value[1:]), is_certain)
    if role == "id":
        reason = "no column has ids; they are made from title, artists, album and duration"
        return Guess(role, None, reason)
    is_certain = role not in ("title", "artists", "genre")  # tags without them are hardly useful
    return Guess(role, None, "no column has such a name", is_certain=is_certain)


def _by_value(role: str, names: Sequence[str], sample: Sample) -> list[str]:
    """The columns whose values fit a role."""
    fits: dict[str, Callable[[Sample, str], bool]] = {
        "id": lambda table, name: bool(_ID_WORDS & {*words(name)}) and _is_unique(table, name),
        "genre": _has_labels,
        "audio_uri": lambda table, name: _share(table, name, lambda cell: bool(_AUDIO.fullmatch(cell))) > 0.5,
    }
    return [name for name in names if role in fits and fits[role](sample, name)]


def _cells(sample: Sample, name: str) -> list[str]:
    return sample.text(name, frozenset()).drop_null().to_pylist() if sample.is_text(name) else []


def _share(sample: Sample, name: str, fits: Callable[[str], bool]) -> float:
    cells = _cells(sample, name)[:1000]
    return sum(map(fits, cells)) / len(cells) if cells else 0.0


def _is_unique(sample: Sample, name: str) -> bool:
    """Whether no row lacks a value, and most rows have different ones: a track may have several rows."""
    column = sample.columns[name]
    return bool(len(column)) and not column.null_count and len(column.unique()) >= 0.5 * len(column)


def _has_labels(sample: Sample, name: str) -> bool:
    """Whether a column of text has few values that recur, and a name for labels."""
    if sample.is_text(name):
        cells = _cells(sample, name)
        is_number = numeric_share(cells[:1000], NumberFormat()) > 0.5
        labels = Counter(cells)
        if is_number or not 0 < len(labels) <= min(_MOST_LABELS, max(len(cells) / _FEWEST_PER_LABEL, 2)):
            return False
    return bool(_LABEL_WORDS & {*words(name)})


def vector_columns(sample: Sample) -> tuple[str, ...]:
    """The columns of lists of floating-point numbers that almost all have one length."""
    return tuple(
        name for name, kind in sample.types.items() if _has_floats(kind) and _one_length(sample, name)
    )


def _has_floats(kind: T.DataType) -> bool:
    return isinstance(kind, T.ArrayType) and isinstance(kind.elementType, T.FractionalType)


def _one_length(sample: Sample, name: str) -> bool:
    """Whether almost all lists have the same number of numbers, two or more."""
    commas = Counter(pc.count_substring(sample.columns[name].drop_null(), ",").to_pylist())
    if not commas:
        return False
    most_frequent, count = commas.most_common(1)[0]
    return most_frequent > 0 and count >= ALMOST_ALL * commas.total()


def columns_of(found: Sequence[Guess], vectors: tuple[str, ...] = ()) -> Columns:
    """The flags for columns that the guesses stand for, and for columns of vectors."""
    values: dict[str, Any] = {guess.role: guess.value for guess in found}
    return dataclasses.replace(Columns(), **values, vectors=vectors)
