"""Settings of the C library for memory that arrays have freed."""

import ctypes

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3


def keep_freed_memory() -> None:
    """Makes glibc keep up to 256 MiB of freed memory for new arrays; does nothing with other C libraries.

    By default, glibc returns large blocks to the system at once. The system then clears their pages for the
    next signal, which takes a quarter of the time of a feature set.
    """
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_MMAP_THRESHOLD, 32 << 20)  # the limit of glibc; a spectrum of 30 s needs a third of it
        mallopt(M_TRIM_THRESHOLD, 256 << 20)
