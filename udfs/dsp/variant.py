"""Names of the variants of a signal; `augmentation` makes them."""

import enum

REVISION = 1
"""Increases when the code makes a different variant of the same audio."""
FASTEST = 1.25
"""Speed of the fastest variant. Jobs read this much more audio, so that fast variants are as long as the
others."""


class Variant(enum.StrEnum):
    """How a signal is changed, as in the two reports that train on changed audio."""

    STRETCH = "stretch"  # slower or faster, at the same pitch
    PITCH = "pitch"  # lower or higher, at the same tempo
    NOISE = "noise"  # with white noise
    SLOWED = "slowed"  # slower and lower
    NIGHTCORE = "nightcore"  # faster and higher
