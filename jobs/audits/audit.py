"""What staged tags must pass before they become current: each audit has a measured value and a limit."""

from dataclasses import asdict, dataclass
from typing import Any

from pyspark.sql import Column, DataFrame, functions as F

from genremill.jobs.contracts import Status


@dataclass(frozen=True)
class Audit:
    """One check of staged tags; small values are good ones."""

    name: str
    value: float | None
    """None where it could not be measured; `note` says why."""
    limit: float
    refuses: bool = True
    """Whether a value over the limit keeps the tags from becoming current, or is only told."""
    note: str = ""

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value is None or self.value <= self.limit

    @property
    def verdict(self) -> str:
        """`passed`, `flagged`, `refused`, or `not measured`."""
        if self.value is None:
            return "not measured"
        return "passed" if self.passed else "refused" if self.refuses else "flagged"

    def as_json(self) -> dict[str, Any]:
        """For the record of the night."""
        return asdict(self) | {"verdict": self.verdict}

    def __str__(self) -> str:
        value = "not measured" if self.value is None else f"{self.value:.4g} (limit {self.limit:.4g})"
        return f"{self.name} {value}" + (f": {self.note}" if self.note else "")


def faults(classes: tuple[str, ...]) -> dict[str, Column]:
    """What makes a row of tags wrong by itself: answers that are not a probability, no class, or missing."""
    given = F.array_compact(F.array_append(F.coalesce("top.label", F.array()), F.col("label")))
    unknown = F.array_except(given, F.array(*(F.lit(name) for name in classes)))
    probabilities = F.array_append(F.coalesce("top.probability", F.array()), F.col("confidence"))
    odd = F.exists(F.array_compact(probabilities), lambda value: F.isnan(value) | ~value.between(0, 1.001))
    without_top = F.coalesce(F.size("top"), F.lit(0)) < 1
    unanswered = F.col("label").isNull() | F.col("confidence").isNull() | without_top
    return {
        "rows with a probability that is none": odd,
        "rows with unknown labels": F.size(unknown) > 0,
        "tagged rows without an answer": (F.col("status") == Status.TAGGED.value) & unanswered,
    }


NO_TAGS, OTHER_COUNT = "tracks without tags", "rows more or less than tracks"
"""Faults of a run of `score`; what else is wrong with such tags is no fault of the model."""


def content_audits(tags: DataFrame, tracks: DataFrame, classes: tuple[str, ...]) -> list[Audit]:
    """Tracks without tags, tags without a track, and rows that are wrong by themselves."""
    wrong = [F.count_if(fault).alias(name) for name, fault in faults(classes).items()]
    counted = tags.agg(F.count("*").alias("rows"), *wrong).first()
    values: dict[str, int] = counted.asDict() if counted else {}
    rows = values.pop("rows")
    missing = tracks.join(tags, "track_id", "left_anti").count()
    found = {
        NO_TAGS: missing,
        OTHER_COUNT: abs(rows - tracks.count()),
    } | values
    return [Audit(name, value, 0) for name, value in found.items()]
