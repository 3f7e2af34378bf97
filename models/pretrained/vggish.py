"""VGGish, a network that computes an embedding of each log-mel patch.

Hershey et al., CNN Architectures for Large-Scale Audio Classification (2017). This package does not include
weights; the user provides them as a .safetensors or .npz file. Its arrays have the names and the layout of
the published TensorFlow checkpoint: see `SHAPES`.
Shape suffixes: B patches, T frames, M mel bands, E embedding.
"""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import safetensors
import safetensors.torch
import torch
from torch import Tensor
from torch.nn import functional as nnf

from genremill.infra import storage
from genremill.infra.errors import UsageError

EMBEDDING = 128
CONVOLUTIONS = {
    "conv1": (1, 64),
    "conv2": (64, 128),
    "conv3/conv3_1": (128, 256),
    "conv3/conv3_2": (256, 256),
    "conv4/conv4_1": (256, 512),
    "conv4/conv4_2": (512, 512),
}
"""Input and output channels of the 3 × 3 convolutions, in order."""
POOLED_AFTER = ("conv1", "conv2", "conv3/conv3_2", "conv4/conv4_2")
DENSE = {"fc1/fc1_1": (6 * 4 * 512, 4096), "fc1/fc1_2": (4096, 4096), "fc2": (4096, EMBEDDING)}
"""Input and output sizes of the dense layers. The embedding is the output of the last, without ReLU."""
SHAPES = (
    {f"vggish/{name}/weights": (3, 3, *channels) for name, channels in CONVOLUTIONS.items()}
    | {f"vggish/{name}/weights": sizes for name, sizes in DENSE.items()}
    | {f"vggish/{name}/biases": (sizes[1],) for name, sizes in (CONVOLUTIONS | DENSE).items()}
)


@dataclass(frozen=True, eq=False)
class Weights:
    """The arrays by name, and the digest of their file."""

    tensors: dict[str, Tensor]
    sha256: str


@lru_cache(maxsize=1)
def read_weights(uri: str) -> Weights:
    """Reads the weights once per process. Raises `UsageError` if they are not those of VGGish."""
    data = storage.read_bytes(uri)
    arrays = _arrays(uri, data)
    shapes = {name: tuple(array.shape) for name, array in arrays.items()}
    wrong = [
        f"{name}: expected {shape}, found {shapes.get(name)}"
        for name, shape in SHAPES.items()
        if shapes.get(name) != shape
    ]
    if wrong:
        raise UsageError(f"{uri}: not VGGish's weights: {'; '.join(wrong[:3])}")
    tensors = {name: arrays[name].float() for name in SHAPES}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise UsageError(f"{uri}: {name} is not finite")
    return Weights(tensors, hashlib.sha256(data).hexdigest())


def _arrays(uri: str, data: bytes) -> dict[str, Tensor]:
    try:
        if uri.endswith(".npz"):
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return {name: torch.from_numpy(arrays[name]) for name in SHAPES if name in arrays}
        return safetensors.torch.load(data)
    except (safetensors.SafetensorError, zipfile.BadZipFile, ValueError, TypeError, EOFError) as err:
        raise UsageError(f"{uri}: expected weights in .safetensors or .npz: {err}") from err


def embeddings(weights: Weights, patches_BTM: Tensor) -> Tensor:
    """The embedding of each log-mel patch, shape (B, E)."""
    of = weights.tensors
    with torch.inference_mode():
        x = patches_BTM[:, None]
        for name in CONVOLUTIONS:
            kernel = of[f"vggish/{name}/weights"].permute(3, 2, 0, 1)
            x = torch.relu(nnf.conv2d(x, kernel, of[f"vggish/{name}/biases"], padding=1))
            if name in POOLED_AFTER:
                x = nnf.max_pool2d(x, 2)
        x_BE = x.permute(0, 2, 3, 1).flatten(1)  # channels last, as in TensorFlow
        for name in DENSE:
            x_BE = x_BE @ of[f"vggish/{name}/weights"] + of[f"vggish/{name}/biases"]
            if name != "fc2":
                x_BE = torch.relu(x_BE)
        return x_BE
