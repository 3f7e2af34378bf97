"""Why a step of a night runs: which of its inputs have changed, and whether a training is due."""

import dataclasses
import enum
import math
import time
from dataclasses import dataclass
from typing import Any

from pyspark.sql import DataFrame, SparkSession, functions as F

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs import model_registry
from genremill.jobs.training import settings as training, sources
from genremill.jobs.training.sources import TrainingInputs
from genremill.models.evaluation.held_out import Labels
from genremill.models.model_card import ModelCard, read_card, refuse_removed_inputs

SHOWN = 5
"""New genres that a reason names."""
MOVING = ("tracks", "genre_map")
"""Inputs that get a new run every night."""


class When(enum.StrEnum):
    """What leads to a training. Except under `never`, new settings and new feature sets lead to one too."""

    NEVER = "never"
    NEW_LABELS = "new-labels"
    ALWAYS = "always"


@dataclass(frozen=True, kw_only=True)
class Config(training.Config):
    """Which model is trained, on which labels, and how; and when."""

    when: When = When.NEW_LABELS
    """`new-labels`: train if the tracks have a genre that the model does not know. `always`: train whenever
    the inputs change."""
    max_age_days: float | None = None
    """Train again when the model is older than this many days. [no limit]"""

    def settings(self) -> training.Config:
        """The settings of `train`."""
        options = dataclasses.fields(training.Config)
        return training.Config(**{option.name: getattr(self, option.name) for option in options})


def check(cfg: Config) -> None:
    """Raises `UsageError` on settings that are wrong for every warehouse."""
    training.check(cfg)
    if cfg.max_age_days is not None and not 0 <= cfg.max_age_days < math.inf:
        raise UsageError(f"--max-age-days {cfg.max_age_days:g}: expected 0 or more")


def changes(before: dict[str, str], now: dict[str, str]) -> str | None:
    """The inputs and settings that differ between two runs, as text; None if they are equal.

    A setting that the earlier run did not record is none that has changed: its version did not have it.

    >>> changes({"tracks": "r1", "settings": '{"seed": 0}'}, {"tracks": "r2", "settings": '{"seed": 1}'})
    'tracks: r1 → r2; seed: 0 → 1'
    """
    old: dict[str, Any] = {name: value for name, value in before.items() if name != "settings"}
    new: dict[str, Any] = {name: value for name, value in now.items() if name != "settings"}
    old_settings, new_settings = _settings(before), _settings(now)
    for name in old_settings:
        shown = f"--{name}" if name in old or name in new else name
        old[shown], new[shown] = old_settings[name], new_settings.get(name)
    texts = [
        f"{name}: {_text(old.get(name))} → {_text(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name)
    ]
    return "; ".join(texts) or None


def _settings(inputs: dict[str, str]) -> dict[str, Any]:
    """The settings by flag."""
    return _by_flag(records.json_object(inputs.get("settings") or "{}", "the settings of an earlier run"))


def _by_flag(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _by_flag(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _text(value: object) -> str:
    return "none" if value is None or value == "" else str(value)


def lasting(inputs: dict[str, str]) -> dict[str, str]:
    """The inputs without those that change every night; a feature set is reduced to its fingerprint.

    >>> lasting({"tracks": "r1", "gtzan57": "ab12: 3 runs to r1", "settings": "{}"})
    {'gtzan57': 'ab12', 'settings': '{}'}
    """
    return {
        name: value if name == "settings" else value.partition(": ")[0]
        for name, value in inputs.items()
        if name not in MOVING
    }


def lasting_changes(before: dict[str, str], now: dict[str, str]) -> str | None:
    """The changes of inputs that do not change every night, as text."""
    return changes(lasting(before), lasting(now))


@dataclass(frozen=True)
class Training:
    """A training that is due, and its inputs; None before the first model, when `train` resolves them."""

    reason: str
    inputs: TrainingInputs | None = None


def training_due(spark: SparkSession, warehouse: Warehouse, cfg: Config) -> Training | None:
    """The training that is due, or None. New tracks alone are no reason: a new model changes many tags."""
    if cfg.when is When.NEVER:
        return None
    try:
        version, folder = model_registry.of_night(warehouse, with_refused=True)
    except UsageError:
        return Training("there is no model yet")
    try:
        card = read_card(folder)
        refuse_removed_inputs(card, version)
    except UsageError:
        return Training(f"this version of genremill cannot use model {version}")
    inputs = sources.resolve(warehouse, cfg.settings())
    made_from, wanted = card.training.made_from, inputs.made_from
    if cfg.when is When.ALWAYS:
        reason = changes(made_from, wanted) or _too_old(card, cfg)
    else:
        reason = (
            lasting_changes(made_from, wanted)
            or _new_labels(inputs.read_tracks(spark), card)
            or _new_map(made_from, wanted)
            or _too_old(card, cfg)
        )
    return Training(reason, inputs) if reason else None


def _new_map(made_from: dict[str, str], wanted: dict[str, str]) -> str | None:
    before, now = made_from.get("genre_map", ""), wanted["genre_map"]
    return f"genre map: {before or 'none'} → {now}" if now and before != now else None


def _new_labels(tracks: DataFrame, card: ModelCard) -> str | None:
    """Genres of the tracks that did not occur in the tracks that the model was trained on."""
    names = card.training.genres or (card.classes if card.labels == Labels.GENRE else card.genre_map)
    known = tracks.sparkSession.createDataFrame([(name,) for name in names], "genre string")
    genres = tracks.select(F.explode("genres").alias("genre"))
    new = genres.join(F.broadcast(known), "genre", "left_anti").groupBy("genre").count()
    rows = new.orderBy(F.desc("count"), "genre").limit(SHOWN + 1).collect()
    if not rows:
        return None
    shown = ", ".join(f"{row['genre']} ({row['count']:,})" for row in rows[:SHOWN])
    return f"genres that the model does not know: {shown}{' and more' if len(rows) > SHOWN else ''}"


def _too_old(card: ModelCard, cfg: Config) -> str | None:
    if cfg.max_age_days is None or not card.created_at:
        return None
    days = (time.time() - storage.utc_seconds(card.created_at)) / 86_400
    if days < -1:
        return f"the model has a time in the future, {card.created_at}"
    reason = f"the model is {days:.1f} days old, more than --train.max-age-days"
    return reason if days > cfg.max_age_days else None
