"""Settings of the C library for memory that arrays have freed."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES = 256 << 20
LARGEST_KEPT_BYTES = 32 << 20
"""Largest block that is kept, the limit of glibc; a spectrum of 30 s needs a third of it."""


def keep_freed_memory() -> None:
    """Makes glibc keep up to 256 MiB of freed memory for new arrays; does nothing with other C libraries.

    By default, glibc returns large blocks to the system at once. The system then clears their pages for the
    next signal, which takes a quarter of the time of a feature set.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)
