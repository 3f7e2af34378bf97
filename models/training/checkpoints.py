"""Checkpoints of a training, one an epoch; the newest whole one is where a rerun goes on."""

import json
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from genremill.infra import storage
from genremill.infra.log import LOGGER
from genremill.models.weights import DamagedWeights, read_weights, write_weights

KEEP = 2
"""Newest checkpoints kept, so that a truncated one has a whole one before it."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch, counted from 1."""

    epoch: int
    tensors: dict[str, Tensor]
    record: dict[str, Any]

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of `model`, `best` or `optimizer`, named without it."""
        prefix = f"{name}."
        return {
            key.removeprefix(prefix): value for key, value in self.tensors.items() if key.startswith(prefix)
        }


def save(folder: str, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, its record last, and drops those that are too old to matter."""
    name = f"epoch-{checkpoint.epoch:05d}"
    sha256 = write_weights(f"{folder}/{name}/model.safetensors", checkpoint.tensors)
    record = {"epoch": checkpoint.epoch, "sha256": sha256, "record": checkpoint.record}
    storage.write_atomic(f"{folder}/{name}/model.json", json.dumps(record).encode())
    for old in _names(folder)[:-KEEP]:
        storage.remove(f"{folder}/{old}")


def newest(folder: str) -> Checkpoint | None:
    """The newest whole checkpoint; damaged ones are passed over with a warning.

    One that cannot be read for a fault of the storage is an error: those before it are of earlier epochs.
    """
    for name in reversed(_names(folder)):
        parts = [f"{folder}/{name}/{part}" for part in ("model.json", "model.safetensors")]
        try:
            if lost := [part for part in parts if not storage.is_object(part)]:
                raise DamagedWeights(f"no {lost[0]}")
            record = json.loads(storage.read_bytes(parts[0]))
            tensors = read_weights(parts[1], record["sha256"])
            return Checkpoint(record["epoch"], tensors, record["record"])
        except (DamagedWeights, ValueError, KeyError, TypeError) as err:
            LOGGER.warning("checkpoint %s/%s is damaged, the one before it is used: %s", folder, name, err)
    return None


def _names(folder: str) -> list[str]:
    return [name for name in storage.folders(folder) if name.startswith("epoch-")]
