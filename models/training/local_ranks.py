"""Ranks on this machine as separate processes. They connect through a file and listen on loopback only.

`torchrun` opens a port to the whole network and unpickles what it receives there. `torch.multiprocessing`
imports the main module of the driver again, so that a rank needs 5.4 s of CPU time to start instead of 4.1 s,
and it pickles the errors of a rank to a file.

    python -m genremill.models.training.local_ranks PLAN    # one rank, as `train` starts it
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from genremill.infra import records
from genremill.infra.errors import ExitCode, GenremillError

if TYPE_CHECKING:  # torch takes seconds, and a rank must end with its parent in this time too
    from genremill.models.training.plan import Plan

_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
_POLL_S = 0.05


def train(plan: "Plan", gpus: Sequence[str] = ()) -> None:
    """Runs all ranks of a plan; `gpus` are the addresses that Spark assigned, if any.

    Raises `RuntimeError` as soon as one rank fails, and ends the others.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "plan.json")
        file.write_bytes(records.to_json(plan))
        ranks = [_start(file, rank, plan.workers, gpus) for rank in range(plan.workers)]
        try:
            _wait(ranks)
        finally:
            for process in ranks:
                process.kill()
                process.communicate()


def _start(plan: Path, rank: int, world: int, gpus: Sequence[str]) -> "subprocess.Popen[bytes]":
    from genremill.models.training.rank_group import RENDEZVOUS

    environment = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
        RENDEZVOUS: f"{plan.parent}/rendezvous",
    } | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
    command = [sys.executable, "-m", "genremill.models.training.local_ranks", str(plan)]
    # A rank prints to stderr. Its stdin closes when this process ends, and then the rank ends too. It has its
    # own session, so that Ctrl-C does not reach it.
    return subprocess.Popen(
        command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=2, start_new_session=True
    )


def _wait(ranks: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Returns when all ranks have succeeded; raises as soon as one has failed."""
    running = dict(enumerate(ranks))
    while running:
        for rank, process in list(running.items()):
            code = process.poll()
            if code:
                raise RuntimeError(f"rank {rank} of {len(ranks)} ended with exit code {code}")
            if code is not None:
                del running[rank]
        time.sleep(_POLL_S)


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os._exit(ExitCode.RETRY)


def main() -> int:
    """Runs one rank. The driver reports its error."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    from genremill.models.training import loop
    from genremill.models.training.plan import Plan

    plan = records.from_json(Path(sys.argv[1]).read_bytes(), Plan, sys.argv[1])
    try:
        loop.train_rank(plan)
    except GenremillError as err:
        return err.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
