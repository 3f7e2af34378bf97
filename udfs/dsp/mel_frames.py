"""Mel magnitudes of many short frames, sixteen at once in vector registers.

Several times as fast as a library's transform, as no frame, spectrum or product with zeros is ever written
out: frames are read from the signal side by side, transformed as 256 complex numbers by four steps of radix 4
in Stockham's order, and their magnitudes summed band by band. In single precision.
"""

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types

from genremill.udfs.compiled import kernel
from genremill.udfs.dsp.simd import LANES, TILE, Code, intrinsic, lanes_at, transpose_back, transpose_tile
from genremill.udfs.feature_sets.base import Signal

N_FFT = 512
"""Samples that a frame is padded to."""
POINTS = N_FFT // 2
"""Complex numbers that they are transformed as: even samples real, odd ones imaginary."""
COMPLEX = 2 * TILE
"""Floats of one complex number in all lanes: real parts, then imaginary ones."""
BINS_AT_ONCE = 4
_angles = -2 * np.pi * np.arange(N_FFT) / N_FFT
TURNS = np.stack([np.cos(_angles), np.sin(_angles)], axis=1).astype(np.float32)
"""Real and imaginary part of each of 512 steps around the circle."""

ORDER = np.arange(POINTS).reshape(4, 4, 4, 4).transpose().ravel().copy()
"""Where each complex number of the spectrum lies after all steps: its four digits the other way round."""

Real = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Number = tuple[Code, Code]


class _Lanes:
    """Writes code for arithmetic with complex numbers in all lanes."""

    def __init__(self, context: Code, builder: Code) -> None:
        self._context, self._builder = context, builder

    def load(self, kind: Code, array: Code, at: Code) -> Number:
        """The number at a flat index."""
        return self._load(kind, array, at), self._load(kind, array, self._behind(at))

    def store(self, number: Number, kind: Code, array: Code, at: Code) -> None:
        """Puts a number to a flat index."""
        for part, place in zip(number, (at, self._behind(at)), strict=True):
            self.store_part(part, kind, array, place)

    def store_part(self, part: Code, kind: Code, array: Code, at: Code) -> None:
        """Puts one float a lane to a flat index."""
        self._builder.store(part, lanes_at(self._context, self._builder, kind, array, at), align=4)

    def everywhere(self, real: Code, imaginary: Code) -> Number:
        """One number in all lanes."""
        undefined, zeros = ir.Constant(LANES, ir.Undefined), ir.VectorType(ir.IntType(32), TILE)([0] * TILE)
        parts = []
        for part in (real, imaginary):
            first = self._builder.insert_element(undefined, part, ir.IntType(32)(0))
            parts.append(self._builder.shuffle_vector(first, undefined, zeros))
        return parts[0], parts[1]

    def add(self, a: Number, b: Number) -> Number:
        """Their sum."""
        return self._builder.fadd(a[0], b[0]), self._builder.fadd(a[1], b[1])

    def sub(self, a: Number, b: Number) -> Number:
        """Their difference."""
        return self._builder.fsub(a[0], b[0]), self._builder.fsub(a[1], b[1])

    def mul(self, a: Number, b: Number) -> Number:
        """Their product; LLVM may add and multiply in one step."""
        build, fused = self._builder, ("contract",)
        straight = [build.fmul(a[at], b[at], flags=fused) for at in (0, 1)]
        across = [build.fmul(a[at], b[1 - at], flags=fused) for at in (0, 1)]
        return build.fsub(*straight, flags=fused), build.fadd(*across, flags=fused)

    def times_i(self, a: Number) -> Number:
        """A quarter turn on."""
        return self._builder.fneg(a[1]), a[0]

    def conjugate(self, a: Number) -> Number:
        """Its mirror image."""
        return a[0], self._builder.fneg(a[1])

    def power(self, a: Number) -> Code:
        """Square of how long it is, in each lane."""
        build, fused = self._builder, ("contract",)
        squares = [build.fmul(part, part, flags=fused) for part in a]
        return build.fadd(*squares, flags=fused)

    def _load(self, kind: Code, array: Code, at: Code) -> Code:
        return self._builder.load(lanes_at(self._context, self._builder, kind, array, at), align=4)

    def _behind(self, at: Code) -> Code:
        return self._builder.add(at, at.type(TILE))


