"""When a night trains: a new model changes half of all tags, so new tracks alone are no reason to."""

import dataclasses
import enum
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from pyspark.sql import SparkSession, functions as F

from genremill.infra import storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import model_registry
from genremill.jobs.nights.input_changes import changes
from genremill.jobs.training import settings as training
from genremill.jobs.training.sources import TrainingInputs
from genremill.models.evaluation.held_out import Labels
from genremill.models.model_card import ModelCard, read_card

SHOWN = 5
"""New labels that a cause names."""
MOVING = ("tracks", "genre_map")
"""Inputs of a training that get new runs night after night."""


class When(enum.StrEnum):
    """Which news a model is trained for, beside other settings and inputs that are no longer made."""

    NEVER = "never"
    NEW_LABELS = "new-labels"
    ALWAYS = "always"


@dataclass(frozen=True, kw_only=True)
class Config(training.Config):
    """Which model is trained, on which labels, and how; and when."""

    when: When = When.NEW_LABELS
    """Train never, when the tracks have a genre that the model does not know, or whenever the inputs
    change."""
    max_age_days: float | None = None
    """Train again when the model is older than this many days. [no limit]"""

    def settings(self) -> training.Config:
        """Those of the training itself."""
        names = [one.name for one in dataclasses.fields(training.Config)]
        return training.Config(**{name: getattr(self, name) for name in names})


def check(cfg: Config) -> None:
    """Raises on settings that no data could make right."""
    training.check(cfg)
    if cfg.max_age_days is not None and not 0 <= cfg.max_age_days < math.inf:
        raise UsageError(f"--max-age-days {cfg.max_age_days:g}: expected 0 or more")


def lasting(inputs: dict[str, str]) -> dict[str, str]:
    """Inputs that stay the same from night to night: of a feature set, its fingerprint alone.

    >>> lasting({"tracks": "r1", "gtzan57": "ab12: 3 runs to r1", "settings": "{}"})
    {'gtzan57': 'ab12', 'settings': '{}'}
    """
    return {
        name: value if name == "settings" else value.partition(": ")[0]
        for name, value in inputs.items()
        if name not in MOVING
    }


def cause(
    spark: SparkSession, warehouse: Warehouse, cfg: Config, resolve: Callable[[], TrainingInputs]
) -> str | None:
    """Why a model has to be trained on the resolved inputs, or None."""
    if cfg.when is When.NEVER:
        return None
    try:
        version = model_registry.newest(warehouse, with_refused=True)
        card = read_card(model_registry.folder_of(warehouse, version)[1])
    except UsageError:
        return "there is no model yet, or none that this version reads"
    made_from = card.training.made_from
    inputs = resolve()
    wanted = inputs.made_from
    if cfg.when is When.ALWAYS:
        return changes(made_from, wanted) or _too_old(card, cfg)
    return (
        changes(lasting(made_from), lasting(wanted))
        or _new_labels(spark, inputs, card)
        or _new_map(made_from, wanted)
        or _too_old(card, cfg)
    )


def _new_map(made_from: dict[str, str], wanted: dict[str, str]) -> str | None:
    before, now = made_from.get("genre_map", ""), wanted["genre_map"]
    return f"genre map: {before or 'none'} → {now}" if now and before != now else None


def _new_labels(spark: SparkSession, inputs: TrainingInputs, card: ModelCard) -> str | None:
    """Genres of the tracks that stood in none of the tracks the model was trained from."""
    known = spark.createDataFrame([(name,) for name in shown_labels(card)], "genre string")
    genres = inputs.read_tracks(spark).select(F.explode("genres").alias("genre"))
    new = genres.join(F.broadcast(known), "genre", "left_anti").groupBy("genre").count()
    found = new.orderBy(F.desc("count"), "genre").limit(SHOWN + 1).collect()
    if not found:
        return None
    names = ", ".join(f"{row['genre']} ({row['count']:,})" for row in found[:SHOWN])
    return f"genres that the model lacks: {names}{' and more' if len(found) > SHOWN else ''}"


def shown_labels(card: ModelCard) -> list[str]:
    """Genres of the tracks that a model was trained from, those left out of its classes too."""
    return list(
        card.training.genres or (card.classes if Labels(card.labels) is Labels.GENRE else card.genre_map)
    )


def _too_old(card: ModelCard, cfg: Config) -> str | None:
    if cfg.max_age_days is None:
        return None
    days = (time.time() - storage.utc_seconds(card.created_at)) / 86_400
    return f"the model is {days:.1f} days old, over --train.max-age-days" if days > cfg.max_age_days else None
