"""A lease has one holder at a time, on files; for S3 see tests/e2e/test_s3_store.py."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from genremill.infra import lease, records, storage
from genremill.infra.errors import StorageError
from genremill.infra.lease import Holder


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leases expire in half a second."""
    monkeypatch.setattr(lease, "EXPIRY_S", 0.5)
    monkeypatch.setattr(lease, "LOOK_S", 0.02)


@pytest.fixture
def uri(tmp_path: Path) -> str:
    return f"file://{tmp_path}/_night.lease"


def _left(uri: str, **overrides: object) -> None:
    holder = dataclasses.replace(Holder.this_process("r0"), **overrides)  # type: ignore[arg-type]
    storage.write_atomic(uri, records.to_json(holder))


def test_a_second_run_fails_at_once_with_the_name_of_the_first(uri: str) -> None:
    with lease.held(uri, "r1"):
        started = time.monotonic()
        with pytest.raises(lease.Held, match=r"run r1 \(process \d+ on .* is at work"), lease.held(uri, "r2"):
            pass
        assert time.monotonic() - started < 0.3
        assert json.loads(storage.read_bytes(uri))["run_id"] == "r1"
    assert not storage.is_object(uri)


def test_one_of_many_concurrent_runs_gets_the_lease(uri: str) -> None:
    inside: list[str] = []

    def try_it(number: int) -> bool:
        try:
            with lease.held(uri, f"r{number}"):
                inside.append("in")
                time.sleep(0.3)
                return True
        except lease.Held:
            return False

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(try_it, range(8))) == len(inside) == 1


def test_a_waiting_run_gets_the_lease_next(uri: str) -> None:
    order = []

    def second() -> None:
        with lease.held(uri, "r2", wait=True):
            order.append("second")

    with lease.held(uri, "r1"):
        thread = threading.Thread(target=second)
        thread.start()
        time.sleep(1.0)  # two expiries: what is renewed does not expire
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


