"""Networks on sequences: segments of a track (report D), or frames of its windows (report E).

Shape suffixes: B batch, C channels, T steps, D values per step, P pitch classes, K kinds of channels.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from genremill.infra.errors import UsageError
from genremill.models.encoders.arrays import ArrayEncoder, real_steps
from genremill.models.networks.base import LayeredNetwork, Network
from genremill.models.recipe import Size

KIND = 12
"""Number of timbre coefficients of a segment, and of its pitch classes."""
SHORT = 16
"""Sequences of more steps are halved by pooling."""
NOISE = 0.1
"""Standard deviation of the noise on standardized inputs in training."""


class Noise(nn.Module):
    """Adds Gaussian noise to real steps in training."""

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Values of the same shape; padding stays 0."""
        if not self.training:
            return x_BCT
        return x_BCT + NOISE * torch.randn_like(x_BCT) * real_steps(x_BCT)


class Convolutions(nn.Module):
    """Blocks of convolution over three steps, normalization, ReLU and dropout, (B, C, T) to (B, D, T).

    Each block halves the sequence while it is longer than `SHORT`. Padding stays 0.
    """

    def __init__(self, channels: int, steps: int, size: Size) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.halve = nn.MaxPool1d(2, ceil_mode=True)
        self.halvings = 0
        while steps > SHORT:
            steps, self.halvings = -(-steps // 2), self.halvings + 1
        for _ in range(max(size.depth, self.halvings)):
            block = nn.Sequential(
                nn.Conv1d(channels, size.width, 3, padding=1),
                nn.BatchNorm1d(size.width),
                nn.ReLU(),
                nn.Dropout(size.dropout),
            )
            self.blocks.append(block)
            channels = size.width

    def forward(self, x_BCT: Tensor) -> Tensor:
        """Values of each step, shape (B, D, T or fewer)."""
        real_B1T = real_steps(x_BCT)
        for index, block in enumerate(self.blocks):
            x_BCT = block(x_BCT) * real_B1T
            if index < self.halvings:
                x_BCT, real_B1T = self.halve(x_BCT), self.halve(real_B1T)
        return x_BCT


class MeanAndMax(nn.Module):
    """Mean and maximum over the real steps, (B, D, T) to (B, 2 D). Values must not be negative."""

    def forward(self, x_BDT: Tensor) -> Tensor:
        """All means, then all maxima."""
        steps_B1 = real_steps(x_BDT).sum(dim=2).clamp_min(1)
        return torch.cat([x_BDT.sum(dim=2) / steps_B1, x_BDT.amax(dim=2)], dim=1)


class Recurrence(nn.Module):
    """A bidirectional recurrent layer, with the mean of its states over the real steps."""

    def __init__(self, layer: nn.LSTM | nn.GRU) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x_BCT: Tensor) -> Tensor:
        """The mean state, shape (B, twice the layer's width)."""
        steps_B = real_steps(x_BCT).sum(dim=(1, 2)).clamp_min(1).long()
        packed = pack_padded_sequence(x_BCT.transpose(1, 2), steps_B.cpu(), True, enforce_sorted=False)
        state_BTD, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        mean_BD: Tensor = state_BTD.sum(dim=1) / steps_B[:, None]
        return mean_BD


def cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The convolutional network of report E, with Gaussian noise and dropout."""
    layers = nn.Sequential(
        Noise(),
        Convolutions(encoder.channels, encoder.places[0], size),
        MeanAndMax(),
        nn.Dropout(size.dropout),
        nn.Linear(2 * size.width, classes),
    )
    return LayeredNetwork(encoder, classes, layers)


def lstm(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The recurrent network of report E."""
    layer = nn.LSTM(encoder.channels, size.width, batch_first=True, bidirectional=True)
    return _recurrent(encoder, classes, size, Recurrence(layer))


