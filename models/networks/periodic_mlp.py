"""The model `periodic_mlp`: periodic embeddings of numbers, and small networks that share weights.

Shape suffixes: B batch, N numeric features, P frequencies per feature, S sines and cosines (2 P), D values
per feature, I inputs of a layer, O outputs, H heads (members), C classes.

Sources: periodic embeddings, Gorishniy et al. 2022 (arXiv 2203.05556); members that share weights (TabM),
Gorishniy et al. 2024 (arXiv 2410.24210), after BatchEnsemble, Wen et al. 2020 (arXiv 2002.06715).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import relu

from genremill.models.encoders.base import Inputs, joined
from genremill.models.encoders.table import TableEncoder
from genremill.models.networks.base import Network, normal
from genremill.models.recipe import Size

FREQUENCIES = 24
EMBEDDING = 16
"""Values of the embedding of a numeric feature."""


class _PeriodicEmbedding(nn.Module):
    """Sines and cosines of each number, a linear layer per feature and ReLU: (B, N) to (B, N × D)."""

    def __init__(self, features: int, deviation: float) -> None:
        super().__init__()
        waves = 2 * FREQUENCIES
        self.frequency_NP = nn.Parameter(normal(deviation, features, FREQUENCIES))
        self.weight_NSD = _uniform(waves, features, waves, EMBEDDING)
        self.bias_N1D = _uniform(waves, features, 1, EMBEDDING)

    def forward(self, x_BN: Tensor) -> Tensor:
        angle_NBP = 2 * math.pi * x_BN.T[:, :, None] * self.frequency_NP[:, None, :]
        wave_NBS = torch.cat([angle_NBP.sin(), angle_NBP.cos()], dim=2)
        value_NBD = relu(torch.baddbmm(self.bias_N1D, wave_NBS, self.weight_NSD))
        return value_NBD.transpose(0, 1).flatten(1)


class _SharedLinear(nn.Module):
    """A linear layer whose members share the matrix, not scales and biases: (H or 1, B, I) to (H, B, O)."""

    def __init__(self, scale_HI: Tensor, outputs: int) -> None:
        super().__init__()
        members, inputs = scale_HI.shape
        self.scale_in_H1I = nn.Parameter(scale_HI[:, None, :].clone())
        self.weight_IO = _uniform(inputs, inputs, outputs)
        self.scale_out_H1O = nn.Parameter(torch.ones(members, 1, outputs))
        self.bias_H1O = _uniform(inputs, members, 1, outputs)

    def forward(self, x_HBI: Tensor) -> Tensor:
        y_HBO = (x_HBI * self.scale_in_H1I) @ self.weight_IO
        return torch.addcmul(self.bias_H1O, y_HBO, self.scale_out_H1O)


class PeriodicMLP(Network):
    """A classifier of raw features. A subclass can add `beside` further values to the first hidden layer."""

    def __init__(self, encoder: TableEncoder, classes: int, size: Size, beside: int = 0) -> None:
        super().__init__()
        self.encoder = encoder
        self.heads = size.members
        self.embedding = _PeriodicEmbedding(encoder.numeric_count, size.frequency_deviation)
        self.dropout = nn.Dropout(size.dropout)
        # Initial scales make members differ: one per numeric input, one for all categories together.
        number_HN = normal(1.0, size.members, encoder.numeric_count).repeat_interleave(EMBEDDING, dim=1)
        others = [encoder.encoded_count - encoder.numeric_count, *([beside] if beside else [])]
        scale_HI = torch.empty(size.members, number_HN.shape[1] + sum(others))
        parts = torch.split(scale_HI, [number_HN.shape[1], *others], dim=1)
        values = [number_HN, *(normal(1.0, size.members, 1) for _ in others)]
        for part_HI, value_HI in zip(parts, values, strict=True):
            part_HI.copy_(value_HI)
        self.hidden = nn.ModuleList()
        for _ in range(size.depth):
            self.hidden.append(_SharedLinear(scale_HI, size.width))
            scale_HI = torch.ones(size.members, size.width)
        self.head_HIC = _uniform(size.width, size.members, size.width, classes)
        self.head_H1C = _uniform(size.width, size.members, 1, classes)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of each member, shape (H, B, C)."""
        h_HBI = self.encoded(inputs)[None]
        for layer in self.hidden:
            h_HBI = self.dropout(relu(layer(h_HBI)))
        return torch.baddbmm(self.head_H1C, h_HBI, self.head_HIC)

    def encoded(self, inputs: Inputs) -> Tensor:
        """Inputs of the first hidden layer, shape (B, I)."""
        x_BF = joined(inputs, self.encoder.inputs)
        rank_BN = (self.encoder.numeric(x_BF) - 0.5) * math.sqrt(12)  # unit variance
        return torch.cat([self.embedding(rank_BN), self.encoder.indicators(x_BF)], dim=1)


def _uniform(inputs: int, *shape: int) -> nn.Parameter:
    """Initial weights of a layer with a number of inputs."""
    bound = 1 / math.sqrt(inputs)
    return nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
