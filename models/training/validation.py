"""Loss and accuracy of predictions, and their sums over ranks.

Shape suffixes: B batch, C classes.
"""

import torch
import torch.distributed as dist
from torch import Tensor

from genremill.models.networks.base import Network
from genremill.models.training.manifest import read_manifest
from genremill.models.training.shards import ShardReader


def loss_and_correct(p_BC: Tensor, label_B: Tensor) -> tuple[float, int]:
    """Summed cross-entropy and the number of correct predictions."""
    truth_B = p_BC.gather(1, label_B[:, None]).clamp_min(1e-12)
    return float(-truth_B.log().sum()), int((p_BC.argmax(dim=-1) == label_B).sum())


def sum_over_ranks(values: Tensor, device: torch.device) -> list[float]:
    """The sums of some values over all ranks."""
    summed = values.to(device)
    dist.all_reduce(summed)
    return [float(value) for value in summed]


def validate(
    network: Network, folder: str, rank: int, world: int, device: torch.device
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over the validation rows of all ranks."""
    manifest = read_manifest(folder)
    reader = ShardReader(folder, manifest, batch=4096, rank=rank, world=world, shuffle=False)
    totals = torch.zeros(2, dtype=torch.float64)
    for inputs, label_B in reader.epoch(1):
        p_BC = network.eval().probabilities({name: x.to(device) for name, x in inputs.items()})
        totals += torch.tensor(loss_and_correct(p_BC, label_B.to(device)), dtype=torch.float64)
    loss, correct = sum_over_ranks(totals, device)
    return loss / manifest.rows, correct / manifest.rows
