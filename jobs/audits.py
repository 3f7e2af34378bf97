"""What staged tags must pass before they become current: each audit has a measured value and a limit."""

from dataclasses import dataclass

from pyspark.sql import DataFrame, functions as F


@dataclass(frozen=True)
class Audit:
    """One check of staged tags."""

    name: str
    value: float
    limit: float

    @property
    def passed(self) -> bool:
        """Whether the value keeps the limit."""
        return self.value <= self.limit

    def __str__(self) -> str:
        return f"{self.name} {self.value:g} (limit {self.limit:g})"


def content_audits(tags: DataFrame, tracks: DataFrame, classes: tuple[str, ...]) -> list[Audit]:
    """Tracks without tags, tags without a track, answers that are not a probability or no class."""
    given = F.array_compact(F.array_append(F.coalesce("top.label", F.array()), F.col("label")))
    unknown = F.array_except(given, F.array(*(F.lit(name) for name in classes)))
    probabilities = F.array_append(F.coalesce("top.probability", F.array()), F.col("confidence"))
    odd = F.exists(F.array_compact(probabilities), lambda value: F.isnan(value) | ~value.between(0, 1.001))
    tagged = F.col("status") == "tagged"
    without_top = F.coalesce(F.size("top"), F.lit(0)) < 1
    unanswered = F.col("label").isNull() | F.col("confidence").isNull() | without_top
    counted = tags.agg(
        F.count("*").alias("rows"),
        F.count_if(odd).alias("rows with a probability that is none"),
        F.count_if(F.size(unknown) > 0).alias("rows with unknown labels"),
        F.count_if(tagged & unanswered).alias("tagged rows without an answer"),
    ).first()
    values: dict[str, int] = counted.asDict() if counted else {}
    rows = values.pop("rows")
    missing = tracks.join(tags, "track_id", "left_anti").count()
    found = {
        "tracks without tags": missing,
        "rows more or less than tracks": abs(rows - tracks.count()),
    } | values
    return [Audit(name, value, 0) for name, value in found.items()]


def churn(tags: DataFrame, current: DataFrame) -> float:
    """Share of the tracks in both snapshots whose label changed."""
    before = current.select("track_id", F.col("label").alias("before"))
    both = tags.join(before, "track_id", "inner")
    row = both.agg(F.count("*"), F.count_if(~F.col("label").eqNullSafe(F.col("before")))).first()
    return row[1] / row[0] if row and row[0] else 0.0
