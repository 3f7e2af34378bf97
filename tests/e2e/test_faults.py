"""Jobs on an S3 with faults: they write the same tables as without faults, or fail cleanly."""

import dataclasses
import functools
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from pyspark.sql import SparkSession

from genremill.infra import storage
from genremill.infra.errors import ExitCode, StorageError
from genremill.infra.stores import s3_client
from genremill.infra.stores.objects import Conflict
from genremill.infra.stores.s3 import S3Store
from genremill.infra.stores.s3_client import RetrySettings
from genremill.infra.warehouse import Warehouse
from genremill.jobs.catalog.catalog_source import TABLE, CatalogSource
from genremill.jobs.catalog.settings import Options
from genremill.jobs.catalog.table_reader import check_whole, read_table
from genremill.jobs.command import Run
from genremill.jobs.generations import members
from genremill.models.training import checkpoints
from genremill.models.training.checkpoints import Checkpoint, Progress
from tests.conftest import catalog, s3_jars, write_csv
from tests.e2e.faulty_nights import BUCKET, CLEAN, EQUAL, Bucket, RunResult, judge, s3a_options
from tests.e2e.faulty_proxy import (
    LOST_ANSWERS,
    Fault,
    FaultyProxy,
    Request,
    faulty_proxy,
    first,
    since,
    sometimes,
)
from tests.e2e.s3_server import OWNER, S3Server, running_s3
from tests.e2e.served_session import ServedSession, served_session
from tests.e2e.warehouse_contents import Contents

ON_S3 = (Fault.SLOW_DOWN, Fault.INTERNAL, Fault.RESET, Fault.SHORT, *LOST_ANSWERS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as running:
        yield running


@pytest.fixture(scope="module")
def running_proxy(server: S3Server, ready: Path) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.endpoint) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in (OWNER.environment | {"AWS_ENDPOINT_URL": running.endpoint}).items():
            patch.setenv(name, value)
        s3_client.forget()
        yield running
    s3_client.forget()


@pytest.fixture
def proxy(running_proxy: FaultyProxy) -> FaultyProxy:
    """The proxy in front of the server; it injects no faults until a test plans some."""
    running_proxy.plan(first())
    return running_proxy


@dataclass(frozen=True)
class Shop:
    """Warehouses with a trained model, and a session that runs jobs on them."""

    session: ServedSession
    bucket: Bucket
    scored: Contents
    tagged: Contents

    def ends_well(
        self,
        job: str,
        name: str,
        expected: Contents,
        result: RunResult,
        refusal: ExitCode = ExitCode.RETRY,
    ) -> None:
        """Checks that a job wrote the expected tables or failed cleanly."""
        flags, place = ["--warehouse", self.bucket.uri(name)], self.bucket.place(name)
        before = self.bucket.place({"score": "trained", "publish": "scored"}[job]).pointers()
        again = functools.partial(self.session.run, job, *flags)
        verdict = judge(place, before, expected, result, again, refusal=refusal)
        assert verdict.outcome in (EQUAL, CLEAN), f"{verdict.outcome}\n{result.output[-3000:]}"


