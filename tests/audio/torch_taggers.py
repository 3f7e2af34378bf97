"""The published taggers of Pons and Serra in PyTorch, and the ONNX files that the package ships.

musicnn: Pre-trained convolutional neural networks for music audio tagging (2019). This writes the files, from
MSD_musicnn.npz and MSD_vgg.npz in a folder, which hold the variables of the published checkpoints by name:

    python -m tests.audio.torch_taggers FOLDER

Shape suffixes: B patches, T frames, M mel bands, C channels, E embedding, K tags.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn
from torch.nn import functional as nnf

from tests.audio import onnx_networks

FOLDER = Path(__file__).parents[2] / "models" / "pretrained"
FRAMES, MELS = 187, 96
"""Frames and mel bands of a patch: 3 s at 16 kHz, with a hop of 256 samples."""
PUBLISHED = {"musicnn": "MSD_musicnn", "musicnn_vgg": "MSD_vgg"}
"""The published names of the networks."""
LENGTHS = (7, 7, 128, 64, 32)
"""Frames of the first filters of `musicnn`: two that span mel bands, for timbre, and three for rhythm."""
NORM_EPSILON = 1e-3
POOLS = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))
"""Size and stride of the pooling layers of `musicnn_vgg`."""

Weights = dict[str, Tensor]
"""The published arrays by name; kernels of convolutions are (height, width, in, out)."""


class Tagger(nn.Module):
    """A network, with the published arrays as its buffers."""

    def __init__(self, name: str, weights: Weights) -> None:
        super().__init__()
        self.layers = {"musicnn": _musicnn, "musicnn_vgg": _vgg}[name]
        for array_name, array in weights.items():
            self.register_buffer(array_name, array)

    def forward(self, patches_BTM: Tensor) -> Tensor:
        """The last layer before the tags, then the probabilities of tags, shape (B, E + K)."""
        embedding_BE, logits_BK = self.layers(dict(self.named_buffers()), patches_BTM)
        return torch.cat([embedding_BE, torch.sigmoid(logits_BK)], dim=1)


def shipped_weights(name: str) -> Weights:
    """The arrays in a file of the package."""
    arrays = onnx.load(FOLDER / f"{name}.onnx").graph.initializer
    return {array.name: torch.from_numpy(numpy_helper.to_array(array).copy()) for array in arrays}


def write(name: str, published: Path) -> None:
    """Writes the ONNX file of a tagger with arrays from an .npz file.

    It takes one patch, because then the output of the widest layer of the network fits into the cache.
    """
    with np.load(published) as arrays:
        tagger = Tagger(name, {array: torch.from_numpy(arrays[array]) for array in sorted(arrays)})
    onnx_networks.export(FOLDER / f"{name}.onnx", tagger, torch.zeros(1, FRAMES, MELS), any_windows=False)


def _musicnn(of: Weights, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    x_B1TM = _normalized(of, "batch_normalization", patches_BTM[:, None])
    front_BCT = torch.cat(
        [_highest(of, layer, x_B1TM, length) for layer, length in enumerate(LENGTHS)], dim=1
    )
    first_BCT = _dense(of, 5, front_BCT)
    second_BCT = _dense(of, 6, first_BCT) + first_BCT
    third_BCT = _dense(of, 7, second_BCT) + second_BCT
    all_BCT = torch.cat([front_BCT, first_BCT, second_BCT, third_BCT], dim=1)
    pooled_B2C = torch.stack([all_BCT.amax(dim=2), all_BCT.mean(dim=2)], dim=2).flatten(1)
    pooled_B2C = _normalized(of, "batch_normalization_9", pooled_B2C)
    dense_BE = torch.relu(pooled_B2C @ of["dense/kernel"] + of["dense/bias"])
    embedding_BE = _normalized(of, "batch_normalization_10", dense_BE)
    return embedding_BE, embedding_BE @ of["dense_1/kernel"] + of["dense_1/bias"]


def _highest(of: Weights, layer: int, x_B1TM: Tensor, length: int) -> Tensor:
    """Convolution over frames and bands, ReLU, batch normalization, and maximum over bands: (B, C, T).

    The maximum is computed first, which is faster. ReLU and normalization keep the order of values, except
    that a negative scale reverses it; for such channels the filter is negated.
    """
    name = f"conv2d_{layer}" if layer else "conv2d"
    scale_C, shift_C = _norm(of, f"batch_normalization_{layer + 1}")
    sign_C = torch.where(scale_C < 0, -1.0, 1.0)
    kernel = _kernel(of, name) * sign_C[:, None, None, None]
    padded = nnf.pad(x_B1TM, (0, 0, (length - 1) // 2, length // 2))
    highest_BCT = nnf.conv2d(padded, kernel, of[f"{name}/bias"] * sign_C).amax(dim=3) * sign_C[:, None]
    return torch.relu(highest_BCT) * scale_C[:, None] + shift_C[:, None]


def _dense(of: Weights, layer: int, x_BCT: Tensor) -> Tensor:
    """Convolution over seven frames, ReLU and batch normalization, shape (B, C, T)."""
    kernel = of[f"conv2d_{layer}/kernel"][:, :, 0].permute(2, 1, 0)
    conv = nnf.conv1d(x_BCT, kernel, of[f"conv2d_{layer}/bias"], padding=3)
    return _normalized(of, f"batch_normalization_{layer + 1}", torch.relu(conv))


def _vgg(of: Weights, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    x = _normalized(of, "batch_normalization", patches_BTM[:, None])
    for layer, (size, stride) in enumerate(POOLS, start=1):
        conv = nnf.conv2d(x, _kernel(of, f"{layer}CNN"), of[f"{layer}CNN/bias"], padding=1)
        x = nnf.max_pool2d(_normalized(of, f"batch_normalization_{layer}", torch.relu(conv)), size, stride)
    embedding_BE = x.permute(0, 2, 3, 1).flatten(1)
    return embedding_BE, embedding_BE @ of["dense/kernel"] + of["dense/bias"]


def _kernel(of: Weights, name: str) -> Tensor:
    """The filters of a convolution as PyTorch reads them: (out, in, height, width)."""
    return of[f"{name}/kernel"].permute(3, 2, 0, 1)


def _normalized(of: Weights, name: str, x_BC: Tensor) -> Tensor:
    """Batch normalization of the second dimension, the channels."""
    channels = (-1, *(1,) * (x_BC.ndim - 2))
    scale_C, shift_C = _norm(of, name)
    return x_BC * scale_C.view(channels) + shift_C.view(channels)


def _norm(of: Weights, name: str) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalization, each of shape (C,)."""
    scale_C = of[f"{name}/gamma"] / torch.sqrt(of[f"{name}/moving_variance"] + NORM_EPSILON)
    return scale_C, of[f"{name}/beta"] - of[f"{name}/moving_mean"] * scale_C


if __name__ == "__main__":
    for name, published in PUBLISHED.items():
        write(name, Path(sys.argv[1], f"{published}.npz"))
