"""Delta logs and an Iceberg catalog follow the generations without copies, and other tools read them."""

import io
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from pyiceberg.catalog import load_catalog
from pyiceberg.utils.config import Config

import genremill
from genremill.infra.errors import UsageError
from genremill.infra.stores import s3_client
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli
from genremill.jobs.lakehouse import following
from genremill.jobs.lakehouse.delta import Delta
from genremill.jobs.lakehouse.following import Formats
from genremill.jobs.lakehouse.iceberg import Iceberg
from genremill.jobs.lakehouse.table_files import PUBLISHED_BY, RUN_ID, TableFiles
from tests.e2e.conftest import FAST, Catalog
from tests.e2e.s3_server import OWNER, S3Server, running_s3

TABLES = ("tracks", "genre_profiles", "genre_map", "tags", "tag_changes")
FLAGS = ("--delta", "--iceberg", "local.music.prod")
LOOSE = ("--max-churn-new", "1", "--max-class-shift", "100", "--max-loss", "1")


class Killed(BaseException):
    """Stands for a kill: no code handles it."""


@pytest.fixture(autouse=True)
def iceberg_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalog on disk, named in the way of pyiceberg."""
    monkeypatch.setenv("PYICEBERG_CATALOG__LOCAL__TYPE", "sql")
    monkeypatch.setenv("PYICEBERG_CATALOG__LOCAL__URI", f"sqlite:///{tmp_path}/catalog.db")
    monkeypatch.setattr("pyiceberg.catalog._ENV_CONFIG", Config())  # read when pyiceberg was imported


@pytest.fixture(scope="module")
def two_models(ready: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a warehouse whose tags are current, and in which other tags are staged."""
    folder = tmp_path_factory.mktemp("lakehouse")
    shutil.copytree(ready, folder, dirs_exist_ok=True)
    where = ["--warehouse", str(folder / "warehouse")]
    for job in (
        ["score", *where, "--keep", "none"],
        ["publish", *where],
        ["train", *where, *FAST, "--seed", "1"],
    ):
        assert cli.main(job) == 0
    assert cli.main(["score", *where]) == 0
    return folder


