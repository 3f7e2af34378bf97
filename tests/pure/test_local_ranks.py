"""Ranks of one machine listen on loopback only, and end with each other and with their driver."""

import dataclasses
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from genremill.infra import records
from genremill.infra.errors import ExitCode
from genremill.models.training import checkpoints, local_ranks
from genremill.models.training.plan import Plan
from tests.pure.test_training import RECIPE, _plan

DEADLINE_S = 60.0
DRIVER = """
import pathlib, sys
from genremill.infra import records
from genremill.models.training import local_ranks
from genremill.models.training.plan import Plan
local_ranks.train(records.from_json(pathlib.Path(sys.argv[1]).read_bytes(), Plan, "plan"))
"""
ENDLESS = dataclasses.replace(RECIPE, epochs=100_000)


def ranks_of(parent: int) -> list[psutil.Process]:
    """The running ranks among the children of a process."""
    return [
        child
        for child in psutil.Process(parent).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE and local_ranks.__name__ in " ".join(child.cmdline())
    ]


def wait_for(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def network_interface() -> str:
    """An interface other than loopback, if there is one: users may set it for other programs."""
    for name, addresses in psutil.net_if_addrs().items():
        if any(one.family == socket.AF_INET and one.address != "127.0.0.1" for one in addresses):
            return str(name)
    return "lo"


def epochs_of(plan: Plan) -> int:
    found = checkpoints.newest(plan.checkpoints)
    return found.epoch if found else 0


def test_ranks_listen_on_loopback_only_and_a_killed_rank_ends_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = dataclasses.replace(_plan(tmp_path, recipe=ENDLESS), workers=2)
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", network_interface())
    me = psutil.Process().pid
    listening: list[str] = []
    outlived: list[psutil.Process] = []

    def look_and_kill() -> None:
        wait_for(lambda: epochs_of(plan) > 0)
        stays, dies = ranks_of(me)
        for rank in (stays, dies):
            found = rank.net_connections(kind="inet")
            listening.extend(one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN)
        stays.suspend()  # so that it cannot end by itself when the other is gone
        dies.kill()
        outlived.extend(psutil.wait_procs([stays], timeout=10)[1])
        for rank in outlived:
            rank.kill()

    killer = threading.Thread(target=look_and_kill)
    killer.start()
    with pytest.raises(RuntimeError, match="of 2 ended with exit code -9"):
        local_ranks.train(plan)
    killer.join()
    assert set(listening) == {"127.0.0.1"}
    assert outlived == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_gpus_that_spark_assigned_but_torch_does_not_find_are_a_one_line_error(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    plan = _plan(tmp_path)
    with pytest.raises(RuntimeError, match="rank 0 of 1 ended with exit code 2"):
        local_ranks.train(plan, gpus=["0"])
    failed = json.loads((tmp_path / "checkpoints" / "failed.json").read_text())
    assert failed["message"].startswith("GPUs were requested (CUDA_VISIBLE_DEVICES=0)")
    assert "Traceback" not in capfd.readouterr().err


def test_ranks_end_with_the_process_that_started_them(tmp_path: Path) -> None:
    plan = _plan(tmp_path, recipe=ENDLESS)
    (tmp_path / "plan").write_bytes(records.to_json(plan))
    driver = subprocess.Popen([sys.executable, "-c", DRIVER, str(tmp_path / "plan")])
    try:
        wait_for(lambda: epochs_of(plan) > 0)
        (rank,) = ranks_of(driver.pid)
    finally:
        driver.kill()
        driver.wait()
    wait_for(lambda: not rank.is_running())


def test_a_rank_that_still_imports_torch_ends_with_its_driver(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import time; print('importing', flush=True); time.sleep(600)")
    rank = subprocess.Popen(
        [sys.executable, "-m", local_ranks.__name__, str(tmp_path / "plan.json")],
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert rank.stdin is not None
    assert rank.stdout is not None
    assert rank.stdout.readline() == b"importing\n"
    rank.stdin.close()
    try:
        assert rank.wait(DEADLINE_S) == ExitCode.RETRY
    finally:
        rank.kill()
        rank.stdout.close()
