"""The variants of a signal, by name; `augmentation` makes them."""

import enum

REVISION = 1
"""Grows when a variant of the same audio becomes another."""
FASTEST = 1.25
"""As much more of the audio is read, so that what plays faster is as long as what does not."""


class Variant(enum.StrEnum):
    """How a signal is changed (reports A and E)."""

    STRETCH = "stretch"  # slower or faster, at the same pitch
    PITCH = "pitch"  # lower or higher, at the same tempo
    NOISE = "noise"  # with white noise
    SLOWED = "slowed"  # slower and lower
    NIGHTCORE = "nightcore"  # faster and higher
