"""Run ids increase, whatever the clocks say, and a wrong clock is reported."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from genremill.infra import run_ids, storage
from genremill.infra.stores.objects import Conflict
from tests.conftest import SetClock

DAY = 86_400.0
TEN_YEARS = 3650 * DAY


@pytest.fixture
def root(tmp_path: Path) -> str:
    return f"file://{tmp_path}/warehouse"


def test_run_ids_of_the_clock_sort_by_time() -> None:
    ids = [run_ids.from_clock() for _ in range(1000)]
    assert ids == sorted(set(ids))
    assert ids[0] > "20260101T000000-ffffff"
    assert all(map(run_ids.RUN_ID.fullmatch, ids))


@pytest.mark.parametrize(
    "offsets_s",
    [
        (0.0, 0.0, 0.0),
        (TEN_YEARS, 0.0, 0.0),
        (0.0, TEN_YEARS, 0.0, 0.0, TEN_YEARS, 0.0),
        (0.0, -TEN_YEARS, 0.0),
        (-DAY, DAY, -DAY),
    ],
)
def test_each_run_id_is_larger_than_all_before(
    root: str, set_clock: SetClock, offsets_s: tuple[float, ...]
) -> None:
    taken = []
    for offset_s in offsets_s:
        set_clock(offset_s)
        taken.append(run_ids.take(root))
    assert taken == sorted(set(taken))
    assert all(map(run_ids.RUN_ID.fullmatch, taken))


def test_a_run_id_has_the_time_of_a_clock_that_is_right(root: str, set_clock: SetClock) -> None:
    set_clock(-TEN_YEARS)
    run_ids.take(root)
    set_clock(0.0)
    before = run_ids.from_clock()
    assert before < run_ids.take(root) < run_ids.from_clock()


def test_a_run_id_after_the_last_part_of_a_second_is_in_the_next(root: str) -> None:
    storage.write_atomic(f"{root}/_sequence.json", b'{"last": "20991231T235959-ffffff", "token": ""}')
    assert run_ids.take(root) == "21000101T000000-000000"
    assert run_ids.take(root) == "21000101T000000-000001"


@pytest.mark.parametrize(
    "name",
    [
        "tags/run=20360101T000000-00000f/_run.json",
        "features/fingerprint=ab/run=20360101T000000-00000f/part-0.parquet",
        "models/fcnn/20360101T000000-00000f/model.json",
        "reports/20360101T000000-00000f/run.json",
    ],
)
def test_in_a_warehouse_of_an_earlier_version_run_ids_continue_after_the_largest(
    root: str, name: str
) -> None:
    for other in (name, "tags/run=20260101T000000-000000/_run.json", "tags/run=20999999T000000-000000/x"):
        storage.write_atomic(f"{root}/{other}", b"{}")
    assert run_ids.take(root) == "20360101T000000-000010"


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"{}", b'{"last": 1, "token": ""}', b'{"last": "20999999T000000-000000"}']
)
def test_a_damaged_sequence_is_named_and_replaced(
    root: str, text: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    storage.write_atomic(f"{root}/tags/run=20360101T000000-00000f/_run.json", b"{}")
    storage.write_atomic(f"{root}/_sequence.json", text)
    with caplog.at_level("WARNING"):
        assert run_ids.take(root) == "20360101T000000-000010"
    assert "_sequence.json is not a valid Sequence record" in caplog.text
    assert run_ids.take(root) == "20360101T000000-000011"


def test_jobs_that_start_at_once_get_different_run_ids(root: str) -> None:
    storage.write_atomic(f"{root}/_sequence.json", b'{"last": "20991231T235959-fffff0", "token": ""}')
    code = (
        "import sys; from genremill.infra import run_ids; "
        "print(*[run_ids.take(sys.argv[1]) for _ in range(20)])"
    )
    jobs = [
        subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    taken = [job.communicate()[0].split() for job in jobs]
    assert all(ids == sorted(ids) and len(ids) == 20 for ids in taken)
    assert len({run_id for ids in taken for run_id in ids}) == 60


def test_a_job_that_lost_a_race_takes_the_next_run_id(root: str, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.write_atomic(f"{root}/_sequence.json", b'{"last": "20991231T235959-000000", "token": ""}')
    write_over = storage.write_over

    def lose(uri: str, data: bytes, version: str | None) -> None:
        monkeypatch.setattr(storage, "write_over", write_over)
        write_over(uri, data.replace(b'"token": "', b'"token": "another'), version)
        raise Conflict(uri)

    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    monkeypatch.setattr(storage, "write_over", lose)
    assert run_ids.take(root) == "20991231T235959-000002"
    assert len(pauses) == 1
    assert 0 <= pauses[0] <= run_ids.PAUSE_S


@pytest.mark.parametrize(
    ("offset_s", "message"),
    [
        (25 * 3600.0, "is 25.0 hours ahead of the clock of"),
        (-25 * 3600.0, "is 25.0 hours behind the clock of"),
        (-62.0, "is 62.0 seconds behind the clock of"),
        (TEN_YEARS, "is 3650.0 days ahead of the clock of"),
        (0.0, None),
        (50.0, None),
        (-50.0, None),
    ],
)
def test_one_warning_names_the_difference_from_the_clock_of_the_storage(
    root: str, set_clock: SetClock, caplog: pytest.LogCaptureFixture, offset_s: float, message: str | None
) -> None:
    set_clock(offset_s)
    with caplog.at_level("WARNING"):
        run_ids.take(root)
    assert len(caplog.records) == (1 if message else 0)
    assert message is None or (message in caplog.text and root in caplog.text)


def test_a_slow_storage_is_no_wrong_clock(
    root: str, monkeypatch: pytest.MonkeyPatch, set_clock: SetClock, caplog: pytest.LogCaptureFixture
) -> None:
    write_over = storage.write_over

    def wait(uri: str, data: bytes, version: str | None) -> None:
        write_over(uri, data, version)
        set_clock(300.0)  # five minutes pass until the response is there

    monkeypatch.setattr(storage, "write_over", wait)
    with caplog.at_level("WARNING"):
        run_ids.take(root)
    assert not caplog.records
    assert abs(run_ids.taken_at_s(root) - time.time() + 300) < 60
