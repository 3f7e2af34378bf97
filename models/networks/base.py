"""The base class of all networks, and the networks on one vector per row.

Shape suffixes: B batch, E encoded inputs, P values that the last layer takes, H heads, C classes.
"""

from collections.abc import Iterable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from genremill.models.encoders.base import Encoder, Inputs
from genremill.models.encoders.table import TableEncoder
from genremill.models.recipe import Size


class Network(nn.Module):
    """A classifier of named inputs. Heads are trained separately, and their probabilities are averaged.

    What was fitted before training is in its modules named `encoder`.
    """

    classes: int
    width: int
    """Number of inputs of the last layer."""
    heads: int = 1
    uses_all_rows = False
    """Whether `fit_train` must be called with all train rows, before or instead of gradient steps."""

    @property
    def is_trainable(self) -> bool:
        """Whether it has weights that are trained by gradient steps."""
        return any(True for _ in self.parameters())

    def fit_train(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Fits on all train rows, given as batches of inputs and labels."""
        raise NotImplementedError

    def fit_held_out(self, batches: Iterable[tuple[Inputs, Tensor]]) -> None:
        """Fits on held-out rows after training, given as batches of inputs and labels."""

    def forward(self, inputs: Inputs) -> Tensor:
        """Logits, shape (H, B, C)."""
        return self.logits(self.penultimate(inputs))

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Inputs of the last layer, shape (H, B, P)."""
        raise NotImplementedError

    def logits(self, values_HBP: Tensor) -> Tensor:
        """Logits from the inputs of the last layer, shape (H, B, C)."""
        raise NotImplementedError

    def predictive_logits(self, logits_HBC: Tensor) -> Tensor:
        """The logits of the predictions, from the output of `forward`, which has more logits in training."""
        return logits_HBC

    def loss(self, logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
        """Mean cross-entropy of every head on its own."""
        return mean_loss(logits_HBC, label_B, label_smoothing)

    @torch.inference_mode()
    def probabilities(self, inputs: Inputs) -> Tensor:
        """Probability of each class, shape (B, C)."""
        logits_HBC: Tensor = self(inputs)
        if logits_HBC.shape[0] == 1:
            return logits_HBC[0].softmax(dim=-1)
        return logits_HBC.softmax(dim=-1).mean(dim=0)


def mean_loss(logits_HBC: Tensor, label_B: Tensor, label_smoothing: float) -> Tensor:
    """Mean cross-entropy over heads and rows."""
    heads = len(logits_HBC)
    return cross_entropy(logits_HBC.flatten(0, 1), label_B.repeat(heads), label_smoothing=label_smoothing)


class LayeredNetwork(Network):
    """A stack of layers on the encoded inputs; the last is linear, from penultimate values to logits."""

    def __init__(self, encoder: Encoder, classes: int, layers: nn.Sequential) -> None:
        *_, last = layers
        if not isinstance(last, nn.Linear):
            raise TypeError(f"the last layer is {type(last).__name__}; expected it to be linear")
        super().__init__()
        self.classes = classes
        self.encoder = encoder
        self.layers = layers
        self.width = last.in_features

    def penultimate(self, inputs: Inputs) -> Tensor:
        """Inputs of the last layer, shape (1, B, P)."""
        values_BP: Tensor = self.layers[:-1](self.encoder(inputs))
        return values_BP.unsqueeze(0)

    def logits(self, values_HBP: Tensor) -> Tensor:
        """Logits of the single head, shape (1, B, C)."""
        logits_HBC: Tensor = self.layers[-1](values_HBP)
        return logits_HBC


def linear(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """Multinomial logistic regression."""
    return LayeredNetwork(encoder, classes, nn.Sequential(nn.Linear(encoder.encoded_count, classes)))


def fcnn(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The feed-forward network of report A: 195,826 parameters for 30 inputs and 114 classes.

    Momentum and epsilon of the batch normalization and the initial weights are the defaults of Keras.
    """
    layers = nn.Sequential(
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
    return LayeredNetwork(encoder, classes, layers)


def mlp4(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The perceptron of report B: 202,826 parameters for 57 inputs and 10 classes."""
    return LayeredNetwork(encoder, classes, perceptron(encoder, (512, 256, 128, 64), classes, 0.2))


def multiwindow_mlp(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The perceptron of report C: one hidden layer, whose width is the mean of inputs and outputs."""
    hidden = (encoder.encoded_count + classes) // 2
    return LayeredNetwork(encoder, classes, perceptron(encoder, (hidden,), classes, size.dropout))


def vggish_transfer(encoder: TableEncoder, classes: int, size: Size) -> Network:
    """The transfer model of report C: a new head on the frozen embedding of a window."""
    return LayeredNetwork(encoder, classes, perceptron(encoder, (size.width,), classes, size.dropout))


def perceptron(encoder: TableEncoder, hidden: tuple[int, ...], classes: int, dropout: float) -> nn.Sequential:
    """Linear layers, with ReLU and dropout after each hidden layer."""
    widths = (encoder.encoded_count, *hidden)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout)]
    return nn.Sequential(*layers, nn.Linear(widths[-1], classes))


def parameter_count(network: Network) -> int:
    """Parameters as Keras counts them: trained weights and the running statistics of batch normalization."""
    trained = sum(weight.numel() for weight in network.parameters())
    norms = [layer for layer in network.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    return trained + sum(2 * layer.num_features for layer in norms)
