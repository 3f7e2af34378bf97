"""Rows a second of the shard reader (petastorm) and of plain pyarrow, alone and into one training step.

One torch thread, as TorchDistributor gives each rank: beside other work on the same two cores, a step of
two threads took up to twenty times as long as a step of one.

Run: python tests/bench/bench_loader.py
"""

import itertools
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn

from genremill.models.shards import Manifest, ShardReader, manifest_of

ROWS = 200_000
WIDTH = 15
CLASSES = 114
BATCH = 512
EPOCHS = 2

Batches = Iterator[tuple[dict[str, Tensor], Tensor]]


def write_shards(folder: Path) -> Manifest:
    """Random features and labels: 20 row groups in two files."""
    rng = np.random.default_rng(0)
    for index in range(2):
        values = pa.array(rng.standard_normal(ROWS // 2 * WIDTH, dtype=np.float32))
        features = pa.FixedSizeListArray.from_arrays(values, WIDTH).cast(pa.list_(pa.float32()))
        label = rng.integers(CLASSES, size=ROWS // 2, dtype=np.int32)
        rows = pa.table({"table": features, "label": label})
        pq.write_table(rows, folder / f"part-{index}.parquet", row_group_size=ROWS // 20)
    return manifest_of(str(folder), "bench")


def plain_pyarrow(folder: Path, epoch: int) -> Batches:
    """The same batches by pyarrow alone: all files at once, one permutation."""
    rows = pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])
    lists = rows["table"].combine_chunks()
    features = torch.from_numpy(
        lists.flatten().to_numpy(zero_copy_only=False, writable=True).reshape(-1, WIDTH)
    )
    label = torch.from_numpy(rows["label"].to_numpy().astype(np.int64))
    order = torch.from_numpy(np.random.default_rng(epoch).permutation(ROWS))
    for start in range(0, ROWS, BATCH):
        chosen = order[start : start + BATCH]
        yield {"table": features.index_select(0, chosen)}, label.index_select(0, chosen)


def load(batches: Batches) -> None:
    for _ in batches:
        pass


def train(batches: Batches) -> None:
    """A 30-512-256-128-114 MLP; the 15 features are given twice."""
    torch.manual_seed(0)
    sizes = [2 * WIDTH, 512, 256, 128]
    hidden = [(nn.Linear(a, b), nn.BatchNorm1d(b), nn.ReLU()) for a, b in itertools.pairwise(sizes)]
    model = nn.Sequential(*itertools.chain(*hidden), nn.Linear(sizes[-1], CLASSES))
    optimizer = torch.optim.AdamW(model.parameters())
    for inputs, label in batches:
        loss = nn.functional.cross_entropy(model(inputs["table"].repeat(1, 2)), label)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def rows_per_second(consume: Callable[[Batches], None], epoch: Callable[[int], Batches]) -> list[float]:
    """Of each epoch in turn."""
    found = []
    for number in range(EPOCHS):
        start = time.perf_counter()
        consume(epoch(number))
        found.append(ROWS / (time.perf_counter() - start))
    return found


def main() -> None:
    """Prints the table."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader = ShardReader(name, write_shards(folder), BATCH)
        load(reader.epoch(0))  # imports petastorm
        print(f"{ROWS:,} rows of {WIDTH} floats, batch {BATCH}, one thread; rows/s of {EPOCHS} epochs")
        for doing, consume in (("loading", load), ("training", train)):
            for reading, epoch in (
                ("petastorm", reader.epoch),
                ("pyarrow", lambda number: plain_pyarrow(folder, number)),
            ):
                figures = "".join(f"{figure:>12,.0f}" for figure in rows_per_second(consume, epoch))
                print(f"{doing:10}{reading:10}{figures}")


if __name__ == "__main__":
    main()
