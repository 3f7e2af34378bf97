"""The table of outcomes in docs/deploy/s3.md: each of its rows is a case here."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from genremill.infra.stores import s3_client
from genremill.infra.warehouse import Snapshot, Warehouse
from genremill.jobs import cli, demo
from tests.e2e.faulty_nights import BUCKET, Bucket, RunResult, run_here, s3a_options
from tests.e2e.faulty_proxy import Chooser, Fault, FaultyProxy, Request, faulty_proxy, first
from tests.e2e.s3_server import OWNER, S3Server, running_s3
from tests.e2e.served_session import ServedSession, served_session

CLIPS = 6
TABLE, AUDIO, WAREHOUSE = r"/in/tracks\.csv", r"/in/clips/", r"/wh-"
DOCS = Path(__file__).parents[2] / "docs" / "deploy" / "s3.md"


def to(pattern: str, fault: Fault, after: int = 0) -> Callable[[], Chooser]:
    """This fault for all requests that match `METHOD /path`, except the first ones."""

    def make() -> Chooser:
        seen: list[Request] = []

        def choose(request: Request) -> Fault | None:
            if not re.search(pattern, f"{request.method} {request.path}"):
                return None
            seen.append(request)
            return fault if len(seen) > after else None

        return choose

    return make


def down(seconds: float, after: int) -> Callable[[], Chooser]:
    """The server answers nothing for some seconds, which begin with the request of this number."""

    def make() -> Chooser:
        begun: list[float] = []

        def choose(request: Request) -> Fault | None:
            if request.number >= after and not begun:
                begun.append(time.monotonic())
            return Fault.RESET if begun and time.monotonic() - begun[0] < seconds else None

        return choose

    return make


@dataclass(frozen=True)
class Outcome:
    """What a job does under faults, and a part of its message."""

    job: str
    choose: Callable[[], Chooser]
    exit_code: int
    message: str = ""


FOREVER = 3600.0
OUTCOMES = {
    "the server is down for three seconds": [
        Outcome("tables", down(3, after=1), 0),
        Outcome("ingest", down(3, after=20), 0),
    ],
    "the server stays down": [
        Outcome("tables", down(FOREVER, after=0), 4, "cannot reach"),
        Outcome("ingest", down(FOREVER, after=30), 4),
    ],
    "the bodies of records are truncated": [
        Outcome("tables", to(r"GET .*_(generation|current)\.json", Fault.CUT), 4, "the body broke off"),
    ],
    "the bodies of all audio objects are truncated": [
        Outcome("extract", to(rf"GET .*{AUDIO}\w", Fault.CUT), 4, "the body broke off"),
    ],
    "the token expires": [
        Outcome("tables", to(".", Fault.EXPIRED), 4),
        Outcome("ingest", to(".", Fault.EXPIRED, after=30), 4),
    ],
    "the prefix of the warehouse is denied": [
        Outcome("tables", to(WAREHOUSE, Fault.DENIED), 2, "access denied"),
    ],
    "the track table is denied": [
        Outcome("ingest", to(TABLE, Fault.DENIED), 2),
        Outcome("ingest", to(TABLE, Fault.DENIED, after=3), 2),
    ],
    "the prefix of the audio is denied": [
        Outcome("extract", to(AUDIO, Fault.DENIED), 4, "access denied to 6 of 6 audio objects"),
        Outcome("extract", to(rf"GET .*{AUDIO}\w", Fault.DENIED), 4, "access denied to 6 of 6 audio objects"),
    ],
    "one audio object is denied": [
        Outcome("extract", to(rf"GET .*{AUDIO}0001", Fault.DENIED), 3),
    ],
    "the bucket is in another region": [
        Outcome("tables", to(".", Fault.OTHER_REGION), 2, "the bucket is in another region; set AWS_REGION"),
        Outcome("ingest", to(TABLE, Fault.OTHER_REGION, after=3), 2),
    ],
}
WITHOUT_SPARK = [(what, one) for what, cases in OUTCOMES.items() for one in cases if one.job == "tables"]
WITH_SPARK = [(what, one) for what, cases in OUTCOMES.items() for one in cases if one.job != "tables"]
BOUND_S = 240.0
"""Longest time of a job, on a machine with other work; alone, it is half a minute at most."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with running_s3(tmp_path_factory.mktemp("s3"), BUCKET) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(server: S3Server) -> Iterator[FaultyProxy]:
    with faulty_proxy(server.endpoint) as running, pytest.MonkeyPatch.context() as patch:
        for name, value in (OWNER.environment | {"AWS_ENDPOINT_URL": running.endpoint}).items():
            patch.setenv(name, value)
        s3_client.forget()
        yield running
    s3_client.forget()


