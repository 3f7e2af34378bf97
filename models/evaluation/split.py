"""How tracks are split into train, validation and test."""

import enum


class SplitBy(enum.StrEnum):
    """The unit that is never in two splits."""

    ARTIST = "artist"
    RECORDING = "recording"
    ROWS = "rows"  # each (track, genre) pair is drawn independently
    FILE = "file"  # the split of each track is listed in a file