@pytest.fixture
def catalog(two_models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Catalog:
    shutil.copytree(two_models, tmp_path / "copy")
    return Catalog(tmp_path / "copy", capsys)


def delta_rows(catalog: Catalog, table: str, version: int | None = None) -> pa.Table:
    return DeltaTable(f"{catalog.uri}/{table}", version=version).to_pyarrow_table()


def iceberg_table(table: str) -> Any:
    return load_catalog("local").load_table(f"music.prod.{table}")


def rows_of(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: str(row.get("track_id") or row.get("genre")))


def labels(table: pa.Table) -> dict[str, str | None]:
    return {row["track_id"]: row["label"] for row in table.select(["track_id", "label"]).to_pylist()}


def parquet_files(catalog: Catalog) -> set[str]:
    return {str(path) for path in Path(catalog.uri).rglob("*.parquet")}


def test_each_publication_is_one_commit_that_other_readers_understand(catalog: Catalog) -> None:
    first = genremill.Warehouse(catalog.uri).tags("arrow")
    files = parquet_files(catalog)
    run = genremill.Warehouse(catalog.uri).tags.snapshot.run_id
    caught_up = catalog.run("publish", *FLAGS, "--run", run)
    assert caught_up["delta"].keys() == {*TABLES}
    assert parquet_files(catalog) == files  # no file is copied
    assert rows_of(delta_rows(catalog, "tags")) == rows_of(first)

    published = catalog.run("publish", *FLAGS, *LOOSE)
    assert published["delta"] == dict.fromkeys(TABLES, 1)
    assert published["iceberg"].keys() == {*TABLES}
    assert {path for path in parquet_files(catalog) - files if "tag_changes" not in path} == set()
    tags = genremill.Warehouse(catalog.uri).tags("arrow")
    assert {*tags.column_names} - {*first.column_names} == {"title", "artists", "album"}
    uri = f"{catalog.uri}/tags"
    scanned = DeltaTable(uri).to_pyarrow_dataset()
    iceberg = iceberg_table("tags")
    readers: dict[str, Callable[[], pa.Table]] = {
        "deltalake": lambda: delta_rows(catalog, "tags"),
        "polars, Delta": lambda: pl.read_delta(uri).to_arrow(),
        "DuckDB, Delta": lambda: duckdb.arrow(scanned).to_arrow_table(),
        "pyiceberg": lambda: iceberg.scan().to_arrow(),
        "polars, Iceberg": lambda: pl.scan_iceberg(iceberg).collect().to_arrow(),
        "DuckDB, Iceberg": lambda: iceberg.scan().to_duckdb("tags").table("tags").to_arrow_table(),
    }
    for name, read in readers.items():
        assert rows_of(read().select(tags.column_names)) == rows_of(tags), name
    assert rows_of(delta_rows(catalog, "tags", version=0)) == rows_of(first)
    for table in TABLES:
        commit = DeltaTable(f"{catalog.uri}/{table}").history(1)[0]
        snapshot = iceberg_table(table).current_snapshot().summary.additional_properties
        assert commit[PUBLISHED_BY] == snapshot[PUBLISHED_BY] == published["run_id"]
        run_id = published["tables"].get(table, published["run_id"])
        assert commit[RUN_ID] == snapshot[RUN_ID] == run_id

    # The changes are those between the two tables.
    before, after = labels(first), labels(tags)
    expected = {track: (before[track], label) for track, label in after.items() if before[track] != label}
    changes = delta_rows(catalog, "tag_changes").to_pylist()
    assert {row["track_id"]: (row["before"], row["after"]) for row in changes} == expected
    assert published["changed_labels"] == len(expected) > 0

    rolled_back = catalog.run("publish", "--rollback", *FLAGS)
    assert rolled_back["delta"] == dict.fromkeys(TABLES, 2)
    assert rows_of(delta_rows(catalog, "tags")) == rows_of(first)
    assert labels(iceberg_table("tags").scan().to_arrow()) == before
    inverse = iceberg_table("tag_changes").scan().to_arrow().to_pylist()
    assert {row["track_id"]: (row["after"], row["before"]) for row in inverse} == expected


STEPS = [(form, table, when) for form in (Delta, Iceberg) for table in TABLES for when in ("before", "after")]
"""Every moment at which the commits of a publication can be killed."""


@pytest.fixture(scope="module")
def published_twice(two_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a warehouse of two generations and no commits in other formats."""
    folder = tmp_path_factory.mktemp("crashes")
    shutil.copytree(two_models, folder, dirs_exist_ok=True)
    assert cli.main(["publish", "--warehouse", str(folder / "warehouse"), *LOOSE]) == 0
    return folder


def commits(catalog: Catalog, key: str) -> dict[str, dict[str, str]]:
    """One text of the newest commit of each table, in both formats. Checks that no row is missing."""
    found: dict[str, dict[str, str]] = {"delta": {}, "iceberg": {}}
    for table in TABLES:
        delta = DeltaTable(f"{catalog.uri}/{table}")
        iceberg = iceberg_table(table)
        for form, metadata, rows in (
            ("delta", delta.history(1)[0], delta.to_pyarrow_table()),
            ("iceberg", iceberg.current_snapshot().summary.additional_properties, iceberg.scan().to_arrow()),
        ):
            run = ds.dataset(f"{catalog.uri}/{table}/run={metadata[RUN_ID]}", format="parquet")
            assert rows.num_rows == run.count_rows()
            found[form][table] = metadata[key]
    return found


@pytest.mark.parametrize(("form", "table", "when"), STEPS)
def test_a_kill_at_any_step_leaves_whole_tables_and_is_repaired(
    form: type[Delta | Iceberg],
    table: str,
    when: str,
    published_twice: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(published_twice / "warehouse", tmp_path / "warehouse")
    catalog = Catalog(tmp_path, capsys)
    following.follow(catalog.warehouse, Formats(delta=True, iceberg=FLAGS[2]).opened(catalog.warehouse))
    new = commits(catalog, RUN_ID)
    commit = form.commit

    def killed(self: Any, files: TableFiles, published_by: str) -> int:
        if files.name == table and when == "before":
            raise Killed
        version = commit(self, files, published_by)
        if files.name == table:
            raise Killed
        return version

    with monkeypatch.context() as patch:
        patch.setattr(form, "commit", killed)
        with pytest.raises(Killed):
            catalog.run("publish", "--rollback", *FLAGS)
    between = commits(catalog, RUN_ID)  # checks that each table is whole
    formats = Formats(delta=True, iceberg=FLAGS[2]).opened(catalog.warehouse)
    if following.lags(catalog.warehouse, formats):  # the last commit was not the last step
        assert catalog.run("publish", "--rollback", *FLAGS)["published"]
    old = commits(catalog, RUN_ID)
    assert old["delta"] == old["iceberg"] != new["delta"]
    assert old["delta"]["tags"] == genremill.Warehouse(catalog.uri).tags.snapshot.run_id
    for name, runs in between.items():
        assert all(run in (old[name][one], new[name][one]) for one, run in runs.items())
    generation = catalog.warehouse.generation()
    assert generation is not None
    by = commits(catalog, PUBLISHED_BY)
    assert {*by["delta"].values(), *by["iceberg"].values()} == {generation.published_by}


def test_a_night_repairs_what_is_missing(published_twice: Path, catalog: Catalog) -> None:
    assert not (Path(catalog.uri) / "tags" / "_delta_log").exists()
    flags = ["--tracks", catalog.tracks, "--train.when", "never", "--publish.delta"]
    night = catalog.run("nightly", *flags)["steps"]
    assert night["publish"]["delta"].keys() >= {"tracks", "tags"}
    assert catalog.run("nightly", *flags)["steps"]["publish"] == "skipped"


def test_a_rollback_without_changed_labels_is_a_commit_too(
    published_twice: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(published_twice / "warehouse", tmp_path / "a ü")
    shutil.copy(published_twice / "tracks.csv", tmp_path)
    catalog = Catalog(tmp_path, capsys)
    catalog.uri = str(tmp_path / "a ü")
    catalog.run("score", "--keep", "none")  # the same labels
    assert catalog.run("publish", *LOOSE, "--delta")["changed_labels"] == 0
    assert catalog.run("publish", "--rollback", "--delta")["delta"].keys() == {*TABLES}
    assert delta_rows(catalog, "tag_changes").num_rows == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a ü", "tracks.csv"]
    # The same tags with other copied columns are still those that were rolled back.
    catalog.run("score", "--keep", "none")
    assert cli.main(["publish", "--warehouse", catalog.uri]) == 2
    assert "the same tags were rolled back" in capsys.readouterr().err
    # Without the flag, a rollback says that the Delta tables stay.
    assert cli.main(["publish", "--warehouse", catalog.uri, "--rollback"]) == 0
    assert "the delta tables stay as they are, because --delta is missing" in capsys.readouterr().err


def test_vacuum_keeps_the_files_of_retained_commits(catalog: Catalog) -> None:
    run = genremill.Warehouse(catalog.uri).tags.snapshot.run_id
    catalog.run("publish", "--run", run, *FLAGS)
    catalog.run("publish", *FLAGS, *LOOSE)
    catalog.run("vacuum", "--keep-runs", "1", "--min-age-hours", "0", "--yes")
    assert delta_rows(catalog, "tags", version=0).num_rows > 1500
    (first, *_) = iceberg_table("tags").snapshots()
    assert iceberg_table("tags").scan(snapshot_id=first.snapshot_id).to_arrow().num_rows > 1500


def test_a_column_of_another_type_becomes_a_new_column(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path / "wh"))
    formats = Formats(delta=True, iceberg=FLAGS[2]).opened(warehouse)
    for number, values in enumerate(([1, 2], ["a", "b"])):
        folder = tmp_path / "wh" / "tags" / f"run=r{number}"
        folder.mkdir(parents=True)
        columns = {"track_id": ["x", "y"], "extra": values}
        if number:  # without a time zone, which Delta stores since a later version of its protocol
            columns["at"] = [datetime(2026, 1, 1), None]
        pq.write_table(pa.table(columns), folder / "part.parquet")
        snapshot = Snapshot(f"20260101T00000{number}-000000", f"tags/run=r{number}", 2, "", {}, "", "")
        for form in formats:
            form.commit(TableFiles.of(warehouse, "tags", snapshot), f"night{number}")
    assert DeltaTable(str(tmp_path / "wh" / "tags")).to_pyarrow_table()["extra"].to_pylist() == ["a", "b"]
    table = iceberg_table("tags")
    assert table.scan().to_arrow()["extra"].to_pylist() == ["a", "b"]
    (first, _) = table.snapshots()
    assert table.scan(snapshot_id=first.snapshot_id).to_arrow()["track_id"].to_pylist() == ["x", "y"]


@pytest.mark.parametrize("flags", [{"delta": True}, {"iceberg": "local.music"}])
def test_a_path_that_the_libraries_would_decode_is_refused(flags: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a warehouse without '%' in its path"):
        Formats(**flags).opened(Warehouse.at(str(tmp_path / "a%20b")))


@pytest.mark.parametrize(
    ("flags", "missing", "message"),
    [
        (("--delta",), "deltalake", "pip install 'genremill[delta]'"),
        (("--iceberg", "local.music"), "pyiceberg.io.pyarrow", "pip install 'genremill[iceberg]'"),
        (("--iceberg", "local"), "", "--iceberg local: expected CATALOG.namespace"),
        (("--iceberg", "other.music"), "", "pyiceberg cannot load the catalog 'other'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_published(
    flags: tuple[str, ...], missing: str, message: str, catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)
    before = genremill.Warehouse(catalog.uri).tags.snapshot
    catalog.capsys.readouterr()
    assert cli.main(["publish", "--warehouse", catalog.uri, *LOOSE, *flags]) == 2
    assert message in catalog.capsys.readouterr().err
    assert genremill.Warehouse(catalog.uri).tags.snapshot == before


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), "music") as running:
        yield running


def test_a_warehouse_on_s3_gets_commits(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in (OWNER.environment | {"AWS_ENDPOINT_URL_S3": server.endpoint}).items():
        monkeypatch.setenv(name, value)
    s3_client.forget()
    warehouse = Warehouse.at("s3a://music/wh")
    formats = Formats(delta=True, iceberg=FLAGS[2]).opened(warehouse)
    for number in range(2):
        content = io.BytesIO()
        pq.write_table(pa.table({"track_id": ["x", "y"], "number": [number, number]}), content)
        key = f"wh/tags/run=r{number}/part.parquet"
        server.client().put_object(Bucket="music", Key=key, Body=content.getvalue())
        snapshot = Snapshot(f"20260101T00000{number}-000000", f"tags/run=r{number}", 2, "", {}, "", "")
        for form in formats:
            form.commit(TableFiles.of(warehouse, "tags", snapshot), f"night{number}")
            assert form.published_by("tags") == f"night{number}"
    options = {"AWS_ENDPOINT_URL": server.endpoint, "AWS_ALLOW_HTTP": "true", **OWNER.environment}
    options |= {"AWS_REGION": OWNER.environment["AWS_DEFAULT_REGION"]}
    delta = DeltaTable("s3://music/wh/tags", storage_options=options)
    assert (delta.version(), delta.to_pyarrow_table()["number"].to_pylist()) == (1, [1, 1])
    read = formats[1]._table("tags")  # type: ignore[attr-defined]  # with the settings of the server
    assert read.scan().to_arrow()["number"].to_pylist() == [1, 1]
    assert following.retained(warehouse, "tags") == {"20260101T000000-000000", "20260101T000001-000000"}
    s3_client.forget()