@pytest.fixture(scope="module")
def bucket(server: S3Server) -> Bucket:
    return Bucket(server)


@pytest.fixture(scope="module")
def session(
    bucket: Bucket, proxy: FaultyProxy, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedSession]:
    """A session with the connector; the bucket has a track table, clips, and a warehouse of these tracks."""
    folder = tmp_path_factory.mktemp("catalog")
    options = {"PYSPARK_SUBMIT_ARGS": f"{s3a_options()} pyspark-shell"}
    assert demo.main(["--out", str(folder / "tracks.csv"), "--tracks", "60", "--clips", str(CLIPS)]) == 0
    bucket.upload(folder, "in")
    with served_session(options) as running:
        where = ("--warehouse", bucket.uri("ingested"), "--tracks", f"s3a://{BUCKET}/in/tracks.csv")
        result = running.run("ingest", *where)
        assert result.exit_code == 0, result.output
        yield running


def check(one: Outcome, result: RunResult, started: float) -> None:
    """Checks what a job printed, its exit code and its time."""
    assert result.exit_code == one.exit_code, result.output
    assert one.message in result.output
    assert "Traceback" not in result.output
    assert OWNER.access_key not in result.output
    assert OWNER.secret_key not in result.output
    assert time.monotonic() - started < BOUND_S


@pytest.mark.parametrize(("what", "one"), WITHOUT_SPARK)
def test_outcomes_of_boto3(bucket: Bucket, proxy: FaultyProxy, what: str, one: Outcome) -> None:
    name = f"wh-{WITHOUT_SPARK.index((what, one))}"
    warehouse = Warehouse.at(bucket.uri(name))
    snapshot = Snapshot("r0", "tracks/run=r0", 1, "", {}, "", "2026-01-01T00:00:00Z")
    warehouse.publish_together({"tags": snapshot}, "r0", audited_against=None)
    before, started = bucket.place(name).pointers(), time.monotonic()
    proxy.plan(one.choose())
    result = run_here("tables", "--warehouse", warehouse.uri)
    proxy.plan(first())
    check(one, result, started)
    assert bucket.place(name).pointers() == before
    assert cli.main(["tables", "--warehouse", warehouse.uri]) == 0


@pytest.mark.parametrize(("what", "one"), WITH_SPARK)
def test_outcomes_with_spark(
    session: ServedSession, bucket: Bucket, proxy: FaultyProxy, what: str, one: Outcome
) -> None:
    name = f"wh-spark-{WITH_SPARK.index((what, one))}"
    bucket.copy("ingested", name)
    flags: tuple[str, ...] = ("--tracks", f"s3a://{BUCKET}/in/tracks.csv", "--split-seed", "5")
    if one.job == "extract":
        flags = ("--audio-root", f"s3a://{BUCKET}/in")
    place, started = bucket.place(name), time.monotonic()
    before = place.pointers()
    proxy.plan(one.choose())
    result = session.run(one.job, "--warehouse", bucket.uri(name), *flags)
    proxy.plan(first())
    check(one, result, started)
    assert (place.pointers() == before) is (one.exit_code != 0 or one.job == "extract")


def test_every_outcome_is_documented() -> None:
    rows = re.findall(r"^\| (.+?) \|", DOCS.read_text(), flags=re.MULTILINE)
    assert [row for row in rows if row in OUTCOMES] == list(OUTCOMES)
