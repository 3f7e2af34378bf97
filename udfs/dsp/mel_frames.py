"""Mel magnitudes of many short frames, 16 at once in vector registers.

Several times as fast as a library's transform, because no frame, spectrum or product with zeros is ever
written to memory: frames are read from the signal side by side, transformed as 256 complex numbers by four
steps of radix 4 in Stockham's order, and their magnitudes are added band by band. In single precision.
"""

import numpy as np
import numpy.typing as npt

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.mel import Indices, band_sums
from genremill.udfs.dsp.simd import TILE, transpose_back, transpose_tile
from genremill.udfs.dsp.simd_complex import butterfly, two_powers
from genremill.udfs.feature_sets.base import Signal

N_FFT = 512
"""Samples of a frame after padding with zeros."""
POINTS = N_FFT // 2
"""Complex numbers of the transform: even samples are the real parts, odd samples the imaginary ones."""
COMPLEX = 2 * TILE
"""Floats of a vector of complex numbers."""
_angles = -2 * np.pi * np.arange(N_FFT) / N_FFT
TURNS = np.stack([np.cos(_angles), np.sin(_angles)], axis=1).astype(np.float32)
"""Real and imaginary part of each of 512 steps around the circle."""

ORDER = np.arange(POINTS).reshape(4, 4, 4, 4).transpose().ravel().copy()
"""Index of each number of the spectrum after all steps: its four digits in reverse."""

Real = npt.NDArray[np.float32]


@kernel("(float32[::1], float32[:, ::1])", fastmath={"contract", "nsz"})
def _transform(z: Real, turns: Real) -> None:
    """The Fourier transform of `POINTS` vectors of complex numbers, in place; the result is in `ORDER`."""
    size = POINTS
    while size > 1:
        quarter = size // 4
        for base in range(0, POINTS, size):
            butterfly(z, COMPLEX * base, COMPLEX * quarter, ())
        for p in range(1, quarter):
            k = p * N_FFT // size
            one, two, three = turns[k], turns[2 * k], turns[3 * k]
            all_turns = (one[0], one[1], two[0], two[1], three[0], three[1])
            for base in range(0, POINTS, size):
                butterfly(z, COMPLEX * (base + p), COMPLEX * quarter, all_turns)
        size = quarter


@kernel("(float32[::1], float32[:, ::1], int64[::1], float32[::1])", fastmath={"contract", "nsz"})
def _magnitudes(z: Real, turns: Real, order: Indices, magnitudes: Real) -> None:
    """Fills `magnitudes` with twice those of the real numbers whose transform as complex numbers is `z`."""
    for k in range(POINTS // 2 + 1):
        here, mirrored = order[k], order[(POINTS - k) % POINTS]
        turn = (turns[k, 0], turns[k, 1])
        two_powers(z, COMPLEX * here, COMPLEX * mirrored, turn, magnitudes, TILE * k, TILE * (POINTS - k))
    for index in range(len(magnitudes)):
        magnitudes[index] = np.sqrt(magnitudes[index])


@kernel(
    "(float32[::1], int64, float32[::1], float32[:, ::1], int64[::1],"
    "float32[:, ::1], int64[::1], int64[::1])",
    fastmath={"contract", "nsz"},
)
def mel_magnitudes(
    y: Signal,
    hop_length: int,
    window: Real,
    turns: Real,
    order: Indices,
    weights_MF: Real,
    starts: Indices,
    ends: Indices,
) -> Real:
    """Weighted sums of the magnitudes of each frame, shape (T, M); for the bands see `mel.band_sums`.

    There must be at least 16 frames and 16 bands, and the length of the window must be a multiple of 16.
    """
    length, bands = len(window), len(weights_MF)
    count = 1 + (len(y) - length) // hop_length
    mel_TM = np.empty((count, bands), np.float32)
    samples = np.empty((N_FFT, TILE), np.float32)
    z = samples.reshape(N_FFT * TILE)  # an even and an odd sample are the parts of a complex number
    S, sums = np.empty((POINTS + 1, TILE), np.float32), np.empty((bands, TILE), np.float32)
    wide_window = np.repeat(np.float32(0.5) * window, TILE)  # `_magnitudes` gives twice the magnitudes
    for tile in range(0, count, TILE):
        first = min(tile, count - TILE)
        for n in range(0, length, TILE):
            transpose_tile(y, first * hop_length + n, hop_length, samples, n * TILE, TILE)
        for index in range(len(wide_window)):
            z[index] *= wide_window[index]
        samples[length:] = 0
        _transform(z, turns)
        _magnitudes(z, turns, order, S.reshape((POINTS + 1) * TILE))
        band_sums(S, weights_MF, starts, ends, sums)
        transpose_back(sums, mel_TM, first)
    return mel_TM