@pytest.mark.parametrize("reaped", [True, False])
def test_the_lease_of_an_ended_process_of_this_machine_is_free(
    uri: str, monkeypatch: pytest.MonkeyPatch, reaped: bool
) -> None:
    monkeypatch.setattr(lease, "EXPIRY_S", 60.0)
    code = (
        "import os, sys; from genremill.infra import lease; "
        "made = lease.held(sys.argv[1], 'r1'); made.__enter__(); os._exit(1)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, uri])
    if reaped:
        holder.wait()
    else:  # as in a container whose first process does not wait for the others
        os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    assert b"r1" in storage.read_bytes(uri)
    started = time.monotonic()
    with lease.held(uri, "r2"):
        assert time.monotonic() - started < 1.0
    holder.wait()


@pytest.mark.parametrize(
    ("fault", "is_alive"), [(None, None), (PermissionError(), None), (ProcessLookupError(), False)]
)
def test_a_process_that_proc_hides_is_not_taken_for_dead(
    monkeypatch: pytest.MonkeyPatch, fault: OSError | None, is_alive: bool | None
) -> None:
    holder = dataclasses.replace(Holder.this_process("r0"), pid=2**31 - 2)

    def kill(pid: int, number: int) -> None:
        assert (pid, number) == (holder.pid, 0)
        if fault:
            raise fault

    monkeypatch.setattr(os, "kill", kill)
    assert holder.is_alive is is_alive


def test_the_lease_of_another_machine_is_taken_over_if_it_is_not_renewed(uri: str) -> None:
    _left(uri, host="elsewhere")
    started = time.monotonic()
    with lease.held(uri, "r2"):
        assert time.monotonic() - started > 0.5

    def live(ended: threading.Event) -> None:
        renewed = 0
        while not ended.wait(0.1):
            renewed += 1
            _left(uri, host="elsewhere", run_id="r3", renewed=renewed)

    ended = threading.Event()
    thread = threading.Thread(target=live, args=(ended,))
    _left(uri, host="elsewhere", run_id="r3")
    thread.start()
    try:
        with pytest.raises(lease.Held, match="run r3"), lease.held(uri, "r4"):
            pass
    finally:
        ended.set()
        thread.join()


def test_a_run_that_lost_its_lease_stops_and_does_not_change_it(uri: str) -> None:
    with lease.held(uri, "r1") as mine:
        mine.check()
        _left(uri, run_id="r2")
        time.sleep(0.5)
        with pytest.raises(StorageError, match="now held by run r2"):
            mine.check()
    assert json.loads(storage.read_bytes(uri))["run_id"] == "r2"


def test_an_invalid_lease_expires(uri: str) -> None:
    storage.write_atomic(uri, b"{broken")
    with lease.held(uri, "r1"):
        assert b"r1" in storage.read_bytes(uri)


def test_a_lease_that_this_process_failed_to_release_is_taken_over_at_once(
    uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lease, "EXPIRY_S", 60.0)
    _left(uri)
    started = time.monotonic()
    with lease.held(uri, "r2"):
        assert time.monotonic() - started < 1.0


@pytest.mark.parametrize(
    ("overrides", "alive"),
    [
        ({}, True),
        ({"started": "1"}, False),  # the pid now belongs to another process
        ({"pid": 2**22 + 1}, False),
        ({"host": "elsewhere"}, None),
        ({"boot_id": "another"}, None),  # the machine has started again, or has the name of another machine
        ({"pid_namespace": "pid:[1]"}, None),
        ({"pid_namespace": "pid:[1]", "started": "1"}, None),
        ({"boot_id": "", "pid_namespace": ""}, None),  # of an earlier version
    ],
)
def test_a_process_is_known_only_in_its_own_namespace_of_this_start(
    monkeypatch: pytest.MonkeyPatch, overrides: dict[str, object], alive: bool | None
) -> None:
    holder = dataclasses.replace(Holder.this_process("r1"), **overrides)  # type: ignore[arg-type]
    monkeypatch.setattr(lease, "_HELD", {holder.token})
    assert holder.is_alive is alive


def test_without_proc_only_the_expiry_decides(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(os, "readlink", fail)
    holder = Holder.this_process("r1")
    assert (holder.boot_id, holder.pid_namespace) == ("", "")
    assert holder.is_alive is None
    assert records.from_json(records.to_json(holder), Holder, uri) == holder


def test_the_proc_of_another_namespace_says_nothing_about_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert Holder.this_process("r1").is_alive is None


UNSHARE = ("unshare", "--pid", "--fork", "--mount-proc", "--kill-child")


@pytest.fixture
def in_namespace() -> tuple[str, ...]:
    """The command that runs another one in a PID namespace of its own."""
    if not shutil.which(UNSHARE[0]) or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode:
        pytest.skip("this user may not make PID namespaces with `unshare`")
    return UNSHARE


def test_a_holder_in_another_pid_namespace_keeps_its_lease(uri: str, in_namespace: tuple[str, ...]) -> None:
    code = (
        "import sys; from genremill.infra import lease; lease.EXPIRY_S = 0.5\n"
        "with lease.held(sys.argv[1], 'r1'): print('holding', flush=True); sys.stdin.read()"
    )
    command = [*in_namespace, sys.executable, "-c", code, uri]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "holding\n"
        found = lease.holder_of(uri)
        assert found is not None
        assert found.host == os.uname().nodename
        assert found.is_alive is None
        with pytest.raises(lease.Held, match="run r1"), lease.held(uri, "r2"):
            pass
        holder.communicate("")
    assert not storage.is_object(uri)


def test_the_lease_of_a_killed_holder_in_another_pid_namespace_expires(
    uri: str, in_namespace: tuple[str, ...]
) -> None:
    code = (
        "import os, sys; from genremill.infra import lease; "
        "made = lease.held(sys.argv[1], 'r1'); made.__enter__(); os._exit(1)"
    )
    subprocess.run([*in_namespace, sys.executable, "-c", code, uri], check=False)
    started = time.monotonic()
    with lease.held(uri, "r2"):
        assert time.monotonic() - started > 0.5
