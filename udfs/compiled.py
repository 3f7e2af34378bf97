"""Which functions numba compiles, and whether their compiled form lies in numba's cache.

Compiling takes seconds, loading milliseconds: `python -m genremill.udfs.compiled` compiles when a machine
or an image is set up, and workers only load. The cache is numba's: `__pycache__` beside the modules
where that is writable, else the user's cache folder, or `NUMBA_CACHE_DIR`; an entry holds for one kind of CPU
and one state of the source file.
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

MODULES = (
    "dsp.simd",
    "dsp.spectra",
    "dsp.pitch",
    "dsp.waveform",
    "dsp.medians",
    "dsp.hpss",
    "dsp.rhythm",
    "feature_sets.gtzan57",
    "dsp.mel_frames",
)
"""Modules of this package that have kernels."""
COMMAND = "python -m genremill.udfs.compiled"

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Kernel:
    """One compiled function and the only argument types that it is called with."""

    dispatcher: Any
    arguments: tuple[Any, ...]

    def is_cached(self) -> bool:
        """Whether the compiled form lies in the cache; compiles nothing."""
        cache = self.dispatcher._cache
        key = cache._index_key(self.arguments, self.dispatcher.targetctx.codegen())
        return cache._cache_file.load(key) is not None

    def is_loaded(self) -> bool:
        """Whether this process has the compiled form."""
        return self.arguments in self.dispatcher.overloads

    def load(self) -> None:
        """Loads the compiled form; where it is not in the cache, compiles it and puts it there."""
        if not self.is_loaded():
            self.dispatcher.compile(self.arguments)


_KERNELS: list[Kernel] = []


def kernel(signature: str, *, fastmath: set[str] | bool = False) -> Callable[[F], F]:
    """Decorator of a function that numba compiles, for the arguments in `signature`: `(float32[::1], int64)`.

    It releases the interpreter's lock. `fastmath` names the liberties that LLVM may take with rounding.
    """

    def decorate(function: F) -> F:
        # Python's error model looks at each divisor first, and no loop with a division would be vectorised.
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
    """Whether all kernels lie in the cache, so that a first call loads and does not compile."""
    return all(one.is_cached() for one in kernels())


def require_warm() -> None:
    """Loads all kernels; one that is not in the cache is a `UsageError`.

    From then on a call with other argument types is an error too, not a compilation in the middle of a task.
    """
    for one in kernels():
        if not one.is_loaded() and not one.is_cached():
            name, where = one.dispatcher.__name__, one.dispatcher.stats.cache_path
            raise UsageError(f"{name} is not compiled: nothing for this CPU in {where}; run {COMMAND}")
        one.load()
        one.dispatcher.disable_compile()


def compile_missing() -> int:
    """Compiles what is not in the cache yet; gives how many functions that were."""
    missing = [one for one in kernels() if not one.is_cached()]
    for one in missing:
        one.load()
    return len(missing)


def compile_librosas() -> None:
    """Compiles what librosa compiles when its modules are imported: `show` draws with it.

    Of two processes that do this at once numba keeps halves that do not fit together, and every later call
    crashes (numba issue 10128); so it is done here, once.
    """
    import librosa

    for module in pkgutil.walk_packages(librosa.__path__, "librosa."):
        if module.name != "librosa.display":  # has nothing to compile, and imports matplotlib
            importlib.import_module(module.name)


def main() -> None:
    """Compiles what is not in the cache yet, and says how long it took."""
    started = time.perf_counter()
    count = compile_missing()
    compile_librosas()
    seconds = time.perf_counter() - started
    where = kernels()[0].dispatcher.stats.cache_path
    print(f"{count} of {len(kernels())} kernels, and librosa's, compiled in {seconds:.1f} s; cache: {where}")


if __name__ == "__main__":
    # As __main__ this file is a second module, whose list of kernels stays empty.
    from genremill.udfs import compiled

    compiled.main()
