"""The cost of reading in training: rows per second of the shard reader (petastorm), pyarrow and an epoch.

The share is the seconds of the reader divided by those of a whole epoch. Inputs are random numbers with the
shape of the model's inputs. One thread is used, like in each rank of TorchDistributor.

    python -m tests.bench.bench_loader
"""

import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from torch import Tensor

from genremill.models import zoo
from genremill.models.encoders.text_tokens import KNOWN, text_width
from genremill.models.features import TABLE, TEXT, TextKind
from genremill.models.training.manifest import read_manifest
from genremill.models.training.shards import ShardReader
from tests.bench.bench_scoring import best_of
from tests.bench.training_case import Rows, fit, write_shards

CLASSES = 114
TOKENS, TOKENS_OF_A_TRACK = 120_000, 90
EPOCHS = 2

Batches = Iterator[tuple[dict[str, Tensor], Tensor]]


@dataclass(frozen=True)
class Case:
    """A model, its number of rows, and the widths or shapes of its inputs."""

    model: str
    rows: int
    inputs: dict[str, tuple[int, ...]]


CASES = (
    Case("periodic_mlp", 100_000, {TABLE: (15,)}),
    Case("fusion", 50_000, {TABLE: (15,), TEXT: (text_width(TextKind.NAMES),)}),
    Case("mlp4", 50_000, {"gtzan57": (57,)}),
    Case("timbre_cnn", 4_000, {"segments": (512, 24)}),
    Case("spectrogram_cnn", 8_000, {"spectrogram:mel": (1, 64, 64)}),
    Case("resnet", 4_000, {"logmel": (1, 96, 64)}),
)


def array_of(name: str, shape: tuple[int, ...], rows: int) -> NDArray[Any]:
    """Random values of an input; for names, token numbers followed by zeros."""
    rng = np.random.default_rng(0)
    if name != TEXT:
        return rng.standard_normal((rows, int(np.prod(shape))), dtype=np.float32)
    numbers = rng.integers(1, TOKENS + 1, size=(rows, *shape), dtype=np.int32)
    numbers[:, TOKENS_OF_A_TRACK:] = 0
    return numbers


def known_tokens() -> NDArray[np.void]:
    """As many tokens as there are in the names of the Spotify table."""
    known = np.zeros(TOKENS, KNOWN)
    known["hash"], known["rarity"] = np.arange(TOKENS), 5.0
    return known


def plain_pyarrow(folder: Path, batch: int) -> Batches:
    """The same batches, read by pyarrow alone and shuffled by one permutation."""
    rows = pq.read_table(folder / "part-0.parquet")
    x = {
        name: torch.from_numpy(
            rows[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).copy().reshape(len(rows), -1)
        )
        for name in rows.column_names[:-1]
    }
    label = torch.from_numpy(rows["label"].to_numpy().astype(np.int64))
    for chosen in torch.split(torch.from_numpy(np.random.default_rng(0).permutation(len(rows))), batch):
        yield (
            {name: values.index_select(0, chosen) for name, values in x.items()},
            label.index_select(0, chosen),
        )


def seconds(epoch: Callable[[], Batches]) -> float:
    """Seconds to read an epoch, the faster of two runs."""
    return best_of(2, lambda: deque(epoch(), maxlen=0))


def measure(case: Case) -> None:
    """Measures a case and prints its line."""
    arrays = {name: array_of(name, shape, case.rows) for name, shape in case.inputs.items()}
    rows = Rows(arrays, np.random.default_rng(1).integers(CLASSES, size=case.rows))
    shapes = {name: shape for name, shape in case.inputs.items() if len(shape) > 1}
    batch = zoo.entry(case.model).recipe(case.rows).batch
    with tempfile.TemporaryDirectory() as name:
        folder = write_shards(f"{name}/shards", rows)
        reader = ShardReader(folder, read_manifest(folder), batch)
        petastorm = seconds(lambda: reader.epoch(0))
        pyarrow = seconds(lambda: plain_pyarrow(Path(name) / "shards", batch))
    known = known_tokens() if TEXT in arrays else None
    epoch = min(fit(case.model, rows, shapes=shapes, known=known, epochs=EPOCHS).seconds)
    rates = "".join(f"{case.rows / duration:>12,.0f}" for duration in (petastorm, pyarrow, epoch))
    values = sum(x.shape[1] for x in arrays.values())
    print(f"{case.model:18}{batch:>6}{values:>8}{rates}{petastorm / epoch:>9.1%}", flush=True)


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    print(f"{'':18}{'batch':>6}{'values':>8}{'petastorm':>12}{'pyarrow':>12}{'training':>12}{'share':>9}")
    for case in CASES:
        measure(case)


if __name__ == "__main__":
    main()
