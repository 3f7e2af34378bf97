"""The encoder of sequences and images: flat inputs are reshaped, and each channel is standardized.

Shape suffixes: B batch, W flat values of an input, T steps, C channels, S steps or pixels.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from genremill.infra.errors import UsageError
from genremill.models.encoders.base import Encoder, Inputs, Samples
from genremill.models.features import ScalingRule
from genremill.models.limits import limits

LEAST_DEVIATION = 1e-6
"""A channel with a smaller standard deviation counts as constant."""
MOST_DEVIATIONS = 10.0
"""Limit on standardized values, unless the scalers are those of the reports."""


class ArrayEncoder(Encoder):
    """Standardizes each channel by its mean and standard deviation in the train rows.

    Sequences are stored as (steps, channels) and returned as (B, C, T). Padding (steps of 0 at the end) stays
    0. Images are (channels, height, width). Channels of several inputs are concatenated.

    Unless the scalers are those of the reports, a value beyond a limit of its channel counts as the limit
    when the statistics are fitted, and standardized values are limited to ±`MOST_DEVIATIONS`.
    """

    def __init__(
        self, shapes: Mapping[str, tuple[int, ...]], scaling_rule: ScalingRule = ScalingRule.ROBUST
    ) -> None:
        super().__init__()
        self.shapes, self.scaling_rule = dict(shapes), scaling_rule
        self.is_sequence = all(len(shape) == 2 for shape in shapes.values())
        places = {shape[:1] if self.is_sequence else shape[1:] for shape in shapes.values()}
        if len(places) != 1:
            raise UsageError(
                f"inputs of shapes {self.shapes}: expected sequences of equal length or images of equal size"
            )
        self.places: tuple[int, ...] = places.pop()
        """Steps, or height and width."""
        self.channels = sum(shape[-1] if self.is_sequence else shape[0] for shape in shapes.values())
        self.mean_C = nn.Buffer(torch.zeros(self.channels))
        self.deviation_C = nn.Buffer(torch.ones(self.channels))

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self.shapes)

    def learn(self, samples: Samples) -> None:
        """Fits mean and standard deviation of each channel."""
        moments = [self._moments(samples[name], shape) for name, shape in self.shapes.items()]
        mean_C, deviation_C = np.concatenate(moments, axis=1)
        self.mean_C[:] = torch.from_numpy(mean_C)
        self.deviation_C[:] = torch.from_numpy(np.where(deviation_C > LEAST_DEVIATION, deviation_C, 1.0))

    def _moments(self, x_BW: npt.NDArray[np.float32], shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
        """Mean and standard deviation of the channels of an input, shape (2, C)."""
        x = x_BW.reshape(-1, *shape)
        if self.is_sequence:
            filled_BT = (x != 0).any(axis=2)
            x_SC = x[np.logical_or.accumulate(filled_BT[:, ::-1], axis=1)[:, ::-1]]
        else:
            x_SC = np.moveaxis(x, 1, -1).reshape(-1, shape[0])
        if not len(x_SC):
            return np.stack([np.zeros(x_SC.shape[1]), np.ones(x_SC.shape[1])])
        if self.scaling_rule is ScalingRule.ROBUST:
            x_SC = x_SC.clip(*limits(x_SC))
        return np.stack([x_SC.mean(axis=0, dtype=np.float64), x_SC.std(axis=0, dtype=np.float64)])

    def forward(self, inputs: Inputs) -> Tensor:
        """Standardized inputs, shape (B, C, T) or (B, C, height, width)."""
        views = [inputs[name].reshape(-1, *shape) for name, shape in self.shapes.items()]
        if not self.is_sequence:
            image_BCHW = torch.cat(views, dim=1)
            return self._limited((image_BCHW - self.mean_C[:, None, None]) / self.deviation_C[:, None, None])
        x_BTC = torch.cat(views, dim=2)
        z_BTC = self._limited((x_BTC - self.mean_C) / self.deviation_C)
        return (z_BTC * real_steps(x_BTC.transpose(1, 2)).transpose(1, 2)).transpose(1, 2)

    def _limited(self, z: Tensor) -> Tensor:
        """Standardized values within the limits, of any shape."""
        return z if self.scaling_rule is ScalingRule.REPORT else z.clamp(-MOST_DEVIATIONS, MOST_DEVIATIONS)


def real_steps(x_BCT: Tensor) -> Tensor:
    """1 up to the last step that is not all 0, then 0: shape (B, 1, T).

    >>> real_steps(torch.tensor([[[1.0, 0.0, 2.0, 0.0]]])).tolist()
    [[[1.0, 1.0, 1.0, 0.0]]]
    """
    filled_BT = (x_BCT != 0).any(dim=1).to(x_BCT.dtype)
    return filled_BT.flip(1).cummax(dim=1).values.flip(1).unsqueeze(1)
