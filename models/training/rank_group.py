"""The device of a rank, and the process group that it joins. Both depend on environment variables."""

import contextlib
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from genremill.infra.errors import StorageError, UsageError

RENDEZVOUS = "GENREMILL_RENDEZVOUS"
"""Environment variable: the file through which ranks on one machine connect. On several, they use a port."""


def device() -> torch.device:
    """The rank's GPU if each rank of its machine has one, else the CPU.

    Raises `UsageError` if GPUs were requested and are missing: CUDA_VISIBLE_DEVICES names the GPUs that Spark
    has assigned to the ranks, and is empty if it assigned none.
    """
    ranks, requested = int(os.environ["LOCAL_WORLD_SIZE"]), os.environ.get("CUDA_VISIBLE_DEVICES", "")
    available = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if available >= ranks:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    if requested not in ("", "-1"):
        raise UsageError(
            f"GPUs were requested (CUDA_VISIBLE_DEVICES={requested}), one for each of {ranks} rank(s), but "
            f"torch {torch.__version__} finds {available}. Install a torch for these "
            "GPUs, or do not request GPUs from Spark"
        )
    return torch.device("cpu")


@contextlib.contextmanager
def joined(device: torch.device) -> Iterator[torch.device]:
    """Joins the group of all ranks until the block ends. Raises `StorageError` if they cannot connect."""
    file = os.environ.get(RENDEZVOUS)
    address = file or f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    try:
        dist.init_process_group(
            "nccl" if device.type == "cuda" else "gloo",
            init_method=f"file://{file}" if file else "env://",
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )
    except dist.DistError as err:  # the port is in use, or a rank did not start
        raise StorageError(f"the training processes cannot connect at {address}: {err}") from err
    try:
        yield device
    finally:
        dist.destroy_process_group()
