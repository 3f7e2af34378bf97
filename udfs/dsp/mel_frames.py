"""Mel magnitudes of many short frames, 16 at once in vector registers.

Several times as fast as a library's transform, because frames and spectra stay in the cache. Frames are read
from the signal side by side, transformed as 256 complex numbers by four steps of radix 4 (decimation in
frequency, in place), and their magnitudes are added band by band. All in single precision.
"""

import numpy as np
from llvmlite import ir
from numba import types

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.mel import Indices, band_sums
from genremill.udfs.dsp.simd import TILE, VECTOR, Code, Vectors, intrinsic, transpose_back, transpose_tile
from genremill.udfs.dsp.spectra import Real
from genremill.udfs.feature_sets.base import Signal

N_FFT = 512
"""Samples of a frame after padding with zeros."""
POINTS = N_FFT // 2
"""Complex numbers of the transform: even samples are the real parts, odd samples the imaginary ones."""
COMPLEX = 2 * TILE
"""Floats of a vector of complex numbers: in memory, the imaginary parts follow the real ones."""
_angles = -2 * np.pi * np.arange(N_FFT) / N_FFT
TURNS = np.stack([np.cos(_angles), np.sin(_angles)], axis=1).astype(np.float32)
"""Real and imaginary part of each of 512 steps around the circle."""
ORDER = np.arange(POINTS).reshape(4, 4, 4, 4).transpose().ravel().copy()
"""Index of each number of the spectrum after all steps: its four digits in reverse."""
FUSED = ("contract",)
"""LLVM may multiply and add in one step."""

Number = tuple[Code, Code]
"""Real and imaginary parts, a vector each."""


class _Arithmetic:
    """Generates code for arithmetic with vectors of complex numbers."""

    def __init__(self, builder: Code) -> None:
        self._build = builder

    def load(self, z: Vectors, index: Code) -> Number:
        return z.load(index), z.load(self._build.add(index, index.type(TILE)))

    def store(self, number: Number, z: Vectors, index: Code) -> None:
        z.store(number[0], index)
        z.store(number[1], self._build.add(index, index.type(TILE)))

    def repeated(self, pair: Code, index: int) -> Number:
        """One complex number, at `index` of a tuple of floats, in all places of a vector."""
        undefined, zeros = ir.Constant(VECTOR, ir.Undefined), ir.VectorType(ir.IntType(32), TILE)([0] * TILE)
        parts = []
        for part in (index, index + 1):
            value = self._build.extract_value(pair, part)
            first = self._build.insert_element(undefined, value, ir.IntType(32)(0))
            parts.append(self._build.shuffle_vector(first, undefined, zeros))
        return parts[0], parts[1]

    def add(self, a: Number, b: Number) -> Number:
        return self._build.fadd(a[0], b[0]), self._build.fadd(a[1], b[1])

    def sub(self, a: Number, b: Number) -> Number:
        return self._build.fsub(a[0], b[0]), self._build.fsub(a[1], b[1])

    def mul(self, a: Number, b: Number) -> Number:
        straight = [self._build.fmul(a[part], b[part], flags=FUSED) for part in (0, 1)]
        across = [self._build.fmul(a[part], b[1 - part], flags=FUSED) for part in (0, 1)]
        return self._build.fsub(*straight, flags=FUSED), self._build.fadd(*across, flags=FUSED)

    def times_i(self, a: Number) -> Number:
        return self._build.fneg(a[1]), a[0]

    def conjugate(self, a: Number) -> Number:
        return a[0], self._build.fneg(a[1])

    def power(self, a: Number) -> Code:
        """The squared magnitude, a vector of floats."""
        return self._build.fadd(*(self._build.fmul(part, part, flags=FUSED) for part in a), flags=FUSED)


