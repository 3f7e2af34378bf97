"""The model `hybrid`: one linear layer on the penultimate values of several networks.

Shape suffixes: B batch, P penultimate values of all parts, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genremill.infra.errors import UsageError
from genremill.models.encoders.base import Encoders, Inputs
from genremill.models.networks.base import LayeredNetwork, Network


class Hybrid(Network):
    """Networks without their last layers, trained together under one shared last layer."""

    def __init__(self, encoder: Encoders, classes: int, parts: Mapping[str, Network]) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        bodies, self.width = {}, 0
        for name, part in parts.items():
            if not isinstance(part, LayeredNetwork):
                raise UsageError(f"{name} cannot be a part of hybrid: it has no single penultimate layer")
            bodies[name], self.width = part.layers[:-1], self.width + part.width
        self.bodies = nn.ModuleDict(bodies)
        self.head = nn.Linear(self.width, classes)

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Concatenated penultimate values of all parts, shape (1, B, P)."""
        encoded = self.encoder(inputs)
        return torch.cat([body(encoded[name]) for name, body in self.bodies.items()], dim=1)[None]

    def logits(self, values_HBP: Tensor) -> Tensor:
        """Logits of the single head, shape (1, B, C)."""
        logits_HBC: Tensor = self.head(values_HBP)
        return logits_HBC
