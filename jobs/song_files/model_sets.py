"""The feature sets of audio that a trained model needs, with the settings that they were made with."""

from collections.abc import Iterator

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import model_registry
from genremill.jobs.features import set_record
from genremill.jobs.features.set_record import FeatureSetRecord
from genremill.jobs.song_files.labels import Reading
from genremill.models.features import VECTORS
from genremill.models.model_card import ModelCard
from genremill.udfs.audio_windows import Extractor
from genremill.udfs.decoding.settings import DecodeSettings, Offset
from genremill.udfs.feature_sets import base, registry
from genremill.udfs.feature_sets.base import WHOLE, FeatureSet

Settings = dict[str, object]
"""How audio is read: seconds, offset and windows."""
USUAL_SECONDS, USUAL_WINDOWS = 30.0, (WHOLE, 3.0)
"""Settings that are tried for a model whose warehouse is not known, besides the windows of its set."""


def model_at(location: str) -> tuple[str, Warehouse | None]:
    """The folder of a model, and its warehouse if it is in one; raises `UsageError` if there is no model.

    The location is the folder, or a warehouse: then it is its newest model that no audit has refused.
    """
    uri = storage.absolute_uri(location)
    if storage.is_object(f"{uri}/model.json"):
        root, _, version = uri.rpartition("/models/")
        return uri, Warehouse(root) if root and version.count("/") == 1 else None
    if not storage.exists(uri) or storage.is_object(uri) or not storage.folders(f"{uri}/models"):
        raise UsageError(f"--model {location}: expected a folder with model.json, or a warehouse with models")
    warehouse = Warehouse.at(uri)
    return model_registry.folder_of(warehouse)[1], warehouse


def sets_of(card: ModelCard) -> list[str]:
    """The feature sets of audio among the inputs of a model; columns of vectors are not audio."""
    return [name for name in card.inputs if name in card.fingerprints and not name.startswith(VECTORS)]


def check_inputs(card: ModelCard, partial: bool) -> None:
    """Raises `UsageError` if audio alone is not enough for a model."""
    of_audio = sets_of(card)
    others = [name for name in card.inputs if name not in of_audio]
    if not of_audio or (others and not partial):
        lacking = (
            "no features of audio" if not of_audio else f"{', '.join(others)}, which a file does not have"
        )
        raise UsageError(
            f"--model: {card.model} takes {' + '.join(card.inputs)}: {lacking}. Expected a model that needs "
            "nothing but audio, such as `genremill train --inputs gtzan57`, or use `genremill score`"
        )


def extractor_of(card: ModelCard, name: str, warehouse: Warehouse | None, reading: Reading) -> Extractor:
    """How the features of a set are computed; raises `UsageError` if they would differ from the model's."""
    features = _features(name)
    record = _record(warehouse, name, card.fingerprints[name])
    for settings in [_reading(record)] if record else _usual(features):
        described = base.record(features, settings)
        if base.fingerprint(described) == card.fingerprints[name]:
            return _extractor(features, settings, reading)
    raise UsageError(_other_features(name, card.fingerprints[name], features, record))


def _features(name: str) -> FeatureSet:
    try:
        return registry.named(name)
    except UsageError as err:
        raise UsageError(
            f"--model: its feature set {name} needs a file that the model does not contain, or does not "
            "exist in this version. Use `genremill extract` and `genremill score`"
        ) from err


def _record(warehouse: Warehouse | None, name: str, fingerprint: str) -> FeatureSetRecord | None:
    """The record of the set in the warehouse of the model; None if it is not there."""
    if warehouse is None:
        return None
    path = f"{set_record.folder_of(warehouse, fingerprint)}/{set_record.RECORD}"
    if not storage.is_object(path):
        return None
    record = records.from_json(storage.read_bytes(path), FeatureSetRecord, path)
    return record if record.name == name else None


def _reading(record: FeatureSetRecord) -> Settings:
    return {key: record.settings[key] for key in ("seconds", "offset", "windows") if key in record.settings}


def _usual(features: FeatureSet) -> Iterator[Settings]:
    default = features.default_windows
    first = default if default == WHOLE else float(default)
    for windows in (first, *USUAL_WINDOWS):
        for offset in Offset:
            yield {"seconds": USUAL_SECONDS, "offset": offset.value, "windows": windows}


def _extractor(features: FeatureSet, settings: Settings, reading: Reading) -> Extractor:
    windows = settings["windows"]
    decode = DecodeSettings(
        sr=features.sr,
        seconds=float(str(settings["seconds"])),
        offset=Offset(str(settings["offset"])),
        ffmpeg=reading.ffmpeg,
    )
    window_s = None if windows == WHOLE else float(str(windows))
    return Extractor(reading.store, features, decode, window_s, barrier=reading.barrier)


def _other_features(
    name: str, fingerprint: str, features: FeatureSet, record: FeatureSetRecord | None
) -> str:
    text = f"--model: it was trained on features of the set {name} with fingerprint {fingerprint}, "
    if record is None:
        return f"{text}whose settings are not known. Name the warehouse of the model: --model WAREHOUSE"
    described = base.record(features, _reading(record)) | {"created_at": record.created_at}
    now = records.from_json(records.to_json(described), FeatureSetRecord, name)
    changed = "; ".join(set_record.differences(record, now)) or "other names of values"
    return f"{text}which this version cannot compute: {changed}. Extract the features and train again"
