"""Vectors of frequent English words: 64 principal components of those of WordLlama (Lee Miller, 2024)."""

from functools import cache
from importlib import resources

import safetensors.torch
from torch import Tensor

VALUES = 64


@cache
def vectors() -> tuple[Tensor, Tensor]:
    """Hashes of the words as tokens, ascending, and their vectors: shapes (W,) and (W, 64).

    The root mean square of the norms of the vectors is 1.
    """
    file = resources.files("genremill.models.pretrained").joinpath("words.safetensors")
    tensors = safetensors.torch.load(file.read_bytes())
    return tensors["hash"], tensors["vector"] * tensors["step"]
