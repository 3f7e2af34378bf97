"""Trains a model on arrays in memory, by the training loop in a separate process."""

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from genremill.models import artifact, zoo
from genremill.models.encoders.table import with_limits
from genremill.models.encoders.text_tokens import Known
from genremill.models.features import TEXT, FeatureSpec, ScalingRule
from genremill.models.model_card import ModelCard
from genremill.models.networks.base import Network
from genremill.models.training import checkpoints, local_ranks, manifest
from genremill.models.training.checkpoints import Checkpoint
from genremill.models.training.plan import Plan


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows of inputs, flat and float32 (int32 for names), and their labels."""

    inputs: Mapping[str, NDArray[Any]]
    label: NDArray[np.int64]

    def at(self, places: NDArray[np.integer]) -> "Rows":
        """Some of the rows."""
        return Rows({name: x[places] for name, x in self.inputs.items()}, self.label[places])


@dataclass(frozen=True, eq=False)
class Fit:
    """The outcome of a training by the model's own recipe."""

    card: ModelCard
    last: Checkpoint

    @property
    def network(self) -> Network:
        """The network with the best weights, ready to predict."""
        network = artifact.build(self.card)
        network.load_state_dict(self.last.part("best"))
        return network.eval()

    @property
    def seconds(self) -> list[float]:
        """Seconds of each epoch, including validation."""
        return [epoch.seconds for epoch in self.last.progress.history]


def fit(
    model: str,
    train: Rows,
    validation: Rows | None = None,
    *,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    parts: tuple[str, ...] = (),
    seed: int = 0,
    known: Known | None = None,
    epochs: int | None = None,
) -> Fit:
    """Trains a model; `known` is the vocabulary to which the token numbers refer."""
    entry, rows, shapes = zoo.entry(model), len(train.label), dict(shapes or {})
    features = tuple(
        FeatureSpec(f"{name} {at}", False, input=name)
        for name, x in train.inputs.items()
        if name not in shapes and name != TEXT
        for at in range(x.shape[1])
    )
    names = list(dict.fromkeys(feature.input for feature in features))
    card = ModelCard(
        model=model,
        classes=tuple(str(number) for number in range(int(train.label.max()) + 1)),
        features=with_limits(np.hstack([train.inputs[name] for name in names]), features) if names else (),
        size=entry.size(rows),
        categories=0,
        labels="genre",
        use_popularity=False,
        clusters={},
        genre_map={},
        inputs=tuple(train.inputs),
        shapes=shapes,
        scaling_rule=ScalingRule.ROBUST,
        parts=parts,
        tokens={} if known is None else {TEXT: len(known)},
    )
    encoder = zoo.encoder(card)
    encoder.learn(train.inputs if known is None else {**train.inputs, TEXT: known})
    tensors = {f"encoder.{name}": value for name, value in encoder.state_dict().items()}
    recipe = entry.recipe(rows)
    with tempfile.TemporaryDirectory() as folder:
        uri = f"file://{folder}"
        plan = Plan(
            card=card,
            recipe=recipe if epochs is None else replace(recipe, epochs=epochs),
            seed=seed,
            workers=1,
            threads=1,
            train=write_shards(f"{folder}/train", train),
            validation=None if validation is None else write_shards(f"{folder}/validation", validation),
            initial=uri,
            initial_sha256=artifact.write_weights(f"{uri}/encoder.safetensors", tensors),
            checkpoints=f"{uri}/checkpoints",
            run_id="bench",
        )
        local_ranks.train(plan, ())
        last = checkpoints.newest(plan.checkpoints)
    if last is None:
        raise SystemExit(f"{model}: the training left no checkpoint")
    return Fit(card, last)


def write_shards(folder: str, rows: Rows) -> str:
    """Writes rows as shards of four row groups into a new folder; returns its URI."""
    Path(folder).mkdir()
    columns = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])
        for name, x in rows.inputs.items()
    }
    columns = {name: one.cast(pa.list_(one.type.value_type)) for name, one in columns.items()}
    table = pa.table(columns | {manifest.LABEL: rows.label})
    pq.write_table(table, f"{folder}/part-0.parquet", row_group_size=-(-len(rows.label) // 4))
    manifest.write_manifest(f"file://{folder}", manifest.manifest_of(f"file://{folder}", "bench"))
    return f"file://{folder}"
