"""Any mix of inputs: each alone, each removed, all and none, on held-out artists."""

import itertools
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyspark.sql import SparkSession

from genremill.infra.warehouse import Warehouse
from genremill.jobs import cli
from genremill.jobs.evaluation import held_out_tracks
from genremill.models import artifact
from genremill.udfs.tagging import Predicted

ARTISTS, EACH, GENRES, WIDTH = 1200, 4, 8, 12
COLUMNS = {
    "table": ("table_features",),
    "text": ("title", "album", "artists"),
    "text:lyrics": ("texts",),
    "tags:lastfm": ("tags",),
    "vectors:clap": ("windows of inputs",),
}
"""The columns of each input."""
WORSE = 0.01
"""A mix may be worse than the best of its inputs by this share of the tracks."""


def words(random: np.random.Generator, genre: int, count: int, certainty: float) -> list[str]:
    """Words, of which some belong to the genre."""
    of_genre = random.random(count) < certainty
    numbers = random.integers(0, 20, count)
    return [f"g{genre}w{n % 5}" if own else f"word{n}" for own, n in zip(of_genre, numbers, strict=True)]


def table(path: Path) -> str:
    """A catalog with five inputs; each says something about the genre, and each is often missing."""
    random = np.random.default_rng(0)
    number_centers, centers = random.normal(size=(GENRES, 4)), random.normal(size=(GENRES, WIDTH))
    rows = []
    for number in range(ARTISTS * EACH):
        artist, genre = number // EACH, (number // EACH) % GENRES
        has = random.random(4) > 0.25
        numbers = number_centers[genre] + 1.3 * random.normal(size=4)
        vector = centers[genre] + 2.5 * random.normal(size=WIDTH)
        rows.append(
            {
                "track_id": f"t{number:05d}",
                "track_name": " ".join(words(random, genre, 3, 0.2)),
                "artists": f"artist{artist}",
                "track_genre": f"genre {genre}",
                **{f"n{at}": float(value) if has[0] else None for at, value in enumerate(numbers)},
                "lyrics": " ".join(words(random, genre, 30, 0.08)) if has[1] else None,
                "lastfm": words(random, genre, 2, 0.5) if has[2] else None,
                "clap": vector.tolist() if has[3] else None,
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return str(path)


@pytest.fixture(scope="module")
def accuracies(
    spark: SparkSession, tmp_path_factory: pytest.TempPathFactory
) -> Mapping[frozenset[str], float]:
    """The accuracy of one model on the same held-out tracks, by the inputs that they have."""
    folder = tmp_path_factory.mktemp("mixes")
    where = ["--warehouse", str(folder / "wh")]
    columns = ["--columns.text", "lyrics", "--columns.tags", "lastfm", "--columns.vectors", "clap"]
    shares = ["--fractions", "0.5", "0.2", "0.3"]
    assert cli.main(["ingest", *where, "--tracks", table(folder / "t.parquet"), *columns, *shares]) == 0
    assert cli.main(["train", *where, "--epochs", "12"]) == 0
    inputs = held_out_tracks.resolve(Warehouse.at(str(folder / "wh")), None)
    assert set(inputs.model.card.inputs) == set(COLUMNS)
    tracks = inputs.features.with_inputs(spark, inputs.read_tracks(spark).where("split = 'test'"))
    held_out = tracks.select("genres", *inputs.features.columns).toArrow().combine_chunks()
    (batch,) = held_out.to_batches()
    label_T = np.array([genres[0] for genres in batch.column("genres").to_pylist()])
    model = artifact.load(inputs.model.folder)
    found = {}
    for size in range(1, len(COLUMNS) + 1):
        for mix in itertools.combinations(COLUMNS, size):
            kept = {column for name in mix for column in COLUMNS[name]}
            parts = [
                batch.column(name) if name in kept else pa.nulls(len(batch), batch.column(name).type)
                for name in inputs.features.columns
            ]
            only = pa.RecordBatch.from_arrays(parts, names=inputs.features.columns)
            predicted = Predicted.of(only, model, inputs.features.positions)
            has_T = predicted.has.to_numpy(zero_copy_only=False)
            right_T = np.zeros(len(batch), np.bool_)
            top_T = np.array(model.card.classes)[predicted.p_TC.argmax(axis=1)]
            right_T[has_T] = top_T == label_T[has_T]
            found[frozenset(mix)] = float(right_T.mean())
    nothing = [pa.nulls(len(batch), batch.column(name).type) for name in inputs.features.columns]
    none = pa.RecordBatch.from_arrays(nothing, names=inputs.features.columns)
    assert not any(Predicted.of(none, model, inputs.features.positions).has.to_pylist())
    return found


def test_each_input_alone_is_better_than_chance(accuracies: Mapping[frozenset[str], float]) -> None:
    for name in COLUMNS:
        assert accuracies[frozenset([name])] > 1.5 / GENRES, name


def test_no_mix_is_worse_than_its_best_part(accuracies: Mapping[frozenset[str], float]) -> None:
    for mix, accuracy in accuracies.items():
        best = max(accuracies[part] for part in accuracies if part < mix) if len(mix) > 1 else 0.0
        assert accuracy >= best - WORSE, (sorted(mix), accuracy, best)


def test_all_inputs_together_are_better_than_the_best_one(accuracies: Mapping[frozenset[str], float]) -> None:
    best = max(accuracies[frozenset([name])] for name in COLUMNS)
    assert accuracies[frozenset(COLUMNS)] > best + 0.1
