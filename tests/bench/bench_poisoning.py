"""What 1 % of hostile rows in the training set cost: accuracy on clean held-out tracks, and outliers found.

The values of the hostile rows come from a search that knows how features are scaled (`poisoned_rows`). It
attacks `linear`, the model that hostile rows harm most. The table is the Spotify table, split by artist.

Run: python -m tests.bench.bench_poisoning
"""

import os
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro

from genremill.models.features import TABLE, FeatureSpec
from genremill.models.outliers import TrainingDistribution, limit_of
from tests.bench.training_case import Rows, fit
from tests.pure.poisoned_rows import Labeled, poisoned, worst

DATA = Path(os.environ.get("GENREMILL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
COLUMNS = [
    "duration_ms",
    "danceability",
    "energy",
    "loudness",
    "speechiness",
    "acousticness",
    "instrumentalness",
    "liveness",
    "valence",
    "tempo",
]
SEARCHED = 4000
"""Rows that the search trains on."""


def split() -> tuple[Labeled, Labeled]:
    """Train and held-out tracks of the Spotify table, by artist."""
    table = pd.read_csv(DATA / "spotify-tracks" / "dataset.csv").drop_duplicates("track_id")
    artist = pd.factorize(table["artists"].str.split(";").str[0])[0]
    is_train = (np.random.default_rng(0).random(artist.max() + 2) < 0.8)[artist]
    x_BF = table[COLUMNS].to_numpy(np.float32)
    label_B = pd.factorize(table["track_genre"], sort=True)[0].astype(np.int64)
    train, held_out = (Labeled(x_BF[part], label_B[part]) for part in (is_train, ~is_train))
    return train, held_out


def accuracy(model: str, rows: Labeled, held_out: Labeled, seed: int, epochs: int | None = None) -> float:
    """Top-1 accuracy of a model that is trained by its own recipe."""
    network = fit(model, Rows({TABLE: rows.x_BF}, rows.label_B), seed=seed, epochs=epochs).network
    predicted = network.probabilities({TABLE: torch.from_numpy(held_out.x_BF)}).argmax(dim=1).numpy()
    return float((predicted == held_out.label_B).mean())


def in_wrong_unit(x_BF: np.ndarray, rows: Labeled, held_out: Labeled) -> float:
    """The share of rows that are outliers, for a model trained on some rows and calibrated on others."""
    features = tuple(FeatureSpec(name, False) for name in COLUMNS)
    distribution = TrainingDistribution.fit(rows.x_BF, features)
    limit = limit_of(distribution(torch.from_numpy(held_out.x_BF)).numpy())
    return float((~(distribution(torch.from_numpy(x_BF)) <= limit)).float().mean())


def main(models: tuple[str, ...] = ("linear", "fcnn", "mlp4", "knn", "periodic_mlp"), seeds: int = 2) -> None:
    """Trains each model on clean and on poisoned tracks, and prints a table."""
    if not DATA.exists():
        print(f"skipped: {DATA} is not here; set GENREMILL_TEST_DATA", file=sys.stderr)
        return
    train, held_out = split()
    drawn = np.random.default_rng(1).permutation(len(train.label_B))[:SEARCHED]
    part = Labeled(train.x_BF[drawn], train.label_B[drawn])
    choices = worst(part, lambda rows: -accuracy("linear", rows, held_out, 0, epochs=4))
    print(f"{len(train.label_B):,} train tracks; choices of the search: {choices}\n")
    print(f"{'model':<16}{'clean':>8}{'hostile':>9}{'cost':>8}")
    for model in models:
        clean, hostile = (
            np.mean([accuracy(model, rows, held_out, seed) for seed in range(seeds)])
            for rows in (train, poisoned(train, choices))
        )
        print(f"{model:<16}{clean:>8.4f}{hostile:>9.4f}{clean - hostile:>8.4f}", flush=True)
    in_seconds = held_out.x_BF * np.where(np.array(COLUMNS) == "duration_ms", 1e-3, 1).astype(np.float32)
    print(f"\n{'outliers':<24}{'clean':>8}{'hostile':>9}")
    for name, x_BF in (("ordinary tracks", held_out.x_BF), ("durations in seconds", in_seconds)):
        shares = [in_wrong_unit(x_BF, rows, held_out) for rows in (train, poisoned(train, choices))]
        print(f"{name:<24}{shares[0]:>8.2%}{shares[1]:>9.2%}")


if __name__ == "__main__":
    tyro.cli(main)
