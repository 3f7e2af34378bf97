"""The published taggers of Pons and Serra, trained on the Million Song Dataset, and what their layers see.

musicnn: Pre-trained convolutional neural networks for music audio tagging (2019). The weights in
`pretrained/` are the published ones, arrays by TensorFlow variable name; their licence lies beside them.
Shape suffixes: B patches, T frames, M mel bands, C channels, E embedding, K tags.
"""

import enum
from collections.abc import Callable
from functools import lru_cache
from importlib import resources

import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as nnf

FRAMES, MELS = 187, 96
"""Of a patch: 3 s of frames at a hop of 256 samples at 16 kHz."""
NORM_EPSILON = 1e-3
POOLS = (((4, 1), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((2, 2), (2, 2)), ((4, 4), (4, 4)))
"""Size and stride of the pools of `musicnn_vgg`."""
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
    """The networks by the name of their feature set."""

    MUSICNN = "musicnn"  # filters as long as a timbre or a rhythm is
    VGG = "musicnn_vgg"  # five layers of 3 × 3 filters


FILES = {Tagger.MUSICNN: "msd_musicnn.safetensors", Tagger.VGG: "msd_vgg.safetensors"}
EMBEDDINGS = {Tagger.MUSICNN: 200, Tagger.VGG: 256}
"""Values of the layer under the tags: `musicnn`'s penultimate, `musicnn_vgg`'s fifth pool."""


def embeddings(tagger: Tagger, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    """The layer under the tags, shape (B, E), and the tags' probabilities, shape (B, K)."""
    layers: dict[Tagger, Callable[[Weights, Tensor], tuple[Tensor, Tensor]]] = {
        Tagger.MUSICNN: _musicnn,
        Tagger.VGG: _vgg,
    }
    with torch.inference_mode():
        embedding_BE, logits_BK = layers[tagger](weights(tagger), patches_BTM)
        return embedding_BE, torch.sigmoid(logits_BK)


@lru_cache
def weights(tagger: Tagger) -> Weights:
    """The published arrays by name, as tensors; a convolution's kernel as (out, in, height, width)."""
    data = resources.files("genremill.models.pretrained").joinpath(FILES[tagger]).read_bytes()
    return {
        name: one.permute(3, 2, 0, 1).contiguous(memory_format=torch.channels_last) if one.ndim == 4 else one
        for name, one in safetensors.torch.load(data).items()
    }


def _musicnn(of: Weights, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    x_B1TM = _normalized(of, "batch_normalization", patches_BTM[:, None])
    timbral = [_highest(of, at, x_B1TM, before=3, after=3) for at in (0, 1)]
    temporal = [
        _highest(of, at, x_B1TM, before=(length - 1) // 2, after=length // 2)
        for at, length in ((2, 128), (3, 64), (4, 32))
    ]
    front_BCT = torch.cat([*timbral, *temporal], dim=1)
    first_BCT = _dense(of, 5, front_BCT)
    second_BCT = _dense(of, 6, first_BCT) + first_BCT
    third_BCT = _dense(of, 7, second_BCT) + second_BCT
    all_BCT = torch.cat([front_BCT, first_BCT, second_BCT, third_BCT], dim=1)
    pooled_B2C = torch.stack([all_BCT.amax(dim=2), all_BCT.mean(dim=2)], dim=2).flatten(1)
    pooled_B2C = _normalized(of, "batch_normalization_9", pooled_B2C)
    dense_BE = torch.relu(pooled_B2C @ of["dense/kernel"] + of["dense/bias"])
    embedding_BE = _normalized(of, "batch_normalization_10", dense_BE)
    return embedding_BE, embedding_BE @ of["dense_1/kernel"] + of["dense_1/bias"]


def _highest(of: Weights, at: int, x_B1TM: Tensor, *, before: int, after: int) -> Tensor:
    """A convolution over frames and bands, rectified, normalized, and its largest over the bands: (B, C, T).

    The largest is taken first, of a fraction of the values: a rectifier and a norm keep the order, but a norm
    with a negative scale turns it around, and there the filter is turned around before.
    """
    scale_C, shift_C = _norm(of, f"batch_normalization_{at + 1}")
    kernel, bias_C, sign_C1 = _filters(at)
    padded = nnf.pad(x_B1TM, (0, 0, before, after)).contiguous(memory_format=torch.channels_last)
    highest_BCT = nnf.conv2d(padded, kernel, bias_C).amax(dim=3) * sign_C1
    return torch.relu(highest_BCT) * scale_C[:, None] + shift_C[:, None]


@lru_cache
def _filters(at: int) -> tuple[Tensor, Tensor, Tensor]:
    """Kernel and bias of a convolution of `musicnn`'s front, turned around where their sign is -1."""
    of, name = weights(Tagger.MUSICNN), _numbered("conv2d", at)
    scale_C, _ = _norm(of, f"batch_normalization_{at + 1}")
    sign_C = torch.where(scale_C < 0, -1.0, 1.0)
    kernel = of[f"{name}/kernel"] * sign_C[:, None, None, None]
    kernel = kernel.contiguous(memory_format=torch.channels_last)
    return kernel, of[f"{name}/bias"] * sign_C, sign_C[:, None]


def _dense(of: Weights, at: int, x_BCT: Tensor) -> Tensor:
    """A convolution over seven frames of all channels, rectified and normalized, shape (B, C, T)."""
    kernel = of[f"conv2d_{at}/kernel"][:, 0].transpose(1, 2)
    conv = nnf.conv1d(x_BCT, kernel, of[f"conv2d_{at}/bias"], padding=3)
    return _normalized(of, f"batch_normalization_{at + 1}", torch.relu(conv))


def _vgg(of: Weights, patches_BTM: Tensor) -> tuple[Tensor, Tensor]:
    x = _normalized(of, "batch_normalization", patches_BTM[:, None])
    x = x.contiguous(memory_format=torch.channels_last)
    for at, (size, stride) in enumerate(POOLS, start=1):
        conv = nnf.conv2d(x, of[f"{at}CNN/kernel"], of[f"{at}CNN/bias"], padding=1)
        x = nnf.max_pool2d(_normalized(of, f"batch_normalization_{at}", torch.relu(conv)), size, stride)
    embedding_BE = x.permute(0, 2, 3, 1).flatten(1)
    return embedding_BE, embedding_BE @ of["dense/kernel"] + of["dense/bias"]


def _normalized(of: Weights, name: str, x_BC: Tensor) -> Tensor:
    """Batch normalization of the channels, which are the second dimension."""
    channels = (-1, *(1,) * (x_BC.ndim - 2))
    scale_C, shift_C = _norm(of, name)
    return x_BC * scale_C.view(channels) + shift_C.view(channels)


def _norm(of: Weights, name: str) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalization, each of shape (C,)."""
    scale_C = of[f"{name}/gamma"] / torch.sqrt(of[f"{name}/moving_variance"] + NORM_EPSILON)
    return scale_C, of[f"{name}/beta"] - of[f"{name}/moving_mean"] * scale_C


def _numbered(name: str, at: int) -> str:
    """A layer's name as TensorFlow counts: the first has no number."""
    return f"{name}_{at}" if at else name
