"""The columns of a track table that the user names, and the column of each role."""

import re
import shlex
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields

from genremill.infra.errors import UsageError
from genremill.jobs.catalog.column_names import reduced
from genremill.jobs.catalog.look_alikes import look_alikes

NONE = "none"
"""The value of a flag that says that the table has no such column."""


@dataclass(frozen=True)
class Columns:
    """The columns of the track table; `none` says that the table has no such column."""

    id: str = "track_id"
    """Column with the id of a track, which is read as text. With `none`, an id is made from title, artists,
    album and duration."""
    title: str = "track_name"
    """Column with the title of the track."""
    album: str = "album_name"
    """Column with the title of the album."""
    artists: str = "artists"
    """Column with the credited artists, separated by `;` or in lists such as `['a', 'b']`."""
    genre: str = "track_genre"
    """Column with one genre label or a list of labels; a track may also have one row for each label."""
    popularity: str = "popularity"
    """Column with the popularity, which is not a model input by default."""
    duration: str = "duration_ms"
    """Column with the duration in milliseconds, seconds, minutes or as `3:45`."""
    audio_uri: str = "audio_uri"
    """Column with the path or URI of the audio."""
    separator: str | None = None
    """Text that separates the artists. [;]"""
    text: tuple[str, ...] = ()
    """Columns with text about the track, such as lyrics or a description."""
    tags: tuple[str, ...] = ()
    """Columns with tags, such as those of MusicBrainz or Last.fm, or with the record label, as lists or as
    text with separators. The column of the genre cannot be one of them."""
    vectors: tuple[str, ...] = ()
    """Columns of a Parquet table with lists of numbers, such as embeddings of other models. Each becomes a
    feature set of its name."""
    features: tuple[str, ...] = ()
    """Columns to use as features. [popularity, duration and all other columns with measured numbers]"""
    ignore: tuple[str, ...] = ()
    """Columns to leave out."""
    categorical: tuple[str, ...] = ("key", "time_signature")
    """Features whose numbers are codes, which are one-hot encoded."""
    keep: tuple[str, ...] = ()
    """Columns to copy to the tables `tracks` and `tags`."""

    @property
    def inputs(self) -> set[str]:
        """The columns that flags make inputs of models."""
        return {*self.text, *self.tags, *self.vectors, *self.features}

    def is_categorical(self, name: str) -> bool:
        """Whether the numbers of a column are codes; case, blanks and punctuation of its name do not count.

        >>> Columns().is_categorical("Time Signature"), Columns().is_categorical("keyboard")
        (True, False)
        """
        return reduced(name) in map(reduced, self.categorical)


TEXTS = ("text", "tags")
"""Fields of `Columns` that name columns of text, which models read."""
ROLES = ("id", "title", "album", "artists", "genre", "popularity", "duration", "audio_uri")


@dataclass(frozen=True)
class Roles:
    """For each role the name of its column, or None."""

    id: str | None = None
    title: str | None = None
    album: str | None = None
    artists: str | None = None
    genre: str | None = None
    popularity: str | None = None
    duration: str | None = None
    audio_uri: str | None = None

    @property
    def by_column(self) -> dict[str, list[str]]:
        """The roles of each column that has one."""
        columns: dict[str, list[str]] = {}
        for role in ROLES:
            if (name := getattr(self, role)) is not None:
                columns.setdefault(name, []).append(role)
        return columns


def text_key(column: str) -> str:
    """The name of a column of text in `tracks` and in the inputs of models.

    >>> text_key("artist.genres")
    'artist_genres'
    """
    return re.sub("[.`+]", "_", column)


def flag_of(field: str) -> str:
    """The flag of a field of `Columns`.

    >>> flag_of("audio_uri")
    '--columns.audio-uri'
    """
    return f"--columns.{field.replace('_', '-')}"


