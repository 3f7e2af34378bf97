"""Why a track has its tag: what each input predicts alone, and which words and tags speak for the label."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa
from pyspark.sql import Row, SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import input_selection
from genremill.models.model_card import read_card

if TYPE_CHECKING:  # torch takes seconds
    from genremill.models.networks.fusion import Fusion
    from genremill.udfs.model_rows import ModelRows

LIKELIEST = 3
"""Labels in the prediction of each input."""
TELLING = 5
"""Words and tags of each input."""


@dataclass(frozen=True)
class Explanation:
    """What the parts of a model say about a track; empty if the model does not fuse several inputs."""

    by_input: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The prediction of each input alone: probability of its likeliest labels, highest first."""
    tokens: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By input that is text: the tokens that speak most for the likeliest label, and their evidence."""


def explained(
    spark: SparkSession, warehouse: Warehouse, track_id: str, tracks: Snapshot, tag: Row, *, with_tokens: bool
) -> Explanation:
    """The explanation of a row of `tags`."""
    folder = warehouse.path("models", tag["model_version"])
    if not storage.is_object(f"{folder}/model.json"):  # the model was removed
        return Explanation()
    from genremill.models import artifact  # imported here because torch takes seconds
    from genremill.models.networks.fusion import Fusion
    from genremill.udfs.model_rows import model_rows

    try:
        card = read_card(folder)
        loaded = artifact.load(folder) if len(card.inputs) > 1 or with_tokens else None
    except UsageError:  # a model of an earlier version, or a damaged one
        return Explanation()
    if loaded is None or not isinstance(loaded.network, Fusion):
        return Explanation()
    inputs = input_selection.of_model(warehouse, tracks, card)
    track = snapshots.read(spark, warehouse, tracks).where(F.col("track_id") == track_id)
    values = inputs.with_inputs(spark, track).select(*inputs.columns).toArrow()
    (batch,) = values.combine_chunks().to_batches()
    rows = model_rows(batch, loaded, inputs.positions)
    if not rows.tracks:
        return Explanation()
    present = dict(zip(card.inputs, rows.present_IT, strict=True))
    by_input = {}
    for name, p_RC in loaded.network.alone(next(rows.chunks())).items():
        if present[name].all():
            top = p_RC.mean(dim=0).topk(min(LIKELIEST, len(card.classes)))
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            by_input[name] = {card.classes[index]: short(p) for index, p in pairs}
    if not with_tokens or not tag["top"]:
        return Explanation(by_input)
    label = card.classes.index(tag["label"] or tag["top"][0]["label"])
    texts = [name for name in card.tokens if present[name].all()]
    return Explanation(by_input, {name: _tokens(batch, rows, loaded.network, name, label) for name in texts})


def _tokens(
    batch: pa.RecordBatch, rows: "ModelRows", network: "Fusion", name: str, label: int
) -> dict[str, float]:
    """The words and tags of one input that speak most for a label, with their evidence, highest first."""
    import torch

    from genremill.models.encoders.text import TextEncoder
    from genremill.models.encoders.text_tokens import token_texts
    from genremill.models.networks.fusion import counts_of
    from genremill.models.networks.text import TokenCounts, TokenEmbedding
    from genremill.udfs.tokens import fields_of

    counts, embedding = network.networks[counts_of(name)], network.networks[name]
    if not (isinstance(counts, TokenCounts) and isinstance(embedding, TokenEmbedding)):
        return {}
    encoder: TextEncoder = embedding.encoder
    texts: dict[int, str] = {}
    for field_number, cells in enumerate(fields_of(batch, name)):
        texts |= token_texts(encoder.kind, cells[0], field_number)
    number_S = torch.from_numpy(rows.inputs[name][0])
    number_S = number_S[number_S > 0]
    evidence: dict[str, float] = {}
    for number, part in zip(number_S.tolist(), counts.by_token(number_S, label).tolist(), strict=True):
        text = texts[int(encoder.hash_V[number - 1])]
        evidence[text] = evidence.get(text, 0.0) + part
    best = sorted((text for text in evidence if evidence[text] > 0), key=lambda text: -evidence[text])
    return {text: short(evidence[text]) for text in best[:TELLING]}


def short(value: float) -> float:
    """A float32 as its shortest decimal number."""
    return float(f"{value:.7g}")
