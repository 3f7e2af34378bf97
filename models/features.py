"""Names and types of the raw features of a model."""

import enum
import math
from dataclasses import dataclass

from genremill.models.ranges import Name

TABLE, TEXT = "table", "text"
"""Names of two inputs: the raw table features of a track, and the tokens of its title, album and artists.
Other inputs have the name of their feature set, or one of the prefixes below."""
PROSE, TAGS, VECTORS = "text:", "tags:", "vectors:"
"""Prefixes of the inputs that are one column of `tracks.texts`, of `tracks.tags` or of `tracks.vectors`."""
AUTO = "auto"
"""In a flag: all inputs that exist."""
ARTIST = "artist"
"""Name of an input of earlier versions, which the pooling of predictions by artist has replaced."""
WINDOWS = "windows of inputs"
"""Column with the windows of a track, array<struct<set: array<float>, …>>. No kept column has this name."""

Positions = tuple[int | None, ...]
"""Positions of features in `tracks.table_features`; None for a feature that the tracks do not have."""

WEIGHT = "weight"
"""Column with the weight of a row, as an array of one value: the rows of every artist have the same weight in
total."""
FOLD, FOLDS = "fold", 5
"""Column with the fold of a train row's artists, counted from 0, as an array of one value; and the number of
folds."""
EVIDENCE = "evidence of "
"""Before the name of a text input: its evidence, a logit per class. It is computed from tokens, and is not in
shards."""


class TextKind(enum.StrEnum):
    """What the text of an input is, which decides what its tokens are."""

    NAMES = "names"  # title, album and artists
    PROSE = "prose"  # such as lyrics or a description
    TAGS = "tags"  # a set of tags


def text_kind(name: str) -> TextKind | None:
    """The kind of text of an input; None if the input is not text.

    >>> text_kind("tags:lastfm"), text_kind("text"), text_kind("spectrogram:mel")
    (<TextKind.TAGS: 'tags'>, <TextKind.NAMES: 'names'>, None)
    """
    if name == TEXT:
        return TextKind.NAMES
    if name.startswith(PROSE):
        return TextKind.PROSE
    return TextKind.TAGS if name.startswith(TAGS) else None


class InputKind(enum.StrEnum):
    """The shape of the raw inputs of a row."""

    VECTOR = "vector"  # (features,): the table, statistics and embeddings of audio
    SEQUENCE = "sequence"  # (steps, channels), padded with steps of 0
    IMAGE = "image"  # (channels, height, width)
    TEXT = "text"  # (tokens,), padded with 0
    SEVERAL = "several"  # inputs of more than one shape


class ScalingRule(enum.StrEnum):
    """Which values the scalers of a model are fitted on."""

    ROBUST = "robust"  # values within the limits of their feature; a value beyond counts as the limit
    REPORT = "report"  # all values, as in the reports


class Scaling(enum.StrEnum):
    """How numeric features are scaled."""

    MINMAX = "minmax"  # smallest to 0, largest to 1, as in the reports
    RANK = "rank"  # share of the train rows at or below the value: 0 to 1
    STANDARD = "standard"  # mean 0, deviation 1


@dataclass(frozen=True)
class FeatureSpec:
    """A raw feature: its name, whether it is categorical, whether it is a popularity, and its input."""

    name: Name
    categorical: bool
    is_popularity: bool = False
    input: Name = TABLE
    has_missing: bool = False
    """Whether the model has an indicator of its missing values, because train rows lack some."""
    limits: tuple[float, float] | None = None
    """The least and the greatest value that the model distinguishes; None for a category, and without
    limits."""

    def __post_init__(self) -> None:
        if self.limits is not None and not -math.inf < self.limits[0] <= self.limits[1] < math.inf:
            raise ValueError(f"limits {self.limits} of {self.name}: expected two rising finite numbers")
