"""The small objects of a warehouse on a real S3 server: pointers, leases, listings, unfinished uploads."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from genremill.infra import background, lease, run_ids, storage
from genremill.infra.errors import StorageError, UsageError
from genremill.infra.stores import s3_client
from genremill.infra.stores.objects import Conflict
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli
from tests.conftest import SetClock
from tests.e2e.s3_server import OWNER, S3Server, running_s3

BUCKET = "warehouses"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as running:
        yield running


@pytest.fixture
def root(server: S3Server, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[str]:
    """A folder of the bucket for one test."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.endpoint)
    for name, value in OWNER.environment.items():
        monkeypatch.setenv(name, value)
    s3_client.forget()
    yield f"s3a://{BUCKET}/{request.node.name}"
    s3_client.forget()


def test_objects_with_any_name_are_written_and_read(root: str) -> None:
    for name in ("a.json", "deep/er/ü b+c#%2e", "empty"):
        data = b"" if name == "empty" else name.encode() * 1000
        storage.write_atomic(f"{root}/{name}", data)
        assert storage.read_bytes(f"{root}/{name}") == data
    assert [stored.name for stored in storage.objects(root)] == ["a.json", "deep/er/ü b+c#%2e", "empty"]
    assert storage.read_bytes(f"s3://{root.partition('://')[2]}/a.json") == b"a.json" * 1000


def test_folders_are_the_common_beginnings_of_keys(root: str, server: S3Server) -> None:
    for name in ("b/1", "a/x/2", "a/3", "c"):
        storage.write_atomic(f"{root}/{name}", b"1")
    assert storage.folders(root) == ["a", "b"]
    assert storage.exists(f"{root}/a")
    assert not storage.is_object(f"{root}/a")
    assert not storage.exists(f"{root}/d")
    prefix = root.partition(f"{BUCKET}/")[2]
    server.client().put_object(Bucket=BUCKET, Key=f"{prefix}/a/marker/", Body=b"")
    assert [stored.name for stored in storage.objects(f"{root}/a")] == ["3", "x/2"]


def test_more_objects_than_a_page_are_listed_and_removed(root: str) -> None:
    names = [f"many/{number:04d}" for number in range(1005)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda name: storage.write_atomic(f"{root}/{name}", b"1"), names))
    storage.write_atomic(f"{root}/many2/0", b"1")
    assert [stored.name for stored in storage.objects(root)] == [*names, "many2/0"]
    storage.remove(f"{root}/many")
    assert [stored.name for stored in storage.objects(root)] == ["many2/0"]
    storage.remove(f"{root}/many")


def test_missing_objects_and_buckets(root: str) -> None:
    with pytest.raises(StorageError, match=r"cannot read .*/none: no such object"):
        storage.read_bytes(f"{root}/none")
    with pytest.raises(UsageError, match="no such file or folder"):
        storage.inventory(f"{root}/none")
    with pytest.raises(StorageError, match="no such bucket"):
        storage.read_bytes("s3a://nowhere/at/all")
    storage.remove_object(f"{root}/none")
    for invalid in ("s3a://", "s3://x", f"{root}//a"):
        with pytest.raises(UsageError, match="expected s3a://bucket/prefix"):
            storage.is_object(invalid)


def test_an_inventory_changes_with_the_bytes_and_ignores_files_that_spark_ignores(root: str) -> None:
    storage.write_atomic(f"{root}/t/part-0", b"PAR1....")
    first = storage.inventory(f"{root}/t")
    storage.write_atomic(f"{root}/t/_SUCCESS", b"{}")
    storage.write_atomic(f"{root}/t/_tmp/x", b"{}")
    assert storage.inventory(f"{root}/t") == first
    assert storage.is_parquet(f"{root}/t")
    assert storage.is_parquet(f"{root}/t/part-0")
    storage.write_atomic(f"{root}/t/part-0", b"text....")
    assert storage.inventory(f"{root}/t").digest != first.digest
    assert not storage.is_parquet(f"{root}/t")


def test_an_object_is_replaced_only_if_it_still_has_the_expected_version(root: str) -> None:
    pointer = f"{root}/pointer"
    storage.write_over(pointer, b"1", None)
    with pytest.raises(Conflict):
        storage.write_over(pointer, b"2", None)
    _, version = storage.read_version(pointer)
    storage.write_over(pointer, b"2", version)
    with pytest.raises(Conflict):
        storage.write_over(pointer, b"3", version)
    # After a lost response, the repeated request finds that the object already has these bytes.
    storage.write_over(pointer, b"2", version)
    assert storage.read_bytes(pointer) == b"2"


