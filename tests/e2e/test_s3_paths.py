"""Keys of S3 with any characters, as tables and as warehouses, and buckets that do not exist."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from genremill.infra import storage
from genremill.infra.stores import s3_client
from genremill.infra.warehouse import Warehouse
from tests.e2e.faulty_nights import s3a_options
from tests.e2e.s3_server import OWNER, S3Server, running_s3
from tests.e2e.served_session import ServedSession, served_session

BUCKET = "names"
TABLE = "track_id,track_genre\nright,rock\n"
NAMES = ("a b#50%20+é.csv", "tracks_2026-11-28T02:15:00?.csv", "[x]{a,b}*.csv")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as running:
        yield running


@pytest.fixture(scope="module")
def session(server: S3Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedSession]:
    """A session of Spark with the connector, which has this server as its endpoint."""
    environment = OWNER.environment | {"AWS_ENDPOINT_URL": server.endpoint}
    with served_session(environment | {"PYSPARK_SUBMIT_ARGS": f"{s3a_options()} pyspark-shell"}) as served:
        yield served


@pytest.fixture
def warehouse(server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Warehouse]:
    """A warehouse whose prefix has unusual characters too."""
    for name, value in (OWNER.environment | {"AWS_ENDPOINT_URL": server.endpoint}).items():
        monkeypatch.setenv(name, value)
    s3_client.forget()
    yield Warehouse.at(f"s3://{BUCKET}/wh [1] 50%20#?:é")
    s3_client.forget()


@pytest.mark.parametrize("folder", ["tables/", "tables {of} a?b%20/"])
def test_tables_of_any_name_are_read(
    session: ServedSession, server: S3Server, warehouse: Warehouse, folder: str
) -> None:
    for name in NAMES:
        server.client().put_object(Bucket=BUCKET, Key=f"{folder}{name}", Body=TABLE.encode())
        result = session.run(
            "ingest", "--warehouse", warehouse.uri, "--tracks", f"s3a://{BUCKET}/{folder}{name}"
        )
        assert result.exit_code == 0, result.output
        assert warehouse.require("tracks", "ingest").rows == 1
    whole = ("--tracks", f"s3a://{BUCKET}/{folder}", "--dry-run")
    result = session.run("ingest", "--warehouse", warehouse.uri, *whole)
    assert result.exit_code == 0, result.output
    assert f"{len(NAMES)} CSV files" in result.output


def test_a_bucket_that_does_not_exist_is_a_permanent_fault(
    session: ServedSession, warehouse: Warehouse, tmp_path: Path
) -> None:
    table = tmp_path / "t.csv"
    table.write_text(TABLE)
    for where in (
        ("--warehouse", warehouse.uri, "--tracks", "s3a://no-such-bucket/t.csv"),
        ("--warehouse", "s3a://no-such-bucket/wh", "--tracks", str(table)),
    ):
        result = session.run("ingest", *where)
        assert result.exit_code == 2, result.output
        assert "there is no such bucket" in result.output
    assert not storage.exists(warehouse.path("no-such-folder"))
