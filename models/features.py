"""What a model knows of its raw features before it has seen a row of them."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass, replace

TABLE, TEXT = "table", "text"
"""Names of the inputs that hold a track's raw table features, and the tokens of its title, album and artists.

Other inputs are named by their feature set."""
ARTIST = "artist"
"""Name of the input that says what an artist's tracks are like: means of their numeric table features, then
deviations. All of them have it, whatever their split: it takes no labels."""
WINDOWS, ARTIST_FEATURES = "windows of inputs", "features of the artist"
"""Columns of a track's windows, array<struct<set: array<float>, …>>, and of its artist's, array<float>;
no kept column is named so."""

WEIGHT = "weight"
"""The column of held-out rows beside their inputs that says what each counts, as an array of one value."""
FOLD, FOLDS = "fold", 5
"""The column of train rows beside their inputs that says which group of artists each is of, from 0 on, as an
array of one value; and how many groups there are."""
EVIDENCE = "evidence"
"""Name that networks know what a track's names say of each class by, as logits; no shard holds it."""


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

    @property
    def source(self) -> str:
        """The feature of a track that it is made of: itself, or what it says of an artist's tracks."""
        return self.name.partition(" of ")[2] if self.input == ARTIST else self.name


def artist_features(table: Sequence[FeatureSpec]) -> tuple[FeatureSpec, ...]:
    """The features of an artist, in order.

    >>> [one.name for one in artist_features([FeatureSpec("tempo", False), FeatureSpec("key", True)])]
    ['artist mean of tempo', 'artist deviation of tempo']
    """
    return tuple(
        replace(one, name=f"artist {statistic} of {one.name}", input=ARTIST)
        for statistic in ("mean", "deviation")
        for one in table
        if not one.categorical
    )
