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


class _Noise(nn.Module):
    """Adds Gaussian noise to real steps in training. Padding stays 0."""

    def forward(self, x_BCT: Tensor) -> Tensor:
        if not self.training:
            return x_BCT
        return x_BCT + NOISE * torch.randn_like(x_BCT) * real_steps(x_BCT)


class _Convolutions(nn.Module):
    """Blocks of convolution over three steps, normalization, ReLU and dropout, (B, C, T) to (B, D, T).

    Each block halves the sequence while it is longer than `SHORT`. Padding stays 0.
    """

    def __init__(self, encoder: ArrayEncoder, size: Size) -> None:
        super().__init__()
        self.blocks = nn.ModuleList()
        self.halve = nn.MaxPool1d(2, ceil_mode=True)
        self.halvings, steps, channels = 0, encoder.places[0], encoder.channels
        while steps > SHORT:
            steps, self.halvings = -(-steps // 2), self.halvings + 1
        for _ in range(max(size.depth, self.halvings)):
            convolution = nn.Conv1d(channels, size.width, 3, padding=1)
            rest = (nn.BatchNorm1d(size.width), nn.ReLU(), nn.Dropout(size.dropout))
            self.blocks.append(nn.Sequential(convolution, *rest))
            channels = size.width

    def forward(self, x_BCT: Tensor) -> Tensor:
        real_B1T = real_steps(x_BCT)
        for index, block in enumerate(self.blocks):
            x_BCT = block(x_BCT) * real_B1T
            if index < self.halvings:
                x_BCT, real_B1T = self.halve(x_BCT), self.halve(real_B1T)
        return x_BCT


class _MeanAndMax(nn.Module):
    """Means, then maxima, over the real steps, (B, D, T) to (B, 2 D). No value may be negative."""

    def forward(self, x_BDT: Tensor) -> Tensor:
        steps_B1 = real_steps(x_BDT).sum(dim=2).clamp_min(1)
        return torch.cat([x_BDT.sum(dim=2) / steps_B1, x_BDT.amax(dim=2)], dim=1)


class _Recurrence(nn.Module):
    """The mean state of a bidirectional recurrent layer over the real steps, (B, C, T) to (B, 2 width)."""

    def __init__(self, kind: type[nn.LSTM | nn.GRU], inputs: int, width: int) -> None:
        super().__init__()
        self.layer = kind(inputs, width, batch_first=True, bidirectional=True)

    def forward(self, x_BCT: Tensor) -> Tensor:
        steps_B = real_steps(x_BCT).sum(dim=(1, 2)).clamp_min(1).long()
        packed = pack_padded_sequence(x_BCT.transpose(1, 2), steps_B.cpu(), True, enforce_sorted=False)
        state_BTD, _ = pad_packed_sequence(self.layer(packed)[0], batch_first=True)
        mean_BD: Tensor = state_BTD.sum(dim=1) / steps_B[:, None]
        return mean_BD


def cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The convolutional network of report E, with Gaussian noise and dropout."""
    return _noisy(encoder, classes, size, _Convolutions(encoder, size), _MeanAndMax())


def lstm(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The recurrent network of report E."""
    return _noisy(encoder, classes, size, _Recurrence(nn.LSTM, encoder.channels, size.width))


def gru(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of `lstm` with gated recurrent units, as report A proposes."""
    return _noisy(encoder, classes, size, _Recurrence(nn.GRU, encoder.channels, size.width))


def cnn_lstm(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The recurrent network of report E, on the output of convolutions."""
    recurrence = _Recurrence(nn.LSTM, size.width, size.width)
    return _noisy(encoder, classes, size, _Convolutions(encoder, size), recurrence)


def _noisy(encoder: ArrayEncoder, classes: int, size: Size, *layers: nn.Module) -> Network:
    head = (nn.Dropout(size.dropout), nn.Linear(2 * size.width, classes))
    return LayeredNetwork(encoder, _Noise(), *layers, *head)


class _Channels(nn.Module):
    """Selects channels."""

    def __init__(self, channels: slice) -> None:
        super().__init__()
        self.channels = channels

    def forward(self, x_BCT: Tensor) -> Tensor:
        return x_BCT[:, self.channels]


class _TimesPitches(nn.Module):
    """Turns timbre and pitch classes into two images of steps × 12, (B, 24, T) to (B, 2, T, 12)."""

    def forward(self, x_BCT: Tensor) -> Tensor:
        return x_BCT.reshape(len(x_BCT), -1, KIND, x_BCT.shape[2]).transpose(2, 3)


def timbre_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of report D on timbre, the first 12 channels: 297,528 parameters at 512 steps."""
    return _one_kind(encoder, classes, size, slice(KIND))


def pitch_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of `timbre_cnn` on pitch classes, the last 12 channels."""
    return _one_kind(encoder, classes, size, slice(-KIND, None))


def _one_kind(encoder: ArrayEncoder, classes: int, size: Size, channels: slice) -> Network:
    _check_segments(encoder, KIND, 2 * KIND)
    rest = (nn.ReLU(), nn.MaxPool1d(2), nn.Dropout(size.dropout))
    return LayeredNetwork(
        encoder,
        _Channels(channels),
        *(nn.Conv1d(KIND, 48, 5), *rest),
        *(nn.Conv1d(48, 64, 5, padding=2), *rest),
        *(nn.Conv1d(64, 64, 5, padding=2), *rest),
        *_perceptron(64 * ((encoder.places[0] - 4) // 8), classes, size),
    )


def timbre_pitch_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of report D on timbre and pitch as images. Its kernels are not stated; here 5 × 3."""
    _check_segments(encoder, 2 * KIND)
    rest = (nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(size.dropout))
    return LayeredNetwork(
        encoder,
        _TimesPitches(),
        *(nn.Conv2d(2, 48, (5, 3), padding=(2, 1)), *rest),
        *(nn.Conv2d(48, 64, (5, 3), padding=(2, 1)), *rest),
        *(nn.Conv2d(64, 64, (5, 3), padding=(2, 1)), *rest),
        *_perceptron(64 * (encoder.places[0] // 8), classes, size),
    )


def _perceptron(inputs: int, classes: int, size: Size) -> tuple[nn.Module, ...]:
    hidden = (nn.Flatten(), nn.Dropout(size.dropout), nn.Linear(inputs, 64), nn.ReLU())
    return *hidden, nn.Linear(64, classes)


def _check_segments(encoder: ArrayEncoder, *channels: int) -> None:
    if encoder.channels not in channels or encoder.places[0] < SHORT:
        expected = f"{SHORT} steps or more of {' or '.join(map(str, channels))}"
        raise UsageError(
            f"inputs {', '.join(encoder.inputs)}: found sequences of {encoder.places[0]} steps of "
            f"{encoder.channels} channels; expected {expected}"
        )
