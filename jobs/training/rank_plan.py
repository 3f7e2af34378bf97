"""The plan of the ranks that train a model: its untrained model, recipe, data and checkpoints."""

import dataclasses
from typing import Any

import numpy.typing as npt
from torch import Tensor

from genremill.infra.log import LOGGER
from genremill.jobs import command
from genremill.jobs.contracts import Split
from genremill.jobs.training.dataset import TrainingSet
from genremill.jobs.training.settings import Config
from genremill.jobs.training.sources import Sources
from genremill.models import artifact, zoo
from genremill.models.encoders.base import joined_rows
from genremill.models.encoders.table import codes_in
from genremill.models.evaluation.held_out import Labels
from genremill.models.features import TEXT
from genremill.models.model_card import Cluster, ModelCard
from genremill.models.recipe import Recipe
from genremill.models.training import plan as training_plan
from genremill.models.training.plan import Plan

THREADS = 1
"""Threads per rank: small networks gain little from a second thread, and lose much if cores are shared."""


def planned(
    work: command.Run,
    cfg: Config,
    data: TrainingSet,
    sources: Sources,
    samples: dict[str, npt.NDArray[Any]],
) -> Plan:
    """The plan of the ranks, with encoders that are fitted on the samples."""
    entry = zoo.entry(cfg.model)
    recipe = _recipe(entry.recipe(data.train_rows), cfg)
    vectors_BF = joined_rows(samples, data.inputs.vectors)
    by_genre = Labels(cfg.labels) is Labels.GENRE
    genre_map, made_from = sources.genre_map, sources.inputs.made_from
    card = ModelCard(
        model=cfg.model,
        classes=data.classes,
        features=data.inputs.features,
        size=entry.size(data.train_rows),
        categories=len(codes_in(vectors_BF, data.inputs.features)),
        labels=cfg.labels.value,
        use_popularity=any(feature.is_popularity for feature in data.inputs.features),
        clusters={genre if by_genre else name: Cluster(number, name) for genre, number, name in genre_map},
        genre_map={genre: number for genre, number, _ in genre_map},
        inputs=data.inputs.names,
        shapes=dict(data.inputs.shapes),
        parts=cfg.part_names,
        tokens=0 if data.known is None else len(data.known),
        fingerprints=dict(data.inputs.fingerprints),
        pooling=cfg.pooling,
        together=data.together,
        snapshots={name: made_from[name] for name in ("tracks", "genre_map") if made_from[name]},
    )
    encoder = zoo.encoder(card)
    encoder.learn(samples if data.known is None else samples | {TEXT: data.known})
    network = entry.build(encoder, len(card.classes), card.size)
    plan = _plan(work, cfg, card, recipe, data, artifact.fitted(network))
    LOGGER.info(
        "%s from %s on %d rows of %d train pairs, %d classes: %d epochs of batch %d, %d worker(s)",
        *(cfg.model, "+".join(card.inputs), data.train_rows, data.rows[Split.TRAIN], len(data.classes)),
        *(recipe.epochs, recipe.batch, cfg.workers),
    )
    return plan


def _recipe(recipe: Recipe, cfg: Config) -> Recipe:
    flags = ("epochs", "batch", "learning_rate", "schedule", "patience")
    return dataclasses.replace(recipe, **{name: v for name in flags if (v := getattr(cfg, name)) is not None})


def _plan(
    work: command.Run,
    cfg: Config,
    card: ModelCard,
    recipe: Recipe,
    data: TrainingSet,
    fitted: dict[str, Tensor],
) -> Plan:
    bare = dataclasses.replace(card, snapshots={}, clusters={}, genre_map={})
    digest = training_plan.digest(bare, recipe, cfg.seed, cfg.workers, THREADS, list(data.digests))
    initial = work.warehouse.tmp(work.run_id, "initial")
    return Plan(
        card=card,
        recipe=recipe,
        seed=cfg.seed,
        workers=cfg.workers,
        threads=THREADS,
        train=data.train,
        validation=data.validation,
        initial=initial,
        initial_sha256=artifact.write_weights(f"{initial}/encoder.safetensors", fitted),
        checkpoints=work.warehouse.path("_checkpoints", digest),
        run_id=work.run_id,
        resume=cfg.resume,
    )
