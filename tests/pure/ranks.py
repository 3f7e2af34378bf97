"""Runs the ranks of a training in separate processes, like `torchrun`; one can be killed at a step."""

import multiprocessing
import os
import signal
import socket
import traceback
from dataclasses import dataclass
from typing import Any

from genremill.models.training import loop
from genremill.models.training.plan import Plan

DEADLINE_S = 60


@dataclass(frozen=True)
class Kill:
    """The rank to kill, and the step before which it is killed, counted from 0 over all epochs."""

    rank: int
    step: int


def exit_codes(plan: Plan, kill: Kill | None = None) -> list[int | None]:
    """Runs all ranks of a plan and returns their exit codes; None for a rank that hangs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([loop.__name__, "torch._inductor"])  # takes seconds, once for all ranks
    port = _free_port()
    ranks = [context.Process(target=_rank, args=(plan, rank, port, kill)) for rank in range(plan.workers)]
    for one in ranks:
        one.start()
    for one in ranks:
        one.join(DEADLINE_S)
    codes = [one.exitcode for one in ranks]
    for one in ranks:
        one.kill()
        one.join()
    return codes


def _rank(plan: Plan, rank: int, port: int, kill: Kill | None) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1"}
    os.environ |= {"WORLD_SIZE": str(plan.workers), "LOCAL_WORLD_SIZE": str(plan.workers)}
    os.environ["MASTER_PORT"] = str(port)
    if kill is not None and kill.rank == rank:
        step_of = loop._Trainer._step

        def step_or_die(self: Any, step: int, *batch: Any) -> tuple[float, float, int]:
            if step == kill.step:
                os.kill(os.getpid(), signal.SIGKILL)
            return step_of(self, step, *batch)

        loop._Trainer._step = step_or_die  # type: ignore[method-assign, assignment]
    try:
        loop.train_rank(plan)
    except BaseException:
        traceback.print_exc()
        os._exit(1)  # otherwise Gloo sometimes waits for a dead rank at the end


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
