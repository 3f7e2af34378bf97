"""Hostile texts and credentials: neither reaches the terminal, the pages or the event log of a job."""

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
class JobResult:
    """The output of a job, and the folder with the files that it wrote."""

    output: str
    folder: Path

    def files(self, pattern: str = "*") -> list[Path]:
        """The files that the job wrote."""
        return [path for path in sorted(self.folder.rglob(pattern)) if path.is_file()]


def hostile_table(folder: Path, rows: int) -> str:
    """A table whose texts are all hostile; the energy of a track determines its genre."""
    tracks = catalog(rows)
    for at, row in enumerate(tracks):
        text = HOSTILE[at % len(HOSTILE)]
        row |= {"track_genre": text, "energy": at % len(HOSTILE), "track_name": f"{text}{at}"}
        row |= dict.fromkeys(("artists", "album_name"), f"{text} {at // 2}")
    return write_csv(folder / "tracks.csv", tracks)


@pytest.fixture(scope="module")
def night(spark: SparkSession, tmp_path_factory: pytest.TempPathFactory) -> JobResult:
    folder, given = (tmp_path_factory.mktemp(name) for name in ("night", "given"))
    table, genre_map, output = hostile_table(given, 150), given / "map.yaml", io.StringIO()
    genre_map.write_text(json.dumps({genre: CLUSTERS[at % 2] for at, genre in enumerate(HOSTILE)}))
    by_map = ["--cluster.method", "manual", "--cluster.map", str(genre_map)]
    flags = ["--tracks", table, "--train.model", "linear", "--train.epochs", "1", *by_map]
    other = ["--train.when", "always", "--train.seed", "1", "--publish.max-churn-new", "0"]
    with pytest.MonkeyPatch.context() as patch:
        for name, value in AWS.items():
            patch.setenv(name, value)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            for job, exit_code in (
                (["nightly", *flags], 0),
                (["nightly", *flags, *other], 2),  # its report shows tracks
                (["plan", *flags], 0),
                (["cluster", *(flag.replace("cluster.", "") for flag in by_map)], 0),
            ):
                assert cli.main([job[0], "--warehouse", str(folder), *job[1:]]) == exit_code, (
                    output.getvalue()
                )
    return JobResult(output.getvalue(), folder)


def test_a_nightly_run_writes_no_secret(night: JobResult) -> None:
    assert len(night.files()) > 20
    assert [path for path in night.files() if SECRET.encode() in path.read_bytes()] == []
    assert SECRET not in night.output


def test_texts_of_the_table_cannot_control_the_terminal(night: JobResult) -> None:
    assert "·[31mred·" in night.output
    assert "·[2J<b>loud</b>" in night.output
    assert [letter for letter in night.output if not letter.isprintable() and letter != "\n"] == []


def test_texts_of_the_table_are_not_markup_or_formulas_in_a_page(night: JobResult) -> None:
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
        assert all(re.fullmatch(r"(\.\./)?[0-9A-Za-z-]+/[a-z]+\.html", link) for link in links), links
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e]", page), path
        cells = [text for tag, text in reader.texts if tag in ("td", "th")]
        assert not [text for text in cells if text.lstrip().startswith(("=", "@"))], path
        if path.name in ("report.html", "audit.html"):
            assert "<script>alert(1)</script>" in {text for _, text in reader.texts}
    assert {path.name for path in pages} == {"index.html", "night.html", "report.html", "audit.html"}


def test_no_spreadsheet_files_are_written(night: JobResult) -> None:
    assert [path for path in night.files() if path.suffix in (".csv", ".tsv", ".xls", ".xlsx")] == []


@pytest.fixture(scope="module")
def submitted(tmp_path_factory: pytest.TempPathFactory) -> JobResult:
    """`ingest` under `spark-submit`, with the log of Spark and its event log."""
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
    return JobResult(job.stdout, folder)


def test_the_event_log_has_no_secret(submitted: JobResult) -> None:
    (log,) = submitted.files("events_*")
    events = [json.loads(line) for line in log.read_text().splitlines()]
    (update,) = (event for event in events if event["Event"] == "SparkListenerEnvironmentUpdate")
    for name in S3A:
        assert "redacted" in update["Spark Properties"][f"spark.hadoop.{name}"]
        assert "redacted" in update["Hadoop Properties"][name]
    assert "SparkListenerSQLExecutionStart" in log.read_text()
    assert [path for path in submitted.files() if SECRET.encode() in path.read_bytes()] == []
    assert "INFO DAGScheduler" in submitted.output
    assert SECRET not in submitted.output


def test_no_web_server_starts_under_spark_submit(submitted: JobResult) -> None:
    assert "INFO BlockManager" in submitted.output  # Spark logs what it starts
    assert not re.search("SparkUI|jetty|WebUI", submitted.output)
