"""Which inputs a model gets: those that a flag names, or those that a trained model was made for."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import model_registry
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.cache import CachedSet
from genremill.jobs.features.model_inputs import ModelInputs
from genremill.jobs.features.track_vectors import TrackVectors, vectors_of
from genremill.jobs.snapshot_details import Kind, TracksDetails
from genremill.models.features import (
    ARTIST,
    AUTO,
    TABLE,
    TEXT,
    VECTORS,
    FeatureSpec,
    text_kind,
)
from genremill.models.model_card import ModelCard, refuse_removed_inputs
from genremill.udfs.dsp.augmentation import Variant
from genremill.udfs.feature_sets.onnx_description import ONNX

if TYPE_CHECKING:
    from genremill.models.zoo import Entry

FeatureRows = CachedSet | TrackVectors
"""The rows of a feature set."""


def chosen(
    warehouse: Warehouse, tracks: Snapshot, asked: str | None, model: "Entry | None", use_popularity: bool
) -> ModelInputs:
    """The inputs that the flag --inputs names.

    Without the flag, a model gets its feature set, or all inputs if it accepts tracks without some of them.
    Without a model, the result is the table if it has features, or else the only feature set of audio, or
    else all columns of vectors.
    """
    partial = model is not None and model.is_partial
    default = AUTO if partial else model.feature_set if model else None
    filled = _feature_sets(warehouse, tracks)
    names = _names(warehouse, tracks, filled, asked or default, partial)
    if ARTIST in names:
        raise UsageError(
            f"--inputs {asked}: the input {ARTIST!r} was replaced by `train --pool-artists`, which is on by "
            f"default. Leave out {ARTIST!r}"
        )
    table = [
        (position, FeatureSpec(feature.name, feature.kind is Kind.CATEGORICAL, feature.is_popularity))
        for position, feature in enumerate(TracksDetails.of(tracks).features)
        if use_popularity or not feature.is_popularity
    ]
    if not table and TABLE in names:
        raise UsageError(f"the tracks of run {tracks.run_id} have no table features to learn from")
    _refuse_unknown_texts(tracks, names)
    of_sets = [name for name in names if name != TABLE and not text_kind(name)]
    sets = {name: _newest(warehouse, name, filled) for name in of_sets}
    specs = {TABLE: [spec for _, spec in table]}
    for name, cached in sets.items():
        if cached.is_vector:
            specs[name] = [FeatureSpec(value, categorical=False, input=name) for value in cached.values]
    return ModelInputs(
        names=names,
        features=tuple(spec for name in names for spec in specs.get(name, ())),
        positions=tuple(position for position, _ in table) if TABLE in names else (),
        sets=sets,
        shapes={name: cached.shape for name, cached in sets.items() if not cached.is_vector},
        partial=partial,
    )


def of_model(warehouse: Warehouse, tracks: Snapshot, card: ModelCard) -> ModelInputs:
    """The inputs that a trained model needs; raises if it cannot get them.

    That is if the warehouse lacks one of its feature sets of audio, or this version one of its inputs.
    Tracks that lack a column of vectors have no vectors.
    """
    from genremill.models import zoo  # here: torch takes seconds

    refuse_removed_inputs(card, f"this model, {card.model},")
    filled = feature_cache.filled_sets(warehouse) if card.fingerprints else []
    path = warehouse.path(tracks.path)
    sets: dict[str, FeatureRows] = {
        name: TrackVectors(name.removeprefix(VECTORS), card.width(name), path)
        if name.startswith(VECTORS)
        else _set_of_model(warehouse, filled, name, card)
        for name in card.fingerprints
    }
    return ModelInputs(
        names=card.inputs,
        features=card.features,
        positions=model_registry.positions(card, tracks),
        sets=sets,
        shapes=card.shapes,
        partial=zoo.entry(card.model).is_partial,
    )


def _feature_sets(warehouse: Warehouse, tracks: Snapshot) -> list[FeatureRows]:
    """The feature sets that have rows: of the track table, and of audio, oldest first."""
    return [*vectors_of(warehouse, tracks), *feature_cache.filled_sets(warehouse)]


def _newest(warehouse: Warehouse, name: str, filled: Sequence[FeatureRows]) -> FeatureRows:
    """The newest feature set of this name; raises `UsageError` without one."""
    named = [each for each in filled if each.name == name]
    if not named:
        names = ", ".join(sorted({each.name for each in filled})) or "none"
        raise UsageError(
            f"{warehouse.uri} has no features of the set {name!r}; it has: {names}. {_how_to_get(name)}"
        )
    return named[-1]


def _how_to_get(name: str) -> str:
    if name.startswith(VECTORS):
        return f"Run `genremill ingest --columns.vectors {name.removeprefix(VECTORS)}`"
    return f"Run `genremill extract --features {f'{ONNX}FILE' if name.startswith(ONNX) else name}`"


def _set_of_model(warehouse: Warehouse, filled: Sequence[CachedSet], name: str, card: ModelCard) -> CachedSet:
    named = {cached.fingerprint: cached for cached in filled if cached.name == name}
    fingerprint = card.fingerprints[name]
    if fingerprint not in named:
        raise UsageError(
            f"the model needs features of the set {name!r} with fingerprint {fingerprint}; {warehouse.uri} "
            f"has: {', '.join(named) or 'none'}. Train on those, or get features with the model's settings"
        )
    return named[fingerprint]


def of_variants(
    warehouse: Warehouse, inputs: ModelInputs, variants: Sequence[Variant]
) -> dict[str, ModelInputs]:
    """The same inputs from augmented audio, by variant; raises if a variant of a feature set is missing."""
    if not variants:
        return {}
    of_audio = {name: of for name, of in inputs.sets.items() if isinstance(of, CachedSet)}
    if not of_audio:
        raise UsageError(f"--augment: the inputs {'+'.join(inputs.names)} contain no features of audio")
    cached = {name: feature_cache.variants(warehouse, of) for name, of in of_audio.items()}
    for variant in variants:
        for name, sets in cached.items():
            if variant.value not in sets:
                raise UsageError(
                    f"--augment {variant.value}: {warehouse.uri} has no such features of the set {name!r}; "
                    f"it has: {', '.join(sorted(sets)) or 'none'}. "
                    f"Run `genremill extract --features {name} --augment {variant.value}`"
                )
    return {
        variant.value: dataclasses.replace(
            inputs,
            sets={**inputs.sets} | {name: sets[variant.value] for name, sets in cached.items()},
        )
        for variant in variants
    }


def _names(
    warehouse: Warehouse,
    tracks: Snapshot,
    filled: Sequence[FeatureRows],
    asked: str | None,
    partial: bool,
) -> tuple[str, ...]:
    """The names that a flag gives; `AUTO` stands for all inputs that exist."""
    named = asked.split("+") if asked is not None else []
    if named and AUTO not in named:
        return _different(asked, named)
    has_table = bool(TracksDetails.of(tracks).features)
    sets = sorted({cached.name for cached in filled if cached.is_vector or not partial})
    texts = [TEXT, *TracksDetails.of(tracks).texts] if partial else []
    existing = ([TABLE] if has_table else []) + texts + sets
    if not existing:
        raise UsageError(
            f"the tracks of run {tracks.run_id} have no table features, and {warehouse.uri} has no features "
            "of audio. Run `genremill extract --audio-root …`"
        )
    if named:
        return _different(asked, [each for name in named for each in (existing if name == AUTO else [name])])
    if has_table or partial:
        return (existing[0],)
    of_audio = [name for name in sets if not name.startswith(VECTORS)]
    if len(of_audio) > 1:
        raise UsageError(f"--inputs is needed: one or more of {', '.join(sets)}, joined by +")
    return tuple(of_audio or sets)


def _refuse_unknown_texts(tracks: Snapshot, names: Sequence[str]) -> None:
    """Raises if the tracks have no such column of text or of tags."""
    known = TracksDetails.of(tracks).texts
    if unknown := [name for name in names if text_kind(name) and name not in (TEXT, *known)]:
        raise UsageError(
            f"--inputs {'+'.join(names)}: the tracks of run {tracks.run_id} have no {unknown[0]}; they have: "
            f"{', '.join(known) or 'none'}. Name the column with --columns.text or --columns.tags of ingest"
        )


def _different(asked: str | None, names: list[str]) -> tuple[str, ...]:
    if "" in names or len(set(names)) < len(names):
        raise UsageError(f"--inputs {asked}: expected different names, joined by +")
    return tuple(names)
