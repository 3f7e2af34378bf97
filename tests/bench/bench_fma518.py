"""Milliseconds of the 518 statistics of a 30 s clip on one core, compared with librosa in the same run.

`OMP_NUM_THREADS=1 python -m tests.bench.bench_fma518`: librosa is called in two ways. The script of the FMA
dataset shares one STFT and one constant-Q transform; the other way calls each function on the signal.
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import tyro

from genremill.udfs.feature_sets.fma518 import Fma518
from tests.audio import librosa_fma518
from tests.audio.audio_corpus import real_clip, real_paths, song


@dataclass(frozen=True)
class Options:
    """How many clips, their length, and how often each run is repeated; the fastest counts."""

    clips: int = 6
    seconds: float = 30.0
    repeats: int = 7


def milliseconds(repeats: int, runs: list[Callable[[], object]]) -> list[float]:
    """Fastest time of each of several runs, which take turns so that other load affects all alike.

    This is processor time, not wall time, because other processes may be running.
    """
    fastest = [float("inf")] * len(runs)
    for _ in range(repeats):
        for index, run in enumerate(runs):
            started = time.process_time()
            run()
            fastest[index] = min(fastest[index], 1000 * (time.process_time() - started))
    return fastest


def main(options: Options) -> None:
    """Prints a line for each clip."""
    warnings.simplefilter("ignore")
    features = Fma518()
    features.warm()
    clips = {"song": song(options.seconds)} | {
        path.stem[:20]: y
        for path in real_paths()
        if len(y := real_clip(path, options.seconds)) >= 0.9 * options.seconds * features.sr
    }
    print(f"{'clip':22}{'genremill':>10}{'script':>8}{'ratio':>7}{'each on y':>11}{'ratio':>7}   ms, times")
    for name, y in list(clips.items())[: options.clips]:
        runs: list[Callable[[], object]] = [
            partial(features.values, y),
            partial(librosa_fma518.statistics_of_script, y),
            partial(librosa_fma518.statistics_of_signal, y),
        ]
        own, script, each = milliseconds(options.repeats, runs)
        print(f"{name:22}{own:10.1f}{script:8.0f}{script / own:7.1f}{each:11.0f}{each / own:7.1f}")


if __name__ == "__main__":
    main(tyro.cli(Options))
