"""What each input of a track says by itself, where the model that tagged it asks them one by one."""

from pyspark.sql import SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.warehouse import Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import input_selection
from genremill.models.model_card import read_card

LIKELIEST = 3
"""Labels of each input."""

Answers = dict[str, dict[str, float]]
"""Probability of the likeliest labels, falling, by input."""


def of_track(spark: SparkSession, warehouse: Warehouse, track_id: str, model: str) -> Answers:
    """The answers of each input that a current track has; none where the model is gone or has one answer."""
    folder, tracks = warehouse.path("models", model), warehouse.require("tracks", "ingest --tracks …")
    if not storage.is_object(f"{folder}/model.json"):
        return {}
    card = read_card(folder)
    if len(card.inputs) < 2:
        return {}
    from genremill.models import artifact  # here: torch takes seconds to import
    from genremill.models.networks.fusion import Fusion
    from genremill.udfs.model_rows import model_rows

    loaded = artifact.load(folder)
    if not isinstance(loaded.network, Fusion):
        return {}
    taken = input_selection.of_model(warehouse, tracks, card)
    row = snapshots.read(spark, warehouse, tracks).where(F.col("track_id") == track_id)
    given = taken.of_all(spark, row).select(*taken.columns).toArrow()
    rows = model_rows(given.combine_chunks().to_batches()[0], loaded, taken.positions)
    found: Answers = {}
    for name, p_RC in loaded.network.alone(next(rows.chunks())).items():
        if dict(zip(card.inputs, rows.present_IT, strict=True))[name].all():
            top = p_RC.mean(dim=0).topk(min(LIKELIEST, len(card.classes)))
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            found[name] = {card.classes[at]: float(f"{p:.7g}") for at, p in pairs}
    return found
