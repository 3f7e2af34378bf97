"""The prediction of each input of a track alone, for models that fuse several inputs."""

from pyspark.sql import SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.warehouse import Warehouse
from genremill.jobs import snapshots
from genremill.jobs.features import input_selection
from genremill.models.model_card import read_card

TOP = 3
"""Labels that are kept for each input."""

InputPredictions = dict[str, dict[str, float]]
"""By input, the probability of its likeliest labels, highest first."""


def of_track(spark: SparkSession, warehouse: Warehouse, track_id: str, model: str) -> InputPredictions:
    """The predictions of the inputs that a current track has; empty if the model does not fuse inputs."""
    folder, tracks = warehouse.path("models", model), warehouse.require("tracks", "ingest --tracks …")
    if not storage.is_object(f"{folder}/model.json"):  # the model was removed
        return {}
    card = read_card(folder)
    if len(card.inputs) < 2:
        return {}
    from genremill.models import artifact  # imported here because torch takes seconds
    from genremill.models.networks.fusion import Fusion
    from genremill.udfs.model_rows import model_rows

    loaded = artifact.load(folder)
    if not isinstance(loaded.network, Fusion):
        return {}
    inputs = input_selection.of_model(warehouse, tracks, card)
    track = snapshots.read(spark, warehouse, tracks).where(F.col("track_id") == track_id)
    values = inputs.with_inputs(spark, track).select(*inputs.columns).toArrow()
    rows = model_rows(values.combine_chunks().to_batches()[0], loaded, inputs.positions)
    present = dict(zip(card.inputs, rows.present_IT, strict=True))
    predictions: InputPredictions = {}
    for name, p_RC in loaded.network.alone(next(rows.chunks())).items():
        if present[name].all():
            top = p_RC.mean(dim=0).topk(min(TOP, len(card.classes)))
            pairs = zip(top.indices.tolist(), top.values.tolist(), strict=True)
            predictions[name] = {card.classes[index]: float(f"{p:.7g}") for index, p in pairs}
    return predictions
