"""Base classes of the encoders, which turn raw inputs into the input of the layers of a network.

Shape suffixes: B batch, F raw features.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

Inputs = dict[str, Tensor]
"""Named inputs of a batch, each of shape (B, width)."""
Samples = Mapping[str, npt.NDArray[Any]]
"""Raw train rows by input, each of shape (rows, width). Row i of every input is the same track."""


def joined(inputs: Inputs, order: tuple[str, ...]) -> Tensor:
    """The inputs as one vector per row, in the given order, shape (B, F)."""
    first, *rest = (inputs[name] for name in order)
    return torch.cat([first, *rest], dim=1) if rest else first


class Encoder(nn.Module):
    """Turns raw inputs into the input of layers. All that it fits is in buffers, saved with the weights."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that it uses, in order."""
        raise NotImplementedError

    def learn(self, samples: Samples) -> None:
        """Fits the buffers on raw train rows."""
        raise NotImplementedError


class Encoders(Encoder):
    """Several encoders by name, each with its own inputs."""

    def __init__(self, parts: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    @property
    def by_name(self) -> dict[str, Encoder]:
        """The encoders, in order."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Encoder)}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of all inputs, in order."""
        return tuple(dict.fromkeys(name for part in self.by_name.values() for name in part.inputs))

    def learn(self, samples: Samples) -> None:
        """Fits each encoder on its own inputs."""
        for part in self.by_name.values():
            part.learn({name: samples[name] for name in part.inputs})

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Encoded inputs by name of the encoder."""
        return {name: part(inputs) for name, part in self.by_name.items()}


def joined_rows(samples: Samples, order: tuple[str, ...]) -> npt.NDArray[np.float32]:
    """Raw train rows as one vector each, in the given order, shape (rows, F)."""
    rows = len(next(iter(samples.values())))
    return np.hstack([np.zeros((rows, 0), np.float32), *(samples[name] for name in order)])
