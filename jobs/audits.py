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
    """Tags that stand for no track, tracks without tags, answers that are not a probability or no class."""
    labels = F.array(*(F.lit(name) for name in classes))
    top_labels = F.col("top.label")
    odd = F.exists("top", lambda one: F.isnan(one.probability) | ~one.probability.between(0, 1.001))
    counted = tags.agg(
        F.count("*").alias("rows"),
        (F.count("*") - F.count_distinct("track_id")).alias("duplicated tracks"),
        F.count_if(F.isnan("confidence") | odd).alias("rows with a probability that is none"),
        F.count_if(F.size(F.array_except(top_labels, labels)) > 0).alias("rows with unknown labels"),
        F.count_if((F.col("status") == "tagged") & F.col("label").isNull()).alias(
            "tagged rows without a label"
        ),
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
