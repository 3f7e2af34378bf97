"""Networks on images: spectrograms, or patches of spectrograms.

Shape suffixes: B batch, C channels, H height, W width.
"""

from torch import Tensor, nn
from torch.nn.functional import relu

from genremill.infra.errors import UsageError
from genremill.models.encoders.arrays import ArrayEncoder
from genremill.models.networks.base import LayeredNetwork, Network
from genremill.models.recipe import Size

SIDE = 4
"""Smallest height and width of an image, and those after the convolutions of `spectrogram_cnn`."""


def simple_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The convolutional network of report B: 5,562 parameters for 4 channels and 10 classes."""
    _check_sides(encoder)
    return LayeredNetwork(
        encoder,
        *(nn.Conv2d(encoder.channels, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, classes)),
    )


class _Residual(nn.Module):
    """ReLU of an input plus its convolutions. Doubling the channels halves height and width."""

    def __init__(self, channels: int, outputs: int) -> None:
        super().__init__()
        stride = outputs // channels
        self.layers = nn.Sequential(
            nn.Conv2d(channels, outputs, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        projection = (nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Sequential(*(() if channels == outputs else projection))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return relu(self.layers(x_BCHW) + self.shortcut(x_BCHW))


def resnet(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """ResNet-20 of He et al. 2015 (arXiv 1512.03385, section 4.2), with projections as shortcuts.

    Report B does not say which residual network it uses.
    """
    _check_sides(encoder)
    first = nn.Conv2d(encoder.channels, 16, 3, padding=1, bias=False)
    layers: list[nn.Module] = [first, nn.BatchNorm2d(16), nn.ReLU()]
    for channels, outputs in ((16, 16), (16, 32), (32, 64)):
        layers += [_Residual(channels, outputs), _Residual(outputs, outputs), _Residual(outputs, outputs)]
    return LayeredNetwork(encoder, *layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes))


def spectrogram_cnn(encoder: ArrayEncoder, classes: int, size: Size) -> Network:
    """The network of report C: blocks of convolution, ReLU and pooling down to 4 × 4, then a perceptron.

    The report does not state the channels: here 16 in the first block, then twice as many in each, up to 64.
    """
    _check_sides(encoder)
    layers: list[nn.Module] = []
    channels, outputs, side = encoder.channels, 16, min(encoder.places)
    while side >= 2 * SIDE:
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
        channels, outputs, side = outputs, min(2 * outputs, 64), side // 2
    layers += [nn.AdaptiveAvgPool2d(SIDE), nn.Flatten()]  # 4 × 4 also for sides that are not powers of 2
    layers += [nn.Linear(channels * SIDE * SIDE, size.width), nn.ReLU()]
    layers += [nn.Linear(size.width, size.width // 2), nn.ReLU()]
    return LayeredNetwork(encoder, *layers, nn.Linear(size.width // 2, classes))


def _check_sides(encoder: ArrayEncoder) -> None:
    if min(encoder.places) < SIDE:
        height, width = encoder.places
        raise UsageError(
            f"inputs {', '.join(encoder.inputs)}: found images of {height} × {width}; "
            f"expected {SIDE} × {SIDE} or more"
        )