def find_roles(
    columns: Columns,
    names: Sequence[str],
    source: str,
    ignored: Sequence[str],
    fits: Callable[[str, str], bool],
) -> Roles:
    """The column of each role; raises `UsageError` if one is missing, or has another name than the default.

    One error names all columns that are missing, and the flag to add for each. `ignored` are columns that
    exist, but are not read; `fits` says whether the values of a column may have a role.
    """
    _refuse_missing(columns, [*names, *ignored], source)
    _refuse_contradictions(columns)
    asked = {role: str(getattr(columns, role)) for role in ROLES}
    roles = {role: name if name in names else None for role, name in asked.items()}
    _refuse_look_alikes(columns, roles, names, source, fits)
    return Roles(**roles)


def _refuse_missing(columns: Columns, names: Sequence[str], source: str) -> None:
    """Raises if a flag names a column that does not exist."""
    asked = {
        field.name: getattr(columns, field.name) for field in fields(Columns) if field.name != "separator"
    }
    missing = [
        f"{flag_of(field.name)} {name}"
        for field in fields(Columns)
        if field.name in asked and (value := asked[field.name]) != field.default
        for name in ([value] if isinstance(value, str) else value)
        if name not in names and not (field.name in ROLES and name == NONE)
    ]
    if missing:
        raise UsageError(f"{source}: no column for {'; '.join(missing)}. {_found(names)}")


def _refuse_look_alikes(
    columns: Columns,
    roles: dict[str, str | None],
    names: Sequence[str],
    source: str,
    fits: Callable[[str, str], bool],
) -> None:
    """Raises if a column of a default name is missing, and others may have its role."""
    used = {*filter(None, roles.values()), *columns.ignore, *columns.inputs}
    free = [name for name in names if name not in used]
    problems = []
    for role in ROLES:
        default = getattr(Columns, role)
        if roles[role] is not None or getattr(columns, role) != default or default in columns.ignore:
            continue
        alike = look_alikes(role, free, fits)
        if alike:
            problems.append(_advice(role, default, alike))
        elif role == "id":
            problems.append(
                f"no column for --columns.id {default}; add --columns.id COLUMN, or --columns.id {NONE} if "
                "the table has no ids"
            )
    if problems:
        raise UsageError(f"{source}: {'; '.join(problems)}. {_found(names)}")


def _advice(role: str, default: str, alike: Sequence[str]) -> str:
    """The flag to add for a role whose column has another name."""
    others = f" (or {', '.join(map(repr, alike[1:4]))})" if alike[1:] else ""
    return (
        f"no column {default!r}, but {alike[0]!r}{others} may be the {role.replace('_', ' ')}: add "
        f"{flag_of(role)} {shlex.quote(alike[0])}, or {flag_of(role)} {NONE}"
    )


def _refuse_contradictions(columns: Columns) -> None:
    """Raises on column flags that contradict each other."""
    if columns.id in columns.ignore:
        raise UsageError(f"--columns.ignore {columns.id}: it is the id, which is required")
    if both := sorted(set(columns.ignore) & {*columns.inputs, *columns.keep}):
        raise UsageError(f"--columns.ignore {both[0]}: another flag, such as --columns.keep, names it too")
    if both := sorted({*columns.text} & {*columns.tags}):
        raise UsageError(f"--columns.text and --columns.tags both name {both[0]!r}")
    for field in TEXTS:
        if columns.genre in getattr(columns, field):
            flag = f"{flag_of(field)} {columns.genre}"
            raise UsageError(f"{flag}: it is the genre, which the model must not see")
    keys = Counter(map(text_key, (*columns.text, *columns.tags)))
    if same := [key for key, count in keys.items() if count > 1]:
        raise UsageError(
            f"--columns.text and --columns.tags: more than one column would be called {same[0]!r} in "
            "`tracks`, where a dot, a backtick or a plus sign becomes `_`"
        )
    for flag in ("features", "keep", "vectors"):
        names = getattr(columns, flag)
        if doubled := [name for name in names if names.count(name) > 1]:
            raise UsageError(f"--columns.{flag} names {doubled[0]!r} twice")
    if columns.popularity == columns.duration != NONE:
        raise UsageError(f"--columns.popularity and --columns.duration both name {columns.duration!r}")


def _found(names: Collection[str]) -> str:
    shown = ", ".join(repr(name[:60]) for name in list(names)[:40]) + (" …" if len(names) > 40 else "")
    return f"Found {len(names)} columns: {shown}."
