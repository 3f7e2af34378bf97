"""Ranks on this machine, as processes of their own: they meet in a file and listen on the loopback alone.

`torchrun` opens a port to the whole network for its ranks to meet at, and unpickles what it is told there.

    python -m genremill.models.training.local_ranks PLAN    # one rank, as `train` starts it
"""

import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from genremill.infra.errors import ExitCode, GenremillError
from genremill.models.training import loop
from genremill.models.training.plan import Plan
from genremill.models.training.rank_group import MEETING

_LOOPBACK = "lo" if sys.platform == "linux" else "lo0"
_POLL_S = 0.05
PLAN = "plan.pickle"


def train(plan: Plan, gpus: Sequence[str] = ()) -> None:
    """Trains with all ranks of a plan; `gpus` are those that Spark has given, if it was asked for some.

    Raises `RuntimeError` where a rank ends otherwise than well; the others are ended too.
    """
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, PLAN).write_bytes(pickle.dumps(plan))
        ranks = [_started(folder, rank, plan.workers, gpus) for rank in range(plan.workers)]
        try:
            _wait(ranks)
        finally:
            for one in ranks:
                one.kill()
                one.communicate()


def _started(folder: str, rank: int, world: int, gpus: Sequence[str]) -> "subprocess.Popen[bytes]":
    environment = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "GLOO_SOCKET_IFNAME": _LOOPBACK,
        "NCCL_SOCKET_IFNAME": _LOOPBACK,
        MEETING: f"{folder}/meeting",
    } | ({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})
    command = [sys.executable, "-m", "genremill.models.training.local_ranks", f"{folder}/{PLAN}"]
    # What a rank says goes where errors go; its stdin ends with this process, and so does the rank.
    return subprocess.Popen(command, env=os.environ | environment, stdin=subprocess.PIPE, stdout=2)


def _wait(ranks: Sequence["subprocess.Popen[bytes]"]) -> None:
    """Returns when all ranks have ended well; raises as soon as one has not."""
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
    """One rank, whose error the driver tells."""
    plan: Plan = pickle.loads(Path(sys.argv[1]).read_bytes())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        loop.train_rank(plan)
    except GenremillError as err:
        return err.exit_code
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main())
