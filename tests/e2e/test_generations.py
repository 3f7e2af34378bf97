"""Tracks, genre profiles, genre map and tags become current together, and a refusal changes none of them."""

import csv
import json
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from genremill.jobs import cli
from genremill.jobs.snapshot_details import SNAPSHOT_TABLES
from tests.e2e.conftest import FAST, Catalog

ANY_CHANGE = ["--max-churn-new", "1", "--max-class-shift", "99", "--max-loss", "1", "--max-drift", "99"]


def louder(catalog: Catalog) -> str:
    """A track table whose loudness has drifted."""
    with Path(catalog.tracks).open(newline="") as source:
        header, *rows = csv.reader(source)
    at = header.index("loudness")
    rows = [row for row in rows if len(row) == len(header)]
    for row in rows:
        row[at] = str(float(row[at]) + 8) if row[at].lstrip("-").replace(".", "", 1).isdigit() else row[at]
    path = catalog.folder / "louder.csv"
    with path.open("w", newline="") as out:
        csv.writer(out).writerows([header, *rows])
    return str(path)


def pointers(catalog: Catalog) -> dict[str, Any]:
    """The tables as a reader of the pointer files of the tables finds them."""
    files = {table: Path(catalog.uri, table, "_current.json") for table in SNAPSHOT_TABLES}
    return {table: json.loads(file.read_text()) for table, file in files.items()}


def runs(catalog: Catalog) -> dict[str, str]:
    """The current run of each table."""
    return {table: catalog.run("tables")[table]["run_id"] for table in SNAPSHOT_TABLES}


def joined(spark: SparkSession, catalog: Catalog) -> list[tuple[Any, ...]]:
    """A join of the tags with their tracks and clusters, as a team would write it."""
    paths = pointers(catalog)
    tags, tracks, genre_map = (
        spark.read.parquet(f"{catalog.uri}/{paths[table]['path']}")
        for table in ("tags", "tracks", "genre_map")
    )
    both = tags.join(tracks, "track_id", "inner").join(genre_map, tags["label"] == genre_map["genre"], "left")
    rows = both.select(
        "track_id", tags["cluster_id"], genre_map["cluster_id"], "tracks_run", "table_features"
    )
    assert both.count() == tags.count() == tracks.count()
    return sorted(map(tuple, rows.collect()))


def check_agreement(spark: SparkSession, catalog: Catalog) -> None:
    """The current tags belong to the current tracks, and their clusters to the current genre map."""
    rows = joined(spark, catalog)
    assert {row[3] for row in rows} == {pointers(catalog)["tracks"]["run_id"]}
    assert [row[1] for row in rows] == [row[2] for row in rows]


def test_a_refusal_changes_no_table_and_a_rollback_moves_all(spark: SparkSession, catalog: Catalog) -> None:
    catalog.run("score")
    catalog.run("publish")
    first, shown_flags = runs(catalog), ["show", "--out", str(catalog.folder / "track.png")]
    track = joined(spark, catalog)[0][0]
    before = (catalog.run("tables"), pointers(catalog), joined(spark, catalog))
    shown = catalog.run(*shown_flags, track)["track"]
    check_agreement(spark, catalog)

    def unchanged() -> bool:
        return (catalog.run("tables"), pointers(catalog), joined(spark, catalog)) == before

    tracks = catalog.run("ingest", "--tracks", louder(catalog))
    assert tracks["current"] is False
    clusters = catalog.run("cluster", "--clusters", "5")
    assert clusters["current"] is False
    assert cli.main(["train", "--warehouse", catalog.uri, *FAST]) == 0
    log = catalog.capsys.readouterr().err
    for table, made in (("tracks", tracks), ("genre_map", clusters)):
        assert f"reading {table} of run {made['run_id']}: staged, becomes current with the tags" in log
    staged = catalog.run("score")["staged"]
    card = catalog.warehouse.finished("tags", staged)
    assert card is not None
    assert card.details["tracks_run"] == tracks["run_id"]
    assert card.details["genre_map_version"] == clusters["run_id"]
    assert unchanged()

    catalog.run("publish", exit_code=2)
    assert unchanged()
    assert catalog.run(*shown_flags, track)["track"] == shown
    newest = catalog.warehouse.newest("tracks")
    assert newest is not None
    assert newest.run_id == first["tracks"], "the refused tracks are not built on"
    listed = catalog.run("tables", "--history")["generations"]
    assert [(each["state"], each["why"]) for each in listed] == [
        ("staged", "refused"),
        ("current", "published"),
    ]
    assert "drift of features" in listed[0]["reason"]
    assert listed[0]["tables"]["tracks"] == {"run_id": tracks["run_id"], "rows": tracks["tracks"]}

    catalog.run("publish", "--run", staged, *ANY_CHANGE)
    second = runs(catalog)
    assert second == {
        "tracks": tracks["run_id"],
        "genre_profiles": clusters["run_id"],
        "genre_map": clusters["run_id"],
        "tags": staged,
    }
    check_agreement(spark, catalog)
    catalog.run("publish", "--rollback")
    assert runs(catalog) == first
    check_agreement(spark, catalog)
    assert cli.main(["tables", "--warehouse", catalog.uri, "--history"]) == 0
    text = catalog.capsys.readouterr().out
    assert "past     rolled back" in text
    assert f"  tracks          {tracks['tracks']:>12,} rows  run {tracks['run_id']}" in text