def gru(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The same network with gated recurrent units, as report A proposes."""
    layer = nn.GRU(encoder.channels, size.width, batch_first=True, bidirectional=True)
    return _recurrent(encoder, classes, size, Recurrence(layer))


def cnn_lstm(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The recurrent network of report E, on the output of convolutions."""
    layer = nn.LSTM(size.width, size.width, batch_first=True, bidirectional=True)
    convolutions = Convolutions(encoder.channels, encoder.places[0], size)
    return _recurrent(encoder, classes, size, convolutions, Recurrence(layer))


def _recurrent(encoder: ArrayEncoder, classes: int, size: Size, *layers: nn.Module) -> Network:
    head = (nn.Dropout(size.dropout), nn.Linear(2 * size.width, classes))
    return LayeredNetwork(encoder, classes, nn.Sequential(Noise(), *layers, *head))


class Kinds(nn.Module):
    """Selects channels, in groups (kinds) of twelve."""

    def __init__(self, kinds: slice) -> None:
        super().__init__()
        self.kinds = kinds

    def forward(self, x_BCT: Tensor) -> Tensor:
        """The channels of these kinds, shape (B, C, T)."""
        x_BKCT = x_BCT.reshape(len(x_BCT), -1, KIND, x_BCT.shape[2])
        return x_BKCT[:, self.kinds].flatten(1, 2)


class TimesPitches(nn.Module):
    """Turns timbre and pitch classes into two images of steps × 12, (B, 24, T) to (B, 2, T, 12)."""

    def forward(self, x_BCT: Tensor) -> Tensor:
        """The images, shape (B, K, T, P)."""
        return x_BCT.reshape(len(x_BCT), -1, KIND, x_BCT.shape[2]).transpose(2, 3)


def timbre_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of report D on timbre, the first 12 channels: 297,528 parameters at 512 steps."""
    return _segments_cnn(encoder, classes, size, Kinds(slice(0, 1)))


def pitch_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The same network on pitch classes, the last twelve channels."""
    return _segments_cnn(encoder, classes, size, Kinds(slice(-1, None)))


def _segments_cnn(encoder: ArrayEncoder, classes: int, size: Size, kinds: Kinds) -> Network:
    _check_segments(encoder, (12, 24))
    steps = (encoder.places[0] - 4) // 2 // 2 // 2
    layers = nn.Sequential(
        kinds,
        *(nn.Conv1d(KIND, 48, 5), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(size.dropout)),
        *(nn.Conv1d(48, 64, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(size.dropout)),
        *(nn.Conv1d(64, 64, 5, padding=2), nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(size.dropout)),
        *(nn.Flatten(), nn.Dropout(size.dropout), nn.Linear(64 * steps, 64), nn.ReLU()),
        nn.Linear(64, classes),
    )
    return LayeredNetwork(encoder, classes, layers)


def timbre_pitch_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of report D on timbre and pitch as images. It does not give the kernels: here 5 × 3."""
    _check_segments(encoder, (24,))
    steps = encoder.places[0] // 2 // 2 // 2
    layers = nn.Sequential(
        TimesPitches(),
        *(nn.Conv2d(2, 48, (5, 3), padding=(2, 1)), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(size.dropout)),
        *(nn.Conv2d(48, 64, (5, 3), padding=(2, 1)), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(size.dropout)),
        *(nn.Conv2d(64, 64, (5, 3), padding=(2, 1)), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(size.dropout)),
        *(nn.Flatten(), nn.Dropout(size.dropout), nn.Linear(64 * steps, 64), nn.ReLU()),
        nn.Linear(64, classes),
    )
    return LayeredNetwork(encoder, classes, layers)


def _check_segments(encoder: ArrayEncoder, channels: tuple[int, ...]) -> None:
    if encoder.channels not in channels or encoder.places[0] < SHORT:
        expected = f"{SHORT} steps or more of {' or '.join(map(str, channels))}"
        raise UsageError(
            f"inputs {', '.join(encoder.inputs)}: found sequences of {encoder.places[0]} steps of "
            f"{encoder.channels} channels; expected {expected}"
        )
