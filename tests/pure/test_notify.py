"""How a night ended reaches others: a signed POST, a program, Prometheus text and the list of pages."""

import hashlib
import hmac
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from genremill.infra import records
from genremill.infra.errors import UsageError
from genremill.infra.warehouse import Warehouse
from genremill.jobs.nights import index_page, notify, prometheus
from genremill.jobs.nights.record import Night, State, StepRecord, TableRecord

NIGHT = Night(
    "20261130T010203-000000",
    "2026-11-30T01:02:03Z",
    seconds=12.5,
    exit_code=2,
    error='too many "changes"',
    steps=(
        StepRecord("ingest", State.RAN, "new", 3.0),
        StepRecord("publish", State.REFUSED, "x", 1.0, {"audits": {"churn": {"value": 0.5}}}),
        StepRecord("train", State.SKIPPED),
    ),
    tables=(TableRecord("tags", None, 0, "r", 7),),
    metrics={"model_version": "fusion/r", "top1": {"value": 0.5}},
)


@dataclass
class Receiver:
    """A server on the loopback interface, the statuses of its next answers, and what it has got."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    got = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.requests.append((dict(self.headers), body))
            self.send_response(got.statuses.pop(0) if got.statuses else 204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    monkeypatch.setattr(notify, "PAUSE_S", 0.0)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        got.url = f"http://127.0.0.1:{server.server_port}/hook/s3cret"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield got
        server.shutdown()


def sent(tmp_path: Path, url: str | None = None, command: str | None = None) -> None:
    notify.check(url, command)
    notify.send(url, command, Warehouse.at(str(tmp_path)), NIGHT)


def test_the_verdict_is_posted_with_a_signature(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENREMILL_NOTIFY_SECRET", "key")
    monkeypatch.setenv("GENREMILL_NOTIFY_TOKEN", "token")
    sent(tmp_path, receiver.url)
    ((headers, body),) = receiver.requests
    expected = "sha256=" + hmac.new(b"key", body, hashlib.sha256).hexdigest()
    assert headers["X-Genremill-Signature"] == expected
    assert headers["Authorization"] == "Bearer token"
    document = json.loads(body)
    assert document["verdict"] == "was refused"
    assert document["exit_code"] == 2
    assert document["steps"] == {"ingest": "ran", "publish": "refused", "train": "skipped"}
    assert document["figures"]["rows/tags"] == 7
    assert document["report"] == f"file://{tmp_path}/reports/{NIGHT.run_id}/night.html"


def test_a_busy_server_is_asked_again_and_a_refusal_is_not(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    receiver.statuses = [503, 429, 204]
    sent(tmp_path, receiver.url)
    assert len(receiver.requests) == 3
    assert len({body for _, body in receiver.requests}) == 1
    receiver.requests.clear()
    receiver.statuses = [403, 204]
    sent(tmp_path, receiver.url)
    assert len(receiver.requests) == 1
    err = caplog.text
    assert "the server answered with status 403" in err
    assert "s3cret" not in err


def test_a_server_that_is_gone_is_only_logged(
    receiver: Receiver, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sent(tmp_path, "http://127.0.0.1:9/s3cret")
    err = caplog.text
    assert "--notify http://127.0.0.1/…: not sent" in err
    assert "s3cret" not in err


def test_the_url_can_be_in_the_environment(
    receiver: Receiver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="the environment variable HOOK is not set"):
        notify.check("env:HOOK", None)
    monkeypatch.setenv("HOOK", receiver.url)
    sent(tmp_path, "env:HOOK")
    assert len(receiver.requests) == 1


def test_a_program_gets_the_document(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out = tmp_path / "got it.json"
    sent(tmp_path, command=f"tee '{out}'")
    assert json.loads(out.read_text())["run_id"] == NIGHT.run_id
    sent(tmp_path, command="false")
    assert "--notify-command: ended with exit status 1" in caplog.text


@pytest.mark.parametrize(
    ("url", "command", "message"),
    [
        ("ftp://host/x", None, "expected a URL such as https://"),
        ("/path", None, "expected a URL such as https://"),
        ("https://ada:hush@host/x", None, "the URL contains credentials"),
        (None, "", "found an empty text"),
        (None, "no-such-program --x", "found 'no-such-program'"),
        (None, "'open", "No closing quotation"),
    ],
)
def test_wrong_settings_are_refused_without_secrets(
    url: str | None, command: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        notify.check(url, command)
    assert "hush" not in str(caught.value)


def test_the_figures_are_prometheus_text() -> None:
    lines = prometheus.text(NIGHT).splitlines()
    assert all(re.fullmatch(r'# (HELP|TYPE) \w+ .+|\w+(\{\w+="[^"]*"\})? [\d.e+-]+', line) for line in lines)
    samples = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert samples['genremill_step_seconds{step="ingest"}'] == "3.0"
    assert samples['genremill_audit_value{audit="churn"}'] == "0.5"
    assert samples['genremill_table_rows{table="tags"}'] == "7.0"
    assert samples['genremill_model_figure{figure="top1"}'] == "0.5"
    assert samples["genremill_night_exit_code"] == "2.0"
    assert samples["genremill_night_started_timestamp_seconds"] == "1796000523"
    described = {line.split()[2] for line in lines if line.startswith("# TYPE")}
    assert {name.partition("{")[0] for name in samples} == described


def test_the_index_lists_nights_models_and_studies_newest_first(tmp_path: Path) -> None:
    warehouse = Warehouse.at(str(tmp_path))
    for run in ("20261128T010203-000000", NIGHT.run_id):
        folder = tmp_path / "reports" / run
        folder.mkdir(parents=True)
        night = records.to_json(NIGHT).replace(NIGHT.run_id.encode(), run.encode())
        (folder / "run.json").write_bytes(night)
        (folder / "metrics.json").write_text(
            json.dumps({"model_version": f"fusion/{run}", "top1": {"value": 0.25}})
        )
    broken = tmp_path / "reports" / "20261129T010203-000000"
    broken.mkdir()
    (broken / "metrics.json").write_text("{")
    study = tmp_path / "studies" / "abc"
    study.mkdir(parents=True)
    (study / "study.html").touch()
    index_page.write(warehouse, NIGHT)
    links = re.findall(r'href="([^"]+)"', (tmp_path / "reports" / "index.html").read_text())
    assert links == [
        *(f"{run}/night.html" for run in (NIGHT.run_id, "20261128T010203-000000")),
        *(f"{run}/report.html" for run in (NIGHT.run_id, "20261128T010203-000000")),
        "../studies/abc/study.html",
    ]
