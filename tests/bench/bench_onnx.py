"""The shipped music taggers in PyTorch and in ONNX Runtime: seconds for a clip of 30 s, in turn on one core.

Run: OMP_NUM_THREADS=1 python -m tests.bench.bench_onnx
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from genremill.models.pretrained.music_taggers import Tagger
from genremill.udfs.feature_sets import registry
from tests.audio import onnx_networks

REPEATS, SECONDS, SR = 7, 30, 16_000


def main() -> None:
    """Prints the seconds of each, and the largest difference of their values."""
    torch.set_num_threads(1)
    y = np.random.default_rng(0).normal(scale=0.1, size=SECONDS * SR).astype(np.float32)
    print(f"{'tagger':<14}{'PyTorch':>10}{'ONNX':>10}{'ratio':>8}{'difference':>13}")
    with tempfile.TemporaryDirectory() as folder:
        for tagger in Tagger:
            sets = (
                registry.named(tagger),
                registry.named(f"onnx:{onnx_networks.musicnn(Path(folder), tagger)}"),
            )
            values = [features.values(y) for features in sets]
            times = np.zeros((REPEATS, 2))
            for repeat in range(REPEATS):
                for index, features in enumerate(sets):
                    started = time.perf_counter()
                    features.values(y)
                    times[repeat, index] = time.perf_counter() - started
            own, other = times.min(axis=0)
            difference = float(np.abs(values[0] - values[1]).max())
            print(f"{tagger:<14}{own:>9.3f}s{other:>9.3f}s{own / other:>8.2f}{difference:>13.1e}")


if __name__ == "__main__":
    main()
