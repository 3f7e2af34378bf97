"""What an audit of staged tags reads, its limit and its result."""

import enum
import math
from dataclasses import dataclass, replace

from pyspark.sql import DataFrame, SparkSession

from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Current, Snapshot, Warehouse
from genremill.jobs import model_registry, snapshots
from genremill.jobs.snapshot_details import TagsDetails
from genremill.models.model_card import ModelCard, read_card


class Verdict(enum.StrEnum):
    """The result of an audit, in the order in which pages show them."""

    REFUSED = "refused"
    FLAGGED = "flagged"  # over its limit, but this audit does not block publication
    NOT_MEASURED = "not measured"  # blocks publication of a new model, unless the limit accepts everything
    NOT_APPLICABLE = "not applicable"  # there is nothing to compare with
    PASSED = "passed"


class NotMeasured(Exception):
    """An audit cannot be measured; the message says why."""


class NotApplicable(NotMeasured):
    """An audit has nothing to compare with."""


TRACKS_REMOVED = "the tracks of the current tags were removed"
NO_OTHER_TAGS = "there are no other tags to compare with"
SHARES = ("max-churn", "max-churn-new", "max-untagged-rise", "max-missing-rise", "max-loss")
"""Flags whose limit is a share. With the limit 1, an audit also accepts that it could not be measured."""
INDICES = ("max-drift", "max-class-shift")
"""Flags whose limit is a population stability index. It has no upper bound, so the limit 1 is usual."""
ACCEPTS_ALL = dict.fromkeys(SHARES, 1.0) | dict.fromkeys(INDICES, 100.0)
"""The smallest limit of each flag with which an audit also accepts that it could not be measured."""


@dataclass(frozen=True)
class Audit:
    """One audit. Smaller values are better."""

    name: str
    value: float | None
    """None if it was not measured; `note` says why."""
    limit: float
    refuses: bool = True
    """Whether a value over the limit blocks publication, or is only reported."""
    note: str = ""
    flag: str = ""
    """The flag of the limit."""
    applies: bool = True
    """Whether there is something to compare with."""

    def without_value(self, why: NotMeasured) -> "Audit":
        """The audit if it cannot be measured, or has nothing to compare with."""
        return replace(self, value=None, note=str(why), applies=not isinstance(why, NotApplicable))

    @property
    def verdict(self) -> Verdict:
        """The result."""
        if not self.applies:
            return Verdict.NOT_APPLICABLE
        if self.value is None:
            return Verdict.NOT_MEASURED
        if self.value <= self.limit:
            return Verdict.PASSED
        return Verdict.REFUSED if self.refuses else Verdict.FLAGGED

    @property
    def passed(self) -> bool:
        """Whether the value is within the limit, or there is nothing to compare with."""
        return self.verdict in (Verdict.PASSED, Verdict.NOT_APPLICABLE)

    def blocks(self, is_new_model: bool) -> bool:
        """Whether the audit blocks publication; a new model must be measured, or its limit accept all."""
        unknown = self.verdict is Verdict.NOT_MEASURED and self.refuses
        return self.verdict is Verdict.REFUSED or (
            unknown and is_new_model and self.limit < ACCEPTS_ALL[self.flag]
        )

    def __str__(self) -> str:
        value = self.verdict if self.value is None else f"{self.value:.4g} (limit {self.limit:.4g})"
        shown = f"{self.name} {value}" + (f": {self.note}" if self.note else "")
        if self.verdict is Verdict.NOT_MEASURED and self.refuses:
            shown += f"; `genremill publish --{self.flag} {ACCEPTS_ALL[self.flag]:g}` accepts this"
        return shown


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much one publication may change."""

    max_churn: float = 0.3
    """Largest share of tracks whose tag may change when model, features and genre map are the same."""
    max_churn_new: float = 0.75
    """Largest share of tracks whose tag may change when model, features or genre map are new."""
    max_drift: float = 0.25
    """Largest population stability index of a feature, compared with the tracks of the current tags."""
    max_class_shift: float = 0.25
    """Largest population stability index of the predicted labels, compared with the current tags."""
    max_untagged_rise: float = 0.1
    """Largest rise of the share of tracks without a tag."""
    max_missing_rise: float = 0.1
    """Largest rise of the share of tracks without a value in a column, compared with the current tags; 1 also
    accepts a column that is gone."""
    max_loss: float = 0.025
    """Largest loss of any-label accuracy by a new model on held-out artists (upper 95 % bound)."""

    def check(self) -> None:
        """Raises `UsageError` if a limit is out of range."""
        limits = {name.replace("_", "-"): limit for name, limit in vars(self).items()}
        for flag in SHARES:
            if not 0 <= limits[flag] <= 1:
                raise UsageError(f"--{flag} {limits[flag]:g}: expected a share from 0 to 1")
        for flag in INDICES:
            if not 0 <= limits[flag] < math.inf:
                raise UsageError(f"--{flag} {limits[flag]:g}: expected 0 or more")


@dataclass(frozen=True)
class AuditInputs:
    """Snapshots and model, resolved once for all audits of a publication."""

    warehouse: Warehouse
    card: ModelCard
    staged: Snapshot
    tracks: Snapshot
    """The tracks of the staged tags."""
    current: Snapshot | None
    """The current tags; None before the first publication, and if the staged tags are current already."""
    current_tracks: Snapshot | None
    """The tracks of the current tags; None if they were removed."""

    def read(self, spark: SparkSession, snapshot: Snapshot) -> DataFrame:
        """The rows of a snapshot."""
        return snapshots.read(spark, self.warehouse, snapshot)

    @property
    def has_new_model(self) -> bool:
        """Whether the current tags were made by another model, or by other weights of the same name."""
        return has_other_model(self.staged, self.current or self.staged)

    @property
    def has_new_genre_map(self) -> bool:
        """Whether the model of the current tags was trained with another genre map."""
        current = TagsDetails.of(self.current or self.staged)
        return TagsDetails.of(self.staged).genre_map_version != current.genre_map_version


def has_other_model(tags: Snapshot, others: Snapshot) -> bool:
    """Whether two runs of tags were made by different models, or by different weights of the same name."""
    models = [(TagsDetails.of(run).model_version, run.inputs.get("sha256")) for run in (tags, others)]
    return models[0] != models[1]


def resolve(warehouse: Warehouse, staged: Snapshot, current: Current | None) -> AuditInputs:
    """The inputs of the audits of staged tags; raises `UsageError` if their tracks were removed."""
    details = TagsDetails.of(staged)
    tracks = warehouse.finished("tracks", details.tracks_run)
    if tracks is None:
        raise UsageError(
            f"the tags of run {staged.run_id} belong to the tracks of run {details.tracks_run}, which were "
            f"removed from {warehouse.uri}: run `genremill score` again"
        )
    before = current.snapshot if current and current.snapshot.run_id != staged.run_id else None
    before_tracks = warehouse.finished("tracks", TagsDetails.of(before).tracks_run) if before else None
    card = read_card(model_registry.of_tags(warehouse, staged)[1])
    return AuditInputs(warehouse, card, staged, tracks, before, before_tracks)
