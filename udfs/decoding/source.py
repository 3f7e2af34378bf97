"""What every decoder offers: the samples of a segment, block by block."""

from collections.abc import Iterator
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Block: TypeAlias = npt.NDArray[np.float32]
"""Samples of shape (frames, channels)."""
BLOCK = 65536
"""Frames that are decoded, mixed and resampled at once; they fit into the cache."""


class Source(Protocol):
    """An opened segment."""

    @property
    def sr(self) -> int:
        """Sample rate of the blocks in Hz."""

    @property
    def channels(self) -> int:
        """Channels of the blocks."""

    @property
    def frames(self) -> int | None:
        """Frames that the segment should have; None if nobody knows."""

    @property
    def lost(self) -> int:
        """Frames that could not be decoded, after decoding; they count if nobody knows `frames`."""

    def blocks(self, start: int, frames: int) -> Iterator[Block]:
        """At most `frames` frames from `start` on, in blocks of about `BLOCK`, never empty.

        The next block may overwrite the one before.
        """
