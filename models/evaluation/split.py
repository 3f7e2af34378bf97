"""How tracks are split into train, validation and test."""

import enum


class SplitBy(enum.StrEnum):
    """What is never in two splits at once."""

    ARTIST = "artist"
    RECORDING = "recording"
    ROWS = "rows"  # nothing: each (track, genre) pair is drawn by itself
    FILE = "file"  # the split of each track is listed in a file