@intrinsic
def _butterfly(_typing: Code, z: Code, start: Code, step: Code, turns: Code) -> Code:
    """One butterfly of radix 4 of the numbers at `start`, `start + step`, … of `z`, in place.

    It then multiplies the last three by `turns`: three pairs of real and imaginary part, or () for no change.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        _, start, step, turns = args
        math, z = _Arithmetic(builder), Vectors(context, builder, signature.args[0], args[0])
        indices = [start]
        for _ in range(3):
            indices.append(builder.add(indices[-1], step))
        a, b, c, d = (math.load(z, index) for index in indices)
        even, odd = math.add(a, c), math.sub(a, c)
        other_even, other_odd = math.add(b, d), math.times_i(math.sub(b, d))
        numbers = [math.add(even, other_even), math.sub(odd, other_odd)]
        numbers += [math.sub(even, other_even), math.add(odd, other_odd)]
        for turn in range(len(signature.args[3]) // 2):
            numbers[turn + 1] = math.mul(numbers[turn + 1], math.repeated(turns, 2 * turn))
        for number, index in zip(numbers, indices, strict=True):
            math.store(number, z, index)
        return context.get_dummy_value()

    return types.void(z, start, step, turns), write


@intrinsic
def _two_powers(
    _typing: Code, z: Code, here: Code, mirrored: Code, turn: Code, target: Code, to: Code, other: Code
) -> Code:
    """Four times the powers of two bins of 512 real numbers, from their transform as 256 complex numbers.

    The numbers k and 256 - k are at `here` and `mirrored` of `z`. Bin k goes to `to`, bin 256 - k to `other`.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        _, here, mirrored, turn, _, to, other = args
        z, target = (Vectors(context, builder, signature.args[n], args[n]) for n in (0, 4))
        math = _Arithmetic(builder)
        first, second = math.load(z, here), math.conjugate(math.load(z, mirrored))
        even, odd = math.add(first, second), math.sub(first, second)
        # The transform multiplies by -i; the signs below compensate for that.
        turned = math.times_i(math.mul(odd, math.repeated(turn, 0)))
        target.store(math.power(math.sub(even, turned)), to)
        target.store(math.power(math.add(even, turned)), other)
        return context.get_dummy_value()

    return types.void(z, here, mirrored, turn, target, to, other), write


@kernel("(float32[::1],)", fastmath={"contract", "nsz"})
def _transform(z: Real) -> None:
    """The Fourier transform of `POINTS` vectors of complex numbers, in place; the result is in `ORDER`."""
    size = POINTS
    while size > 1:
        quarter = size // 4
        for base in range(0, POINTS, size):
            _butterfly(z, COMPLEX * base, COMPLEX * quarter, ())
        for p in range(1, quarter):
            k = p * N_FFT // size
            one, two, three = TURNS[k], TURNS[2 * k], TURNS[3 * k]
            all_turns = (one[0], one[1], two[0], two[1], three[0], three[1])
            for base in range(0, POINTS, size):
                _butterfly(z, COMPLEX * (base + p), COMPLEX * quarter, all_turns)
        size = quarter


@kernel("(float32[::1], float32[::1])", fastmath={"contract", "nsz"})
def _magnitudes(z: Real, magnitudes: Real) -> None:
    """Fills `magnitudes` with twice those of the real numbers whose transform as complex numbers is `z`."""
    for k in range(POINTS // 2 + 1):
        here, mirrored = ORDER[k], ORDER[(POINTS - k) % POINTS]
        turn = (TURNS[k, 0], TURNS[k, 1])
        _two_powers(z, COMPLEX * here, COMPLEX * mirrored, turn, magnitudes, TILE * k, TILE * (POINTS - k))
    for index in range(len(magnitudes)):
        magnitudes[index] = np.sqrt(magnitudes[index])


@kernel(
    "(float32[::1], int64, float32[::1], float32[:, ::1], int64[::1], int64[::1])",
    fastmath={"contract", "nsz"},
)
def mel_magnitudes(
    y: Signal, hop_length: int, window: Real, weights_MF: Real, starts: Indices, ends: Indices
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
        _transform(z)
        _magnitudes(z, S.reshape((POINTS + 1) * TILE))
        band_sums(S, weights_MF, starts, ends, sums)
        transpose_back(sums, mel_TM, first)
    return mel_TM
