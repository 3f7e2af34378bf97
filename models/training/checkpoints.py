"""Checkpoints of a training, one per epoch. A rerun continues after the newest complete one."""

from dataclasses import dataclass

from torch import Tensor

from genremill.infra import records, storage
from genremill.infra.errors import UsageError
from genremill.infra.log import LOGGER
from genremill.models.artifact import DamagedWeights, read_weights, write_weights
from genremill.models.model_card import Epoch

KEEP = 2
"""Newest checkpoints to keep. If the last one is truncated, the one before it is still complete."""
FAILURE = "failed.json"
"""Name of the file, beside the checkpoints, in which a rank reports an error to the driver."""


class Diverged(UsageError):
    """The loss is not a finite number."""


@dataclass(frozen=True)
class Failure:
    """The error of a rank, which the driver raises."""

    exit_code: int
    message: str
    diverged: bool


@dataclass(frozen=True)
class Progress:
    """What training has recorded up to an epoch."""

    history: tuple[Epoch, ...]
    best_epoch: int
    best_figure: float | None
    """The lower, the better. None before the first validation."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training after an epoch, counted from 1."""

    epoch: int
    tensors: dict[str, Tensor]
    progress: Progress

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors of `model`, `best` or `optimizer`, without this prefix in their names."""
        parts = {key: key.partition(".") for key in self.tensors}
        return {own: self.tensors[key] for key, (part, _, own) in parts.items() if part == name}


@dataclass(frozen=True)
class _CheckpointFile:
    """The file `model.json` of a checkpoint."""

    epoch: int
    sha256: str
    record: Progress


def save(folder: str, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint, `model.json` last, and removes all but the newest `KEEP`."""
    path = f"{folder}/epoch-{checkpoint.epoch:05d}"
    sha256 = write_weights(f"{path}/model.safetensors", checkpoint.tensors)
    record = _CheckpointFile(checkpoint.epoch, sha256, checkpoint.progress)
    storage.write_atomic(f"{path}/model.json", records.to_json(record))
    for old in _names(folder)[:-KEEP]:
        storage.discard(f"{folder}/{old}")


def newest(folder: str) -> Checkpoint | None:
    """The newest complete checkpoint. Damaged ones are skipped with a warning.

    If the storage fails to read one, that is an error: an older checkpoint would silently repeat epochs.
    """
    for name in reversed(_names(folder)):
        card, weights = (f"{folder}/{name}/{part}" for part in ("model.json", "model.safetensors"))
        try:
            if missing := [path for path in (card, weights) if not storage.is_object(path)]:
                raise DamagedWeights(f"{missing[0]} is missing")
            record = records.from_json(storage.read_bytes(card), _CheckpointFile, card, DamagedWeights)
            return Checkpoint(record.epoch, read_weights(weights, record.sha256), record.record)
        except DamagedWeights as err:
            message = "Checkpoint %s/%s is damaged, the checkpoint before it is used: %s"
            LOGGER.warning(message, folder, name, err)
    return None


def _names(folder: str) -> list[str]:
    return [name for name in storage.folders(folder) if name.startswith("epoch-")]
