"""The model `hybrid`: the penultimate values of several networks, joined under one linear layer.

Shape suffixes: B batch, P penultimate values of all parts, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genremill.infra.errors import UsageError
from genremill.models.encoders.base import Encoders, Inputs
from genremill.models.networks.base import LayeredNetwork, Network


class Hybrid(Network):
    """Parts that are trained together, each without its last layer, in whose place one stands for all."""

    def __init__(self, encoder: Encoders, classes: int, parts: Mapping[str, Network]) -> None:
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        bodies, self.width = {}, 0
        for name, part in parts.items():
            if not isinstance(part, LayeredNetwork):
                raise UsageError(f"{name} cannot be a part of hybrid: it has no one penultimate layer")
            bodies[name], self.width = part.layers[:-1], self.width + part.width
        self.bodies = nn.ModuleDict(bodies)
        self.head = nn.Linear(self.width, classes)

    def penultimate(self, inputs: Inputs) -> Tensor:
        """What the last layers of all parts would take, shape (1, B, P)."""
        encoded = self.encoder(inputs)
        return torch.cat([body(encoded[name]) for name, body in self.bodies.items()], dim=1)[None]

    def logits(self, values_HBP: Tensor) -> Tensor:
        """Logits of the one head, shape (1, B, C)."""
        found: Tensor = self.head(values_HBP)
        return found
