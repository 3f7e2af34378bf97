"""Vectors of frequent English words, from WordLlama (Lee Miller, 2024).

Each vector has 64 values: the first principal components of the 256 values in WordLlama.
"""

import hashlib
from functools import cache
from importlib import resources

import safetensors.torch
from torch import Tensor

VALUES = 64
SHA256 = "593b55d535da75099820247bf6e447c62508ab2a230ab9a86404b5361b9c46e6"
"""Digest of the file, which makes it a part of the code that trains: see `training.plan`."""


@cache
def vectors() -> tuple[Tensor, Tensor]:
    """Hashes of the words as tokens, ascending, and their vectors: shapes (W,) and (W, 64).

    The root mean square of the norms of the vectors is 1.
    """
    data = resources.files("genremill.models.pretrained").joinpath("words.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != SHA256:
        raise ValueError("words.safetensors is not the file of this version of genremill")
    tensors = safetensors.torch.load(data)
    return tensors["hash"], tensors["vector"] * tensors["step"]
