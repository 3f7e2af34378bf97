"""The model `hybrid`: the penultimate values of several networks, joined under one linear layer.

Shape suffixes: B batch, P penultimate values of all parts, C classes.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from genremill.infra.errors import UsageError
from genremill.models.encoder import Encoder, Inputs, Samples
from genremill.models.networks import LayeredNetwork, Network


class PartEncoders(Encoder):
    """The encoder of each part, by the part's name."""

    def __init__(self, parts: Mapping[str, Encoder]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)

    @property
    def by_part(self) -> dict[str, Encoder]:
        """The encoders by the part's name."""
        return {name: part for name, part in self.parts.items() if isinstance(part, Encoder)}

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs that any part takes."""
        return tuple(dict.fromkeys(name for part in self.by_part.values() for name in part.inputs))

    def learn(self, samples: Samples) -> None:
        """Each part's encoder learns from the rows by itself."""
        for part in self.by_part.values():
            part.learn(samples)

    def forward(self, inputs: Inputs) -> dict[str, Tensor]:
        """Encoded inputs of each part, by its name."""
        return {name: part(inputs) for name, part in self.by_part.items()}


class Hybrid(Network):
    """Parts that are trained together, each without its last layer, in whose place one stands for all."""

    def __init__(self, encoder: PartEncoders, classes: int, parts: Mapping[str, Network]) -> None:
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
