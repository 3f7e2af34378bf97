"""What a model knows of its raw features before it has seen a row of them."""

import enum
from dataclasses import dataclass

TABLE, TEXT = "table", "text"
"""Names of the inputs that hold a track's raw table features, and the tokens of its title, album and artists.

Other inputs are named by their feature set."""
WINDOWS = "windows of inputs"
"""The column of a track's windows, array<struct<set: array<float>, …>>; no kept column is named so."""


TEXT = "text"
"""Name of the input that holds a track's names as token ids."""


class Takes(enum.StrEnum):
    """The shape of a row of raw inputs that a model takes."""

    VECTOR = "vector"  # (features,): the table, statistics and embeddings of audio
    SEQUENCE = "sequence"  # (steps, channels), padded with steps of 0
    IMAGE = "image"  # (channels, height, width)
    TEXT = "text"  # (tokens,), padded with 0
    SEVERAL = "several"  # inputs of more than one shape


class Scaling(enum.StrEnum):
    """How numeric features are scaled."""

    MINMAX = "minmax"  # smallest to 0, largest to 1, as the reports do
    RANK = "rank"  # share of the train rows at or below the value: 0 to 1
    STANDARD = "standard"  # mean 0, deviation 1


@dataclass(frozen=True)
class FeatureSpec:
    """A raw feature: its name, whether its numbers are codes or the track's popularity, and its input."""

    name: str
    categorical: bool
    is_popularity: bool = False
    input: str = TABLE
