"""The base class of all networks, the networks on one vector per row, and `hybrid`.

Shape suffixes: B batch, H heads, C classes.
"""

from collections.abc import Iterable, Mapping
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genremill.infra.errors import UsageError
from genremill.models.encoders.base import Encoder, Encoders, Inputs
from genremill.models.encoders.table import TableEncoder
from genremill.models.recipe import Size

Batches = Iterable[tuple[Inputs, Tensor]]
"""Batches of inputs and labels."""


class Network(nn.Module):
    """A classifier of named inputs: `forward` returns logits of shape (H, B, C).

    Heads are trained separately, and their probabilities are averaged. What was fitted before training is in
    modules named `encoder` or `encoders`.
    """

    heads: int = 1
    uses_all_rows = False
    """Whether `fit_train` must be called with all train rows, before or instead of gradient steps."""

    @property
    def is_trainable(self) -> bool:
        """Whether it has weights that are trained by gradient steps."""
        return any(True for _ in self.parameters())

    def start(self) -> None:
        """Sets initial weights that depend on the fitted encoders; most networks have none."""

    def fit_train(self, batches: Batches) -> None:
        """Fits on all train rows."""
        raise NotImplementedError

    def fit_held_out(self, batches: Batches) -> None:
        """Fits on held-out rows after training; most networks do nothing here."""

    def predictive_logits(self, logits_HBC: Tensor) -> Tensor:
        """The logits of the predictions, from the output of `forward`, which has more heads in training."""
        return logits_HBC

    def loss(self, logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy over heads and rows."""
        label_HB = label_B.repeat(len(logits_HBC))
        return cross_entropy(logits_HBC.flatten(0, 1), label_HB, label_smoothing=label_smoothing)

    @torch.inference_mode()
    def probabilities(self, inputs: Inputs) -> Tensor:
        """Probability of each class, shape (B, C)."""
        logits_HBC: Tensor = self(inputs)
        if logits_HBC.shape[0] == 1:
            return logits_HBC[0].softmax(dim=-1)
        return logits_HBC.softmax(dim=-1).mean(dim=0)


def normal(deviation: float, *shape: int) -> Tensor:
    """Normal random numbers with mean 0, equal to those of `torch.randn`. On `meta`, there are no values."""
    values = torch.empty(shape)
    return values if values.is_meta else values.normal_(0.0, deviation)


class LayeredNetwork(Network):
    """A stack of layers on the encoded inputs. The last is linear; `width` is the number of its inputs."""

    def __init__(self, encoder: Encoder, *layers: nn.Module) -> None:
        *_, last = layers
        if not isinstance(last, nn.Linear):
            raise TypeError(f"the last layer is {type(last).__name__}; expected it to be linear")
        super().__init__()
        self.encoder = encoder
        self.layers = nn.Sequential(*layers)
        self.width = last.in_features

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the single head, shape (1, B, C)."""
        logits_BC: Tensor = self.layers(self.encoder(inputs))
        return logits_BC.unsqueeze(0)


def linear(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """Multinomial logistic regression."""
    return LayeredNetwork(encoder, nn.Linear(encoder.encoded_count, classes))


def fcnn(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The feed-forward network of report A: 195,826 parameters for 30 inputs and 114 classes.

    Momentum and epsilon of the batch normalization and the initial weights are the defaults of Keras.
    """
    layers = (
        *(nn.Linear(encoder.encoded_count, 512), nn.ReLU()),
        *(nn.Linear(512, 256), nn.ReLU()),
        nn.BatchNorm1d(256, eps=1e-3, momentum=0.01),
        nn.Dropout(0.2),
        *(nn.Linear(256, 128), nn.ReLU()),
        nn.Linear(128, classes),
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
    return LayeredNetwork(encoder, *layers)


def mlp4(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The perceptron of report B: 202,826 parameters for 57 inputs and 10 classes."""
    return perceptron(encoder, (512, 256, 128, 64), classes, 0.2)


def multiwindow_mlp(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The perceptron of report C: one hidden layer, whose width is the mean of inputs and outputs."""
    return perceptron(encoder, ((encoder.encoded_count + classes) // 2,), classes, size.dropout)


def vggish_transfer(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The transfer model of report C: a new head on the frozen embedding of a window."""
    return perceptron(encoder, (size.width,), classes, size.dropout)


def perceptron(encoder: TableEncoder, hidden: tuple[int, ...], classes: int, dropout: float) -> Network:
    """Linear layers, with ReLU and dropout after each hidden layer."""
    widths = (encoder.encoded_count, *hidden)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return LayeredNetwork(encoder, *layers, nn.Linear(widths[-1], classes))


class Hybrid(Network):
    """The model `hybrid`: networks without their last layers, trained together under one last layer."""

    def __init__(self, encoder: Encoders, classes: int, parts: Mapping[str, Network]) -> None:
        super().__init__()
        self.encoder = encoder
        bodies, width = {}, 0
        for name, part in parts.items():
            if not isinstance(part, LayeredNetwork):
                raise UsageError(f"{name} cannot be a part of hybrid: it has no single penultimate layer")
            bodies[name], width = part.layers[:-1], width + part.width
        self.bodies = nn.ModuleDict(bodies)
        self.head = nn.Linear(width, classes)

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits of the single head, shape (1, B, C)."""
        encoded = self.encoder(inputs)
        values = [body(encoded[name]) for name, body in self.bodies.items()]
        logits_BC: Tensor = self.head(torch.cat(values, dim=1))
        return logits_BC.unsqueeze(0)
