"""A night on a table of hostile texts, credentials around it, and a job's event log: what they tell."""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from pyspark.sql import SparkSession

from genremill.jobs import cli
from tests.conftest import JARS, catalog, write_csv
from tests.pure.page_reader import read

ROOT = Path(__file__).parents[2]
HOSTILE = (
    "=cmd()|' /C calc'!A0",
    "<script>alert(1)</script>",
    "\x1b[31mred\u202e",
    'a" onload="x',
    "@SUM(A1)",
)
"""Genres, and what titles, artists and albums begin with."""
CLUSTERS = ("\x1b[2J<b>loud</b>", "=2+3")
SECRET = "wh1sper"
"""In every key, secret and token."""
AWS = {
    name: f"{SECRET}{name}" for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
}
S3A = {f"fs.s3a.{name}": f"{SECRET}{name}" for name in ("access.key", "secret.key", "session.token")}


@dataclass(frozen=True)
class Left:
    """What a job has said, and the folder with all that it has written."""

    said: str
    folder: Path

    def files(self, pattern: str = "*") -> list[Path]:
        """The files that it has written."""
        return [path for path in sorted(self.folder.rglob(pattern)) if path.is_file()]


def hostile_table(folder: Path, rows: int) -> str:
    """A table whose texts are all hostile; a genre is told by its energy."""
    tracks = catalog(rows)
    for at, row in enumerate(tracks):
        text = HOSTILE[at % len(HOSTILE)]
        row |= {"track_genre": text, "energy": at % len(HOSTILE), "track_name": f"{text}{at}"}
        row |= dict.fromkeys(("artists", "album_name"), f"{text} {at // 2}")
    return write_csv(folder / "tracks.csv", tracks)


@pytest.fixture(scope="module")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> Left:
    folder, given = (tmp_path_factory.mktemp(name) for name in ("night", "given"))
    table, genre_map, said = hostile_table(given, 150), given / "map.yaml", io.StringIO()
    genre_map.write_text(json.dumps({genre: CLUSTERS[at % 2] for at, genre in enumerate(HOSTILE)}))
    by_map = ["--cluster.method", "manual", "--cluster.map", str(genre_map)]
    flags = ["--tracks", table, "--train.model", "linear", "--train.epochs", "1", *by_map]
    other = ["--train.when", "always", "--train.seed", "1", "--publish.max-churn-new", "0"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            for job, exit_code in (
                (["nightly", *flags], 0),
                (["nightly", *flags, *other], 2),  # its report shows tracks
                (["plan", *flags], 0),
                (["cluster", *(flag.replace("cluster.", "") for flag in by_map)], 0),
            ):
                assert cli.main([job[0], "--warehouse", str(folder), *job[1:]]) == exit_code, said.getvalue()
    return Left(said.getvalue(), folder)


def test_a_night_tells_no_secret(night: Left) -> None:
    assert len(night.files()) > 20
    assert [path for path in night.files() if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in night.said


def test_no_text_of_data_controls_the_terminal(night: Left) -> None:
    assert "·[31mred·" in night.said
    assert "·[2J<b>loud</b>" in night.said
    assert [letter for letter in night.said if not letter.isprintable() and letter != "\n"] == []


def test_no_text_of_data_is_markup_or_a_formula_in_a_page(night: Left) -> None:
    pages = night.files("*.html")
    assert pages
    for path in pages:
        page = path.read_text()
        reader = read(page)
        tags = {tag for tag, _ in reader.elements}
        assert not tags & {"script", "b", "link", "img", "iframe", "object", "base", "form"}, path
        attributes = [one for _, found in reader.elements for one in found.items()]
        assert not [name for name, _ in attributes if name.startswith("on") or name == "src"], path
        links = [value or "" for name, value in attributes if name == "href"]
        assert all(re.fullmatch(r"\.\./[0-9A-Za-z-]+/[a-z]+\.html", link) for link in links), links
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page), path
        cells = [text for tag, text in reader.texts if tag in ("td", "th")]
        assert not [text for text in cells if text.lstrip().startswith(("=", "@"))], path
        if path.name in ("report.html", "audit.html"):
            assert "<script>alert(1)</script>" in {text for _, text in reader.texts}
    assert {path.name for path in pages} == {"night.html", "report.html", "audit.html"}


def test_nothing_is_written_that_a_spreadsheet_opens_by_itself(night: Left) -> None:
    assert [path for path in night.files() if path.suffix in (".csv", ".tsv", ".xls", ".xlsx")] == []


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> Left:
    """`ingest` under `spark-submit`, with all that Spark says of itself, and its event log."""
    folder = tmp_path_factory.mktemp("submitted")
    (folder / "events").mkdir()
    settings = {f"spark.hadoop.{name}": value for name, value in S3A.items()}
    settings |= {f"spark.executorEnv.{name}": value for name, value in AWS.items()}
    settings |= {"spark.eventLog.enabled": "true", "spark.eventLog.dir": f"file://{folder}/events"}
    settings |= {"spark.eventLog.compress": "false", "spark.driver.extraClassPath": f"{JARS}/*"}
    settings |= {"spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1"}
    settings |= {"spark.sql.shuffle.partitions": "2", "spark.sql.codegen.wholeStage": "false"}
    job = subprocess.run(
        [
            *(str(Path(sys.executable).parent / "spark-submit"), "--master", "local[2]"),
            *(f"--conf={name}={value}" for name, value in settings.items()),
            *(str(ROOT / "jobs" / "ingest.py"), "--warehouse", str(folder / "warehouse")),
            *("--tracks", hostile_table(folder, 10)),
        ],
        env=os.environ | AWS | {"SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert job.returncode == 0, job.stdout
    return Left(job.stdout, folder)


def test_the_event_log_tells_no_secret(submitted: Left) -> None:
    (log,) = submitted.files("events_*")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (update,) = (event for event in events if event["Event"] == "SparkListenerEnvironmentUpdate")
    for name in S3A:
        assert "redacted" in update["Spark Properties"][f"spark.hadoop.{name}"]
        assert "redacted" in update["Hadoop Properties"][name]
    assert "SparkListenerSQLExecutionStart" in log.read_text()
    assert [path for path in submitted.files() if SECRET.encode() in path.read_bytes()] == []
    assert "INFO DAGScheduler" in submitted.said
    assert SECRET not in submitted.said


def test_nothing_listens_for_browsers_under_spark_submit(submitted: Left) -> None:
    assert "INFO BlockManager" in submitted.said  # where Spark says what it starts
    assert not re.search("SparkUI|jetty|WebUI", submitted.said)