@pytest.fixture(scope="module")
def shop(
    ready: Path, server: S3Server, running_proxy: FaultyProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    s3_jars()
    bucket = Bucket(server)
    bucket.upload(ready / "warehouse", "trained")
    with served_session({"PYSPARK_SUBMIT_ARGS": f"{s3a_options()} pyspark-shell"}) as session:
        bucket.copy("trained", "scored")
        assert session.run("score", "--warehouse", bucket.uri("scored")).exit_code == 0
        bucket.copy("scored", "tagged")
        assert session.run("publish", "--warehouse", bucket.uri("tagged")).exit_code == 0
        yield Shop(session, bucket, bucket.place("scored").contents(), bucket.place("tagged").contents())


def test_score_writes_the_expected_tables_or_fails_cleanly_with_many_faults(
    shop: Shop, proxy: FaultyProxy
) -> None:
    shop.bucket.copy("trained", "storm")
    proxy.plan(sometimes(0.2, seed=1, faults=ON_S3))
    result = shop.session.run("score", "--warehouse", shop.bucket.uri("storm"))
    assert proxy.faults.total() > 10
    proxy.plan(first())
    shop.ends_well("score", "storm", shop.scored, result)


def test_if_access_is_denied_the_old_tags_stay_current(shop: Shop, proxy: FaultyProxy) -> None:
    shop.bucket.copy("scored", "denied")
    proxy.plan(since(40, Fault.DENIED))
    result = shop.session.run("publish", "--warehouse", shop.bucket.uri("denied"))
    assert result.exit_code == 2
    assert shop.bucket.place("denied").pointers() == shop.bucket.place("scored").pointers()
    proxy.plan(first())
    shop.ends_well("publish", "denied", shop.tagged, result, refusal=ExitCode.USAGE)


def test_a_track_table_that_may_not_be_read_is_a_permanent_error(
    shop: Shop, proxy: FaultyProxy, ready: Path, server: S3Server
) -> None:
    server.client().upload_file(str(ready / "tracks.csv"), BUCKET, "in/tracks.csv")
    seen: list[Request] = []

    def choose(request: Request) -> Fault | None:
        seen.extend(
            [request] if re.match(r"GET .*/in/tracks\.csv", f"{request.method} {request.path}") else []
        )
        return Fault.DENIED if len(seen) > 2 else None

    proxy.plan(choose)
    where = ("--warehouse", shop.bucket.uri("untold"), "--tracks", f"s3a://{BUCKET}/in/tracks.csv")
    result = shop.session.run("ingest", *where)
    assert proxy.faults[Fault.DENIED]
    assert result.exit_code == 2, result.output


@pytest.mark.parametrize("file", ["_generation.json", "tags/_current.json"])
@pytest.mark.parametrize("fault", LOST_ANSWERS)
def test_a_lost_response_to_the_pointer_update_is_no_conflict(
    shop: Shop, proxy: FaultyProxy, fault: Fault, file: str
) -> None:
    name = f"lost-{fault.name}-{file[0]}"
    shop.bucket.copy("scored", name)
    warehouse = Warehouse.at(shop.bucket.uri(name))
    staged = warehouse.runs("tags")[-1]
    proxy.plan(_to(rf"PUT .*/{file}", fault))
    warehouse.publish_together(members.generation_of(warehouse, staged), "r1", audited_against=None)
    assert warehouse.require("tags", "publish") == staged
    assert warehouse.lagging() == []
    assert proxy.faults == {fault: 1}


def test_a_publication_between_read_and_write_is_kept(shop: Shop, proxy: FaultyProxy) -> None:
    shop.bucket.copy("tagged", "race")
    warehouse = Warehouse.at(shop.bucket.uri("race"))
    audited, mine = warehouse.current("tags"), warehouse.runs("tags")[-1]
    other = dataclasses.replace(mine, run_id="another")

    def other_first(request: Request) -> None:
        if request.method == "PUT":
            proxy.plan(first())
            warehouse.publish_together({"tags": other}, "r1", audited)

    proxy.plan(other_first)
    with pytest.raises(Conflict, match="meanwhile"):
        warehouse.publish_together({"tags": mine}, "r2", audited)
    assert warehouse.require("tags", "publish") == other
    assert warehouse.lagging() == []


@pytest.mark.parametrize(
    ("fault", "carried_out"),
    [(Fault.RESET, False), (Fault.INTERNAL, False), (Fault.LOST, True), (Fault.LOST_500, True)],
)
def test_the_server_executes_a_request_only_for_some_faults(
    proxy: FaultyProxy, server: S3Server, fault: Fault, carried_out: bool
) -> None:
    proxy.plan(since(0, fault))
    with pytest.raises(StorageError):
        S3Store(RetrySettings(attempts=1)).write(f"s3a://{BUCKET}/reaches/{fault.name}", b"abc")
    found = server.client().list_objects_v2(Bucket=BUCKET, Prefix=f"reaches/{fault.name}")
    assert bool(found.get("Contents")) is carried_out


def test_a_checkpoint_that_cannot_be_read_is_an_error(proxy: FaultyProxy) -> None:
    folder = f"s3a://{BUCKET}/checkpoints"
    for epoch in (1, 2):
        tensors = {"weight": torch.full((3,), float(epoch))}
        checkpoints.save(folder, Checkpoint(epoch, tensors, Progress((), 1, None)))
    proxy.plan(_to(r"GET .*/epoch-00002/model\.safetensors", Fault.DENIED))
    with pytest.raises(StorageError, match="epoch-00002"):
        checkpoints.newest(folder)
    proxy.plan(first())
    newest = checkpoints.newest(folder)
    assert newest is not None
    assert newest.epoch == 2


def test_rows_lost_in_a_truncated_response_are_an_error(spark: SparkSession, tmp_path: Path) -> None:
    rows = catalog(5)
    rows[2]["track_name"] = 'With "quotes", and\ttabs'
    path = Path(write_csv(tmp_path / "tracks.csv", rows))
    path.write_text("\n" + path.read_text() + "\n \t\n")
    shutil.copy(path, tmp_path / "more.csv")
    uri = storage.absolute_uri(str(tmp_path))
    table = read_table(
        spark, Run(Warehouse.at(str(tmp_path / "warehouse")), "r1"), CatalogSource(TABLE, uri), Options()
    )
    check_whole(table, table.rows.count())
    assert table.expected_rows == 10
    with pytest.raises(StorageError, match="9 rows were read; another read found 10"):
        check_whole(table, 9)


def _to(pattern: str, fault: Fault) -> Callable[[Request], Fault | None]:
    """Injects a fault into the first request that matches the pattern."""
    left = [fault]

    def choose(request: Request) -> Fault | None:
        return left.pop() if left and re.match(pattern, f"{request.method} {request.path}") else None

    return choose