@intrinsic
def butterfly(_typing: Code, z: Code, at: Code, step: Code, turns: Code) -> Code:
    """One step of radix 4 of the numbers at `at`, `at + step`, … of `z`, in place.

    The last three are then turned by `turns`, three pairs of real and imaginary part; or by nothing, of ().
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        z, at, step, turns = args
        lanes = _Lanes(context, builder)
        places = [at]
        for _ in range(3):
            places.append(builder.add(places[-1], step))
        a, b, c, d = (lanes.load(signature.args[0], z, place) for place in places)
        even, odd = lanes.add(a, c), lanes.sub(a, c)
        other_even, other_odd = lanes.add(b, d), lanes.times_i(lanes.sub(b, d))
        found = [
            lanes.add(even, other_even),
            lanes.sub(odd, other_odd),
            lanes.sub(even, other_even),
            lanes.add(odd, other_odd),
        ]
        for at_turn in range(len(signature.args[3]) // 2):
            pair = [builder.extract_value(turns, 2 * at_turn + part) for part in (0, 1)]
            found[at_turn + 1] = lanes.mul(found[at_turn + 1], lanes.everywhere(*pair))
        for number, place in zip(found, places, strict=True):
            lanes.store(number, signature.args[0], z, place)
        return context.get_dummy_value()

    return types.void(z, at, step, turns), write


@intrinsic
def two_powers(
    _typing: Code, z: Code, at: Code, mirrored: Code, turn: Code, target: Code, to: Code, other: Code
) -> Code:
    """Four times the powers of two bins of 512 real numbers, from the 256 complex ones that they were.

    Bin k goes to `to`, bin 256 - k to `other`; numbers k and 256 - k lie at `at` and `mirrored` of `z`.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        z, at, mirrored, turn, target, to, other = args
        lanes = _Lanes(context, builder)
        here = lanes.load(signature.args[0], z, at)
        there = lanes.conjugate(lanes.load(signature.args[0], z, mirrored))
        even, odd = lanes.add(here, there), lanes.sub(here, there)
        pair = lanes.everywhere(*(builder.extract_value(turn, part) for part in (0, 1)))
        turned = lanes.times_i(lanes.mul(odd, pair))  # the transform has -i, which the signs below see to
        lanes.store_part(lanes.power(lanes.sub(even, turned)), signature.args[4], target, to)
        lanes.store_part(lanes.power(lanes.add(even, turned)), signature.args[4], target, other)
        return context.get_dummy_value()

    return types.void(z, at, mirrored, turn, target, to, other), write


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
    """Weighted sums of each frame's magnitudes, shape (T, M).

    There are at least 16 frames, and a window is a multiple of 16 samples long. A band's weights are zero
    outside its start and end, which are a multiple of four bins apart.
    """
    length, bands = len(window), len(weights_MF)
    count = 1 + (len(y) - length) // hop_length
    found = np.empty((count, bands), np.float32)
    samples = np.empty((N_FFT, TILE), np.float32)
    z = samples.reshape(N_FFT * TILE)  # an even and an odd sample are the parts of a complex number
    S = np.empty((POINTS + 1, TILE), np.float32)
    flat_S, sums = S.reshape((POINTS + 1) * TILE), np.empty((bands, TILE), np.float32)
    wide_window = np.repeat(np.float32(0.5) * window, TILE)  # magnitudes come out twice as large
    for tile in range(0, count, TILE):
        first = min(tile, count - TILE)
        for n in range(0, length, TILE):
            transpose_tile(y, first * hop_length + n, hop_length, samples, n * TILE, TILE)
        for at in range(len(wide_window)):
            z[at] *= wide_window[at]
        samples[length:] = 0
        size = POINTS
        while size > 1:
            quarter = size // 4
            for base in range(0, POINTS, size):
                butterfly(z, COMPLEX * base, COMPLEX * quarter, ())
            for p in range(1, quarter):
                k = p * N_FFT // size
                one, two, three = turns[k], turns[2 * k], turns[3 * k]
                of_all = (one[0], one[1], two[0], two[1], three[0], three[1])
                for base in range(0, POINTS, size):
                    butterfly(z, COMPLEX * (base + p), COMPLEX * quarter, of_all)
            size = quarter
        for k in range(POINTS // 2 + 1):
            here, there = order[k], order[(POINTS - k) % POINTS]
            turn = (turns[k, 0], turns[k, 1])
            two_powers(z, COMPLEX * here, COMPLEX * there, turn, S, TILE * k, TILE * (POINTS - k))
        for at in range(len(flat_S)):
            flat_S[at] = np.sqrt(flat_S[at])
        for m in range(bands):
            sums[m, :] = 0
            for k in range(starts[m], ends[m], BINS_AT_ONCE):
                a, b, c, d = weights_MF[m, k : k + BINS_AT_ONCE]
                for lane in range(TILE):
                    first_two = a * S[k, lane] + b * S[k + 1, lane]
                    last_two = c * S[k + 2, lane] + d * S[k + 3, lane]
                    sums[m, lane] += first_two + last_two
        transpose_back(sums, found, first)
    return found
