"""Milliseconds of the 518 statistics of a 30 s clip on one core, against librosa, in one run.

`OMP_NUM_THREADS=1 python -m tests.bench.bench_fma518`: librosa once as the dataset's script calls it, one
STFT and one constant-Q transform for all features, and once with each function called on the signal.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import tyro

from genremill.udfs.fma518 import Fma518
from tests.pure import librosa_fma518
from tests.pure.audio_corpus import real_clip, real_paths, song


@dataclass(frozen=True)
class Options:
    """How long a clip, and how often each is repeated; the fastest counts."""

    seconds: float = 30.0
    repeats: int = 7


def best_of(repeats: int, run: Callable[[], object]) -> float:
    """Milliseconds of the fastest of several runs, the first not counted."""
    times = []
    run()
    for _ in range(repeats):
        # Of the process, not of the clock: other work on the machine may not count.
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return 1000 * min(times)


def main(options: Options) -> None:
    """Prints one line a clip."""
    warnings.simplefilter("ignore")
    features = Fma518()
    clips = {"song": song(options.seconds)} | {
        path.stem[:20]: y
        for path in real_paths()
        if len(y := real_clip(path, options.seconds)) >= 0.9 * options.seconds * features.sr
    }
    print(f"{'clip':22}{'genremill':>10}{'script':>8}{'ratio':>7}{'each on y':>11}{'ratio':>7}   ms, times")
    for name, y in list(clips.items())[:6]:
        own = best_of(options.repeats, lambda y=y: features.values(y))  # type: ignore[misc]
        script = best_of(options.repeats // 2, lambda y=y: librosa_fma518.statistics_of_script(y))  # type: ignore[misc]
        each = best_of(1, lambda y=y: librosa_fma518.statistics_of_signal(y))  # type: ignore[misc]
        print(f"{name:22}{own:10.1f}{script:8.0f}{script / own:7.1f}{each:11.0f}{each / own:7.1f}")


if __name__ == "__main__":
    main(tyro.cli(Options))
