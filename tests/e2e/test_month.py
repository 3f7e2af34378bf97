"""Thirty nights on a small catalog."""

from pathlib import Path

from pyspark.sql import SparkSession

from genremill.jobs.synthetic import catalog as demo
from genremill.jobs.synthetic.clips import write_clip
from tests.e2e import month
from tests.e2e.month import Feed, Month

FLAGS = ["--train.model", "linear", "--train.epochs", "20", "--train.batch", "64", "--cluster.clusters", "5"]
FLAGS += ["--extract.max-rejects", "0.2"]  # two of the clips are damaged


def demo_feed(folder: Path, tracks: int, clips: int) -> Feed:
    """The feed of a demo catalog; writes its clips to the same folder."""
    rows, genres_of_clips = demo.rows(tracks, clips, seed=0)
    by_track: dict[str, list[month.Row]] = {}
    for row in rows:
        if len(row) == len(demo.HEADER) and row[0]:
            found = dict(zip(demo.HEADER, map(str, row), strict=True))
            by_track.setdefault(found["track_id"], []).append(found)
    for number, genre in enumerate(genres_of_clips):
        write_clip(str(folder), number, genre, len(demo.GENRES), 0)
    return Feed(list(demo.HEADER), list(by_track.values()))


def test_a_month(spark: SparkSession, tmp_path: Path) -> None:
    month.run(Month(tmp_path, demo_feed(tmp_path, tracks=700, clips=40), FLAGS))
