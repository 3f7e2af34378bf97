"""Accuracy of the models on sequences and on embeddings of real clips, for artists not seen in training.

Sequences: 2,205 clips of 11 genres, as ten windows of the 57 features of report B; the mean over five folds
with different artists. `knn` predicts each window separately, and its predictions are pooled.
Embeddings: the GTZAN clips, as five layers of 32 values of a small pretrained network, on the split that is
filtered for faults and artists; no choice was made on its test part.

The benchmark takes about 20 minutes on two cores, most of it for sequences. `--only` runs a part of it:

    python -m tests.bench.bench_sequences --only embeddings
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import tyro
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from genremill.infra.log import start_log
from genremill.models.networks.base import Network
from genremill.models.pooling import Pooling, pooled
from tests.bench.training_case import Rows, fit

DATA = Path(os.environ.get("GENREMILL_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
WINDOWS, FEATURES = 10, 57
FOLDS = 5
SEEDS = (0, 1, 2)
OF_SEQUENCES = ("cnn", "lstm", "gru", "cnn_lstm")
OF_WINDOWS = ("knn",)


@dataclass(frozen=True)
class Options:
    """Which parts to run."""

    only: tuple[str, ...] = ("sequences", "embeddings")
    models: tuple[str, ...] = OF_SEQUENCES + OF_WINDOWS


def probabilities(network: Network, rows: Rows) -> NDArray[np.float32]:
    """The probability of each class for each row."""
    p_NC: NDArray[np.float32] = network.probabilities(
        {name: torch.from_numpy(x) for name, x in rows.inputs.items()}
    ).numpy()
    return p_NC


def sequences(options: Options) -> None:
    """Prints the accuracy on five folds of artists."""
    table = pd.read_parquet(DATA / "window-features/windows57.parquet").sort_values(["track_id", "window"])
    clips = table.iloc[::WINDOWS]
    x_NW = table.iloc[:, -FEATURES:].to_numpy(np.float32).reshape(len(clips), -1)
    label_N = pd.factorize(clips["genre"], sort=True)[0]
    artist_N = clips["artist"].to_numpy()
    folds = list(StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0).split(x_NW, label_N, artist_N))
    print(f"{len(clips)} clips, {len(set(label_N))} genres; accuracy on {FOLDS} folds of artists")
    for model in options.models:
        right = [_right(model, x_NW, label_N, *fold) for fold in folds]
        folds_shown = " ".join(f"{right_T.mean():.3f}" for right_T in right)
        print(f"{model:<12}{np.concatenate(right).mean():.3f}   {folds_shown}", flush=True)


def _right(
    model: str,
    x_NW: NDArray[np.float32],
    label_N: NDArray[np.int64],
    train: NDArray[np.intp],
    test: NDArray[np.intp],
) -> NDArray[np.bool_]:
    """Which test clips of a fold are classified correctly."""
    if model in OF_SEQUENCES:
        clips = Rows({"windows57": x_NW}, label_N)
        network = fit(model, clips.at(train), shapes={"windows57": (WINDOWS, FEATURES)}).network
        p_TC = probabilities(network, clips.at(test))
    else:
        windows = Rows({"gtzan57": x_NW.reshape(-1, FEATURES)}, np.repeat(label_N, WINDOWS))
        network = fit(model, windows.at(_windows_of(train))).network
        p_RC = probabilities(network, windows.at(_windows_of(test)))
        p_TC = pooled(p_RC, np.full(len(test), WINDOWS), Pooling.MEAN)
    right_T: NDArray[np.bool_] = p_TC.argmax(axis=1) == label_N[test]
    return right_T


def _windows_of(clips: NDArray[np.intp]) -> NDArray[np.intp]:
    return (clips[:, None] * WINDOWS + np.arange(WINDOWS)).ravel()


def embeddings() -> None:
    """Prints the accuracy of a new head on frozen embeddings, on the filtered split of GTZAN."""
    folder = DATA / "gtzan-features"
    x_NF = np.hstack([np.load(folder / f"gtzan_genre_layer_{layer}.npy") for layer in range(5)]).astype(
        np.float32
    )
    index = pd.read_csv(folder / "gtzan_genre.csv")
    names = index["filepath"].str.extract(r"([a-z]+\.\d{5})")[0]
    index_of = {name: number for number, name in enumerate(names)}
    label_N = pd.factorize(names.str.split(".").str[0], sort=True)[0]
    part = {
        name: np.array([index_of[line] for line in (folder / f"filtered_{name}.txt").read_text().split()])
        for name in ("train", "valid", "test")
    }
    clips = Rows({"embedding": x_NF}, label_N)
    both = np.concatenate([part["train"], part["valid"]])
    print(
        f"{len(part['test'])} test clips, 10 genres; accuracy of vggish_transfer's head, {len(SEEDS)} seeds"
    )
    for train in (part["train"], both):
        right = []
        for seed in SEEDS:
            network = fit("vggish_transfer", clips.at(train), seed=seed).network
            p_TC = probabilities(network, clips.at(part["test"]))
            right.append(float((p_TC.argmax(axis=1) == label_N[part["test"]]).mean()))
        print(
            f"train {len(train):<6}{np.mean(right):.3f}   {' '.join(f'{share:.3f}' for share in right)}",
            flush=True,
        )


def main() -> None:
    """Prints the tables."""
    if not (DATA / "window-features").is_dir():
        print(f"{DATA} has no window-features; set GENREMILL_TEST_DATA to the folder with the real tables")
        return
    options = tyro.cli(Options)
    start_log("bench", "train")
    if "sequences" in options.only:
        sequences(options)
    if "embeddings" in options.only:
        embeddings()


if __name__ == "__main__":
    main()
