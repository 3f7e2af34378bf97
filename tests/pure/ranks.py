"""Ranks of a training in processes of their own, as `torchrun` starts them; one may be killed at a step."""

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
    """The rank that is killed, and the step, counted from 0 over all epochs, that it never does."""

    rank: int
    step: int


def exit_codes(plan: Plan, kill: Kill | None = None) -> list[int | None]:
    """Trains with all ranks of a plan to their end; None for one that hangs."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([loop.__name__, "torch._inductor"])  # seconds, once and for all ranks
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
        os._exit(1)  # now and then Gloo waits for a dead rank while it is torn down; a launcher would not


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
