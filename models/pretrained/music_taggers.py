"""The published taggers of Pons and Serra, trained on the Million Song Dataset.

musicnn: Pre-trained convolutional neural networks for music audio tagging (2019). `pretrained/` contains the
published weights, arrays by TensorFlow variable name, and their license.
Shape suffixes: B patches, T frames, M mel bands, C channels, E embedding, K tags.
"""

import enum
from functools import lru_cache
from importlib import resources

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as nnf

FRAMES, MELS = 187, 96
"""Frames and mel bands of a patch: 3 s at 16 kHz, with a hop of 256 samples."""
LENGTHS = (7, 7, 128, 64, 32)
"""Frames of the first filters of `musicnn`: two that span mel bands, for timbre, and three for rhythm."""
NORM_EPSILON = 1e-3
POOLS = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))
"""Size and stride of the pooling layers of `musicnn_vgg`."""
TAGS = (
    *("rock", "pop", "alternative", "indie", "electronic", "female vocalists", "dance", "00s"),
    *("alternative rock", "jazz", "beautiful", "metal", "chillout", "male vocalists", "classic rock", "soul"),
    *("indie rock", "Mellow", "electronica", "80s", "folk", "90s", "chill", "instrumental", "punk", "oldies"),
    *("blues", "hard rock", "ambient", "acoustic", "experimental", "female vocalist", "guitar", "Hip-Hop"),
    *("70s", "party", "country", "easy listening", "sexy", "catchy", "funk", "electro", "heavy metal"),
    *("Progressive rock", "60s", "rnb", "indie pop", "sad", "House", "happy"),
)

Weights = dict[str, Tensor]


class Tagger(enum.StrEnum):
    """The networks, named like their feature sets."""

    MUSICNN = "musicnn"  # filters in the shapes of timbres and rhythms
    VGG = "musicnn_vgg"  # five layers of 3 × 3 filters


FILES = {Tagger.MUSICNN: "msd_musicnn.safetensors", Tagger.VGG: "msd_vgg.safetensors"}
EMBEDDINGS = {Tagger.MUSICNN: 200, Tagger.VGG: 256}
"""Values of the last layer before the tags; in `musicnn_vgg` that is the fifth pooling layer."""


def embeddings(tagger: Tagger, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    """The last layer before the tags, shape (B, E), and the probabilities of tags, shape (B, K)."""
    layers = _musicnn if tagger is Tagger.MUSICNN else _vgg
    with torch.inference_mode():
        embedding_BE, logits_BK = layers(weights(tagger), patches_BTM)
        return embedding_BE, torch.sigmoid(logits_BK)


@lru_cache
def weights(tagger: Tagger) -> Weights:
    """The published arrays by name, as tensors; kernels of convolutions as (out, in, height, width)."""
    data = resources.files("genremill.models.pretrained").joinpath(FILES[tagger]).read_bytes()
    return {
        name: x.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x
        for name, x in safetensors.torch.load(data).items()
    }


def _musicnn(of: Weights, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    x_B1TM = _normalized(of, "batch_normalization", patches_BTM[:, None])
    front = [_highest(of, layer, x_B1TM, length) for layer, length in enumerate(LENGTHS)]
    front_BCT = torch.cat(front, dim=1)
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
    scale_C, shift_C = _norm(of, f"batch_normalization_{layer + 1}")
    kernel, bias_C, sign_C1 = _filters(layer)
    padded = nnf.pad(x_B1TM, (0, 0, (length - 1) // 2, length // 2))
    padded = padded.contiguous(memory_format=torch.channels_last)
    highest_BCT = nnf.conv2d(padded, kernel, bias_C).amax(dim=3) * sign_C1
    return torch.relu(highest_BCT) * scale_C[:, None] + shift_C[:, None]


@lru_cache
def _filters(layer: int) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel and bias of a first convolution of `musicnn`, negated where the sign is -1, and the sign."""
    of, name = weights(Tagger.MUSICNN), f"conv2d_{layer}" if layer else "conv2d"
    sign_C = torch.where(_norm(of, f"batch_normalization_{layer + 1}")[0] < 0, -1.0, 1.0)
    kernel = of[f"{name}/kernel"] * sign_C[:, None, None, None]
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return kernel, of[f"{name}/bias"] * sign_C, sign_C[:, None]


def _dense(of: Weights, layer: int, x_BCT: Tensor) -> Tensor:
    """Convolution over seven frames, ReLU and batch normalization, shape (B, C, T)."""
    kernel = of[f"conv2d_{layer}/kernel"][:, 0].transpose(1, 2)
    conv = nnf.conv1d(x_BCT, kernel, of[f"conv2d_{layer}/bias"], padding=3)
    return _normalized(of, f"batch_normalization_{layer + 1}", torch.relu(conv))


def _vgg(of: Weights, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    x = _normalized(of, "batch_normalization", patches_BTM[:, None])
    x = x.contiguous(memory_format=torch.channels_last)
    for layer, (size, stride) in enumerate(POOLS, start=1):
        conv = nnf.conv2d(x, of[f"{layer}CNN/kernel"], of[f"{layer}CNN/bias"], padding=1)
        x = nnf.max_pool2d(_normalized(of, f"batch_normalization_{layer}", torch.relu(conv)), size, stride)
    embedding_BE = x.permute(0, 2, 3, 1).flatten(1)
    return embedding_BE, embedding_BE @ of["dense/kernel"] + of["dense/bias"]


def _normalized(of: Weights, name: str, x_BC: Tensor) -> Tensor:
    """Batch normalization of the second dimension, the channels."""
    channels = (-1, *(1,) * (x_BC.ndim - 2))
    scale_C, shift_C = _norm(of, name)
    return x_BC * scale_C.view(channels) + shift_C.view(channels)


def _norm(of: Weights, name: str) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalization, each of shape (C,)."""
    scale_C = of[f"{name}/gamma"] / torch.sqrt(of[f"{name}/moving_variance"] + NORM_EPSILON)
    return scale_C, of[f"{name}/beta"] - of[f"{name}/moving_mean"] * scale_C
