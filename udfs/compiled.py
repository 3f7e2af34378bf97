"""The functions that numba compiles, and whether numba's cache has their compiled form.

Compiling takes seconds, loading milliseconds. `genremill doctor --compile` compiles when a machine is set up,
otherwise the first command that needs it, and workers only load. numba's cache is `NUMBA_CACHE_DIR`, or
`__pycache__` beside the modules if that is writable, or the user's cache folder. An entry is valid for one
kind of CPU and one state of the source file.
"""

import importlib
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numba
from numba.core import sigutils

from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.infra.progress_lines import shown

_DSP = ("simd", "mel", "mel_frames", "spectral_shape", "pitch", "waveform", "medians", "hpss", "rhythm")
MODULES = (*(f"dsp.{name}" for name in _DSP), "feature_sets.gtzan57")
"""The modules of this package that have kernels."""
COMMAND = "genremill doctor --compile"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kernel:
    """One compiled function and the argument types of all its calls."""

    dispatcher: Any
    arguments: tuple[Any, ...]

    def is_cached(self) -> bool:
        """Whether the cache has the compiled form."""
        cache = self.dispatcher._cache
        key = cache._index_key(self.arguments, self.dispatcher.targetctx.codegen())
        return cache._cache_file.load(key) is not None

    def load(self) -> None:
        """Loads the compiled form; if the cache does not have it, compiles it and adds it to the cache."""
        if self.arguments not in self.dispatcher.overloads:
            self.dispatcher.compile(self.arguments)


_KERNELS: list[Kernel] = []


def kernel(signature: str, *, fastmath: set[str] | bool = False) -> Callable[[F], F]:
    """Decorator of a function that numba compiles for the argument types in `signature`.

    The function releases the interpreter's lock. `fastmath` lists the changes of rounding that LLVM may make.
    """

    def decorate(function: F) -> F:
        # Python's error model checks each divisor, which prevents the vectorization of loops with a division.
        compiler = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=fastmath)
        dispatcher: Any = compiler(function)
        arguments, _ = sigutils.normalize_signature(signature)  # type: ignore[no-untyped-call]
        _KERNELS.append(Kernel(dispatcher, tuple(arguments)))
        decorated: F = dispatcher
        return decorated

    return decorate


def kernels() -> list[Kernel]:
    """All kernels of the package."""
    for module in MODULES:
        importlib.import_module(f"genremill.udfs.{module}")
    return list(_KERNELS)


def is_warm() -> bool:
    """Whether the cache has all kernels, so that a first call loads and does not compile."""
    return all(kernel.is_cached() for kernel in kernels())


def require_warm() -> None:
    """Loads all kernels; raises `UsageError` if the cache does not have one of them.

    After that, a call with other argument types is an error too, and never compiles in the middle of a task.
    """
    for kernel in kernels():
        if kernel.arguments not in kernel.dispatcher.overloads and not kernel.is_cached():
            fault = f"{kernel.dispatcher.__name__} is not compiled for this CPU"
            folder = kernel.dispatcher.stats.cache_path
            raise UsageError(f"{fault}: {folder} has no entry for it; run {COMMAND}")
        kernel.load()
        kernel.dispatcher.disable_compile()


def compile_missing() -> int:
    """Compiles librosa, and the kernels that the cache does not have, and shows progress.

    Returns the number of these kernels.
    """
    missing = [kernel for kernel in kernels() if not kernel.is_cached()]
    done = 0

    def line() -> str:
        return f"compiling for this machine, once: {done} of {len(missing)} functions"

    with shown(line):
        compile_librosa()  # first, so that `require_warm` only succeeds after it
        for kernel in missing:
            kernel.load()
            done += 1
    return len(missing)


def make_warm() -> None:
    """Compiles all kernels if the cache does not have them; for the driver and tools, not for workers."""
    if not is_warm():
        LOGGER.info("compiling for this machine, once; `%s` does this in advance", COMMAND)
        compile_missing()


def compile_librosa() -> None:
    """Imports all modules of librosa, which compile functions when they are imported for the first time.

    If two processes did this at the same time, numba's cache would mix their results, and every later call
    would crash (numba issue 10128). Workers import librosa for its filters, and `show` for its plots.
    """
    import librosa

    for module in pkgutil.walk_packages(librosa.__path__, "librosa."):
        if module.name != "librosa.display":  # it compiles nothing, and imports matplotlib
            importlib.import_module(module.name)


def main() -> None:
    """Compiles everything that numba's cache does not have, and prints how long that took."""
    started = time.perf_counter()
    count = compile_missing()
    seconds = time.perf_counter() - started
    folder = kernels()[0].dispatcher.stats.cache_path
    print(f"compiled {count} of {len(kernels())} kernels, and librosa's, in {seconds:.1f} s; cache: {folder}")


if __name__ == "__main__":
    # Under the name __main__ this file is a second module, whose list of kernels stays empty.
    from genremill.udfs import compiled

    compiled.main()
