"""A sample of the current tags as text for a terminal."""

from pyspark.sql import Row, SparkSession, functions as F

from genremill.infra.terminal import cell
from genremill.infra.warehouse import Warehouse
from genremill.jobs import snapshots
from genremill.jobs.contracts import TRACKS
from genremill.jobs.snapshot_details import TagsDetails

ROWS = 10
COLUMNS = {"artist": 24, "title": 32, "genres in the table": 24, "predicted tag": 20}
"""Headings and widths; the confidence follows."""


def lines_of(spark: SparkSession, warehouse: Warehouse) -> list[str]:
    """A few tags, always of the same tracks, and where all tags are."""
    current = warehouse.require("tags", "publish")
    tags = snapshots.read(spark, warehouse, current)
    tracks = snapshots.read_run(spark, warehouse, TRACKS, TagsDetails.of(current).tracks_run)
    sample = tags.orderBy(F.xxhash64("track_id")).limit(ROWS).join(tracks, "track_id", "inner")
    rows = sample.select("track_id", "artists", "title", "genres", "label", "confidence").collect()
    heading = "".join(f"{name:<{width}}" for name, width in COLUMNS.items()) + "confidence"
    where = f"tags: {current.rows:,} rows in {warehouse.path(current.path)}"
    return [heading, *map(_line, sorted(rows)), "", where]


def _line(row: Row) -> str:
    texts = (
        ", ".join(row["artists"]),
        row["title"] or row["track_id"],
        ", ".join(row["genres"]),
        row["label"] or "–",
    )
    cells = (cell(text, width) for text, width in zip(texts, COLUMNS.values(), strict=True))
    return "".join(cells) + ("" if row["confidence"] is None else f"{row['confidence']:.2f}")
