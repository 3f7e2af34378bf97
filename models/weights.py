"""Tensors on disk: safetensors and a sha256, never a pickle."""

import hashlib

import safetensors
import safetensors.torch
from torch import Tensor

from genremill.infra import storage
from genremill.infra.errors import UsageError


class DamagedWeights(UsageError):
    """A weights file is not what its record says."""


def write_weights(uri: str, tensors: dict[str, Tensor]) -> str:
    """Writes tensors in one atomic step and gives the file's sha256."""
    data = safetensors.torch.save(
        {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    )
    storage.write_atomic(uri, data)
    return hashlib.sha256(data).hexdigest()


def read_weights(uri: str, sha256: str) -> dict[str, Tensor]:
    """Reads tensors whose file has the expected sha256; anything else is refused unparsed."""
    data = storage.read_bytes(uri)
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise DamagedWeights(
            f"{uri}: expected sha256 {sha256[:12]}…, found {found[:12]}… ({len(data):,} bytes)"
        )
    try:
        return safetensors.torch.load(data)
    except safetensors.SafetensorError as err:
        raise DamagedWeights(f"{uri} is not a safetensors file: {err}") from err
