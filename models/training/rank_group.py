"""What a rank computes on, and the group it joins: both by the variables that whoever starts it sets."""

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from genremill.infra.errors import StorageError, UsageError

MEETING = "GENREMILL_MEETING"
"""Names the file that the ranks of one machine meet in; those of several meet at a port."""


def device() -> torch.device:
    """The rank's GPU where each rank of its machine has one, else the CPU.

    Raises `UsageError` where GPUs were asked for and are absent: CUDA_VISIBLE_DEVICES names those that Spark
    has given to the ranks, and is empty where it gave none.
    """
    ranks, named = int(os.environ["LOCAL_WORLD_SIZE"]), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    found = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if found >= ranks:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    if named not in ("", "-1"):
        raise UsageError(
            f"GPUs were asked for (CUDA_VISIBLE_DEVICES={named}), one for each of {ranks} rank(s); torch "
            f"{torch.__version__} finds {found}: install a torch for these GPUs, or ask Spark for none"
        )
    return torch.device("cpu")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """The group of all ranks, joined until the block ends; `StorageError` where they cannot meet."""
    meeting = os.environ.get(MEETING)
    place = meeting or f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{meeting}" if meeting else "env://",
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )
    except dist.DistError as err:  # the port is in use, or a rank never came
        raise StorageError(f"the ranks cannot meet at {place}: {err}") from err
    try:
        yield device
    finally:
        dist.destroy_process_group()
