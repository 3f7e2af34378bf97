"""Level and zero crossings of the frames of a signal, equal to librosa 0.11's but many times faster.

Frames overlap, so sums are computed once for each block of samples, and then added by frame. Shape suffix:
T frames.
"""

import math
from collections.abc import Callable

import numpy as np

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.spectra import Double
from genremill.udfs.feature_sets.base import Signal

ZERO = np.float32(1e-10)
"""Samples up to this magnitude count as zero when signs are compared."""


def rms(y: Signal, *, frame_length: int, hop_length: int) -> Double:
    """Root mean square of each centered frame, with zeros beyond the ends, shape (T,)."""
    energies = _frame_sums(_block_energies, np.pad(y, frame_length // 2), frame_length, hop_length)
    return np.asarray(np.sqrt(energies / frame_length), np.float64)


def zero_crossing_rate(y: Signal, *, frame_length: int, hop_length: int) -> Double:
    """Share of samples whose sign differs from the previous sample's, by centered frame, shape (T,).

    As `librosa.feature.zero_crossing_rate`: the first and the last sample are repeated beyond the ends.
    """
    padded = np.pad(y, (frame_length // 2 + 1, frame_length // 2), mode="edge")
    crossings = _frame_sums(_block_crossings, padded, frame_length, hop_length)
    # The first sample of a frame has no previous sample in the frame.
    starts = hop_length * np.arange(len(crossings))
    crossings -= (padded[starts] < -ZERO) != (padded[starts + 1] < -ZERO)
    return crossings / frame_length


def _frame_sums(
    block_sums: Callable[[Signal, int], Double], x: Signal, frame_length: int, hop_length: int
) -> Double:
    """Sums over overlapping frames, shape (T,)."""
    block = math.gcd(frame_length, hop_length)
    by_frame = np.lib.stride_tricks.sliding_window_view(block_sums(x, block), frame_length // block)
    return np.asarray(by_frame[:: hop_length // block].sum(axis=1), np.float64)


@kernel("(float32[::1], int64)", fastmath={"contract", "nsz", "reassoc"})
def _block_energies(x: Signal, block: int) -> Double:
    """The sum of squares of each block of samples."""
    sums = np.zeros(len(x) // block)
    for index in range(len(sums)):
        total, samples = 0.0, x[index * block :]
        for n in range(block):
            total += np.float64(samples[n]) * samples[n]
        sums[index] = total
    return sums


@kernel("(float32[::1], int64)")
def _block_crossings(x: Signal, block: int) -> Double:
    """Samples of each block whose sign differs from the next sample's."""
    sums = np.zeros((len(x) - 1) // block)
    for index in range(len(sums)):
        count, here, after = np.int32(0), x[index * block :], x[index * block + 1 :]
        for n in range(block):
            count += np.int32((here[n] < -ZERO) != (after[n] < -ZERO))
        sums[index] = count
    return sums
