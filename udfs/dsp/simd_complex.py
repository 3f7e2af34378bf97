"""Complex numbers in vector registers, 16 side by side: the steps of a Fourier transform of real numbers."""

from llvmlite import ir
from numba import types

from genremill.udfs.dsp.simd import TILE, VECTOR, Code, intrinsic, load_vector, vector_at

Number = tuple[Code, Code]
"""Real and imaginary parts, a vector each; in memory, the imaginary parts follow the real ones."""


class _Arithmetic:
    """Generates code for arithmetic with vectors of complex numbers."""

    def __init__(self, context: Code, builder: Code) -> None:
        self._context, self._builder = context, builder

    def load(self, array_type: Code, array: Code, index: Code) -> Number:
        """The numbers at a flat index of an array."""
        real = load_vector(self._context, self._builder, array_type, array, index)
        return real, load_vector(self._context, self._builder, array_type, array, self._after(index))

    def store(self, number: Number, array_type: Code, array: Code, index: Code) -> None:
        """Writes numbers to a flat index of an array."""
        self.store_vector(number[0], array_type, array, index)
        self.store_vector(number[1], array_type, array, self._after(index))

    def store_vector(self, vector: Code, array_type: Code, array: Code, index: Code) -> None:
        """Writes floats to a flat index of an array."""
        pointer = vector_at(self._context, self._builder, array_type, array, index)
        self._builder.store(vector, pointer, align=4)

    def repeated(self, pair: Code, index: int) -> Number:
        """One complex number, at `index` of a tuple of floats, in all places of a vector."""
        undefined, zeros = ir.Constant(VECTOR, ir.Undefined), ir.VectorType(ir.IntType(32), TILE)([0] * TILE)
        parts = []
        for part in (index, index + 1):
            value = self._builder.extract_value(pair, part)
            first = self._builder.insert_element(undefined, value, ir.IntType(32)(0))
            parts.append(self._builder.shuffle_vector(first, undefined, zeros))
        return parts[0], parts[1]

    def add(self, a: Number, b: Number) -> Number:
        """The sum."""
        return self._builder.fadd(a[0], b[0]), self._builder.fadd(a[1], b[1])

    def sub(self, a: Number, b: Number) -> Number:
        """The difference."""
        return self._builder.fsub(a[0], b[0]), self._builder.fsub(a[1], b[1])

    def mul(self, a: Number, b: Number) -> Number:
        """The product; LLVM may multiply and add in one step."""
        build, fused = self._builder, ("contract",)
        straight = [build.fmul(a[part], b[part], flags=fused) for part in (0, 1)]
        across = [build.fmul(a[part], b[1 - part], flags=fused) for part in (0, 1)]
        return build.fsub(*straight, flags=fused), build.fadd(*across, flags=fused)

    def times_i(self, a: Number) -> Number:
        """The product with the imaginary unit."""
        return self._builder.fneg(a[1]), a[0]

    def conjugate(self, a: Number) -> Number:
        """The complex conjugate."""
        return a[0], self._builder.fneg(a[1])

    def power(self, a: Number) -> Code:
        """The squared magnitude, a vector of floats."""
        build, fused = self._builder, ("contract",)
        squares = [build.fmul(part, part, flags=fused) for part in a]
        return build.fadd(*squares, flags=fused)

    def _after(self, index: Code) -> Code:
        return self._builder.add(index, index.type(TILE))


@intrinsic
def butterfly(_typing: Code, z: Code, start: Code, step: Code, turns: Code) -> Code:
    """One butterfly of radix 4 of the numbers at `start`, `start + step`, … of `z`, in place.

    It then multiplies the last three by `turns`: three pairs of real and imaginary part, or () for no change.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        z, start, step, turns = args
        math = _Arithmetic(context, builder)
        indices = [start]
        for _ in range(3):
            indices.append(builder.add(indices[-1], step))
        a, b, c, d = (math.load(signature.args[0], z, index) for index in indices)
        even, odd = math.add(a, c), math.sub(a, c)
        other_even, other_odd = math.add(b, d), math.times_i(math.sub(b, d))
        numbers = [
            math.add(even, other_even),
            math.sub(odd, other_odd),
            math.sub(even, other_even),
            math.add(odd, other_odd),
        ]
        for turn in range(len(signature.args[3]) // 2):
            numbers[turn + 1] = math.mul(numbers[turn + 1], math.repeated(turns, 2 * turn))
        for number, index in zip(numbers, indices, strict=True):
            math.store(number, signature.args[0], z, index)
        return context.get_dummy_value()

    return types.void(z, start, step, turns), write


@intrinsic
def two_powers(
    _typing: Code, z: Code, here: Code, mirrored: Code, turn: Code, target: Code, to: Code, other: Code
) -> Code:
    """Four times the powers of two bins of 512 real numbers, from their transform as 256 complex numbers.

    The numbers k and 256 - k are at `here` and `mirrored` of `z`. Bin k goes to `to`, bin 256 - k to `other`.
    """

    def write(context: Code, builder: Code, signature: Code, args: Code) -> Code:
        z, here, mirrored, turn, target, to, other = args
        math = _Arithmetic(context, builder)
        first = math.load(signature.args[0], z, here)
        second = math.conjugate(math.load(signature.args[0], z, mirrored))
        even, odd = math.add(first, second), math.sub(first, second)
        # The transform multiplies by -i; the signs below compensate for that.
        turned = math.times_i(math.mul(odd, math.repeated(turn, 0)))
        math.store_vector(math.power(math.sub(even, turned)), signature.args[4], target, to)
        math.store_vector(math.power(math.add(even, turned)), signature.args[4], target, other)
        return context.get_dummy_value()

    return types.void(z, here, mirrored, turn, target, to, other), write