def snapshot(run_id: str) -> Snapshot:
    return Snapshot(run_id, f"tags/run={run_id}", 1, "", {}, "", "2026-01-01T00:00:00Z")


def test_one_of_several_concurrent_publishers_wins(root: str) -> None:
    warehouse = Warehouse.at(root)
    warehouse.publish_together({"tags": snapshot("first")}, "r0", audited_against=None)
    audited = warehouse.current("tags")
    barrier = threading.Barrier(8)

    def publish(number: int) -> str:
        barrier.wait()
        try:
            tags = snapshot(f"publisher-{number}")
            warehouse.publish_together({"tags": tags}, f"r{number}", audited_against=audited)
        except Conflict:
            return "refused"
        return f"publisher-{number}"

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(publish, range(8)))
    assert outcomes.count("refused") == 7
    current = warehouse.current("tags")
    assert current is not None
    assert current.snapshot.run_id in outcomes
    assert [previous.run_id for previous in current.previous] == ["first"]
    assert warehouse.lagging() == []


def test_a_lease_on_s3_has_one_holder_and_expires(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"{root}/_night.lease"
    with lease.held(uri, "r1"), pytest.raises(lease.Held, match="run r1"), lease.held(uri, "r2"):
        pass
    assert not storage.is_object(uri)
    monkeypatch.setattr(lease, "EXPIRY_S", 0.5)
    storage.write_atomic(uri, b"a run that has ended")
    with lease.held(uri, "r3"):
        assert b"r3" in storage.read_bytes(uri)


def test_arrow_reads_objects_that_boto3_wrote(root: str, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "table.parquet")
    storage.write_atomic(f"{root}/table.parquet", (tmp_path / "table.parquet").read_bytes())
    store, path = storage.arrow(f"{root}/table.parquet")
    assert pq.read_table(path, filesystem=store).column("a").to_pylist() == [1, 2]


def test_vacuum_aborts_unfinished_uploads(
    root: str, server: S3Server, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.write_atomic(f"{root}/_tmp/started", b"")  # creates the warehouse
    key = root.partition(f"{BUCKET}/")[2] + "/tags/run=20260101T000000-abcdef/part-0.parquet"
    upload = server.client().create_multipart_upload(Bucket=BUCKET, Key=key)
    server.client().upload_part(
        Bucket=BUCKET, Key=key, UploadId=upload["UploadId"], PartNumber=1, Body=b"1" * 5_000_000
    )
    vacuum = ["vacuum", "--warehouse", root, "--yes"]
    assert cli.main(vacuum) == 0
    assert [upload.name for upload in storage.uploads(root)] == [
        "tags/run=20260101T000000-abcdef/part-0.parquet"
    ]
    assert cli.main([*vacuum, "--min-age-hours", "0"]) == 0
    assert "upload that nobody ended" in capsys.readouterr().out
    assert storage.uploads(root) == []


def test_jobs_that_start_at_once_get_different_run_ids(root: str) -> None:
    storage.write_atomic(f"{root}/_sequence.json", b'{"last": "20991231T235959-fffff0", "token": ""}')
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: run_ids.take(root), range(24)))
    assert len(set(taken)) == 24
    assert min(taken) == "20991231T235959-fffff1"
    assert max(taken) == "21000101T000000-000008"


@pytest.mark.parametrize(
    ("ahead_s", "message"),
    [(90_000.0, "is 25.0 hours ahead of the clock of s3a:"), (-7_200.0, "2.0 hours behind"), (0.0, None)],
)
def test_a_machine_with_a_wrong_clock_warns_and_removes_nothing_of_a_running_job(
    root: str, set_clock: SetClock, capsys: pytest.CaptureFixture[str], ahead_s: float, message: str | None
) -> None:
    run_id = "20260101T000000-abcdef"
    for name in (f"_tmp/{run_id}/{background.ALIVE}", f"tags/run={run_id}/part-0.parquet"):
        storage.write_atomic(f"{root}/{name}", b"1")
    set_clock(ahead_s)
    assert cli.main(["vacuum", "--warehouse", root, "--yes"]) == 0
    log = capsys.readouterr().err
    assert log.count("the clock of this machine") == (1 if message else 0)
    assert message is None or message in log
    assert storage.is_object(f"{root}/tags/run={run_id}/part-0.parquet")
