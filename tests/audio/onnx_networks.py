"""Networks as ONNX files, and a network that reads waveforms, with the YAML file that describes it."""

from pathlib import Path

import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import Tensor, nn

WAVEFORM = """
input: waveform
sample-rate: 8000
window: 1
hop: 0.5
normalize: standard
pooling: max
"""


class Loudness(nn.Module):
    """The mean and the energy of a few filters of a waveform of shape (B, 1, samples)."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.kernel = nn.Parameter(torch.randn(6, 1, 64, generator=generator) / 8)

    def forward(self, waveform: Tensor) -> Tensor:
        """The values, shape (B, 2, 6)."""
        filtered = nn.functional.conv1d(waveform, self.kernel, stride=16)
        return torch.stack([filtered.mean(dim=2), filtered.square().mean(dim=2)], dim=1)


def export(path: Path, network: nn.Module, example: Tensor, *, any_windows: bool) -> None:
    """Writes a network, for any number of windows or for as many as the example has.

    Equal networks give equal files.
    """
    program = torch.onnx.export(
        network.eval(),
        (example,),
        input_names=["x"],
        output_names=["values"],
        dynamic_shapes=({0: torch.export.Dim("windows", min=1, max=1024)},) if any_windows else None,
        dynamo=True,
        optimize=False,
        verbose=False,
    )
    assert program is not None
    ClearMetadataAndDocStringPass()(program.model)  # it holds paths of this machine
    program.save(path)


def loudness(folder: Path) -> str:
    """A network that reads waveforms; returns the path of its file."""
    export(folder / "loudness.onnx", Loudness(), torch.zeros(2, 1, 8000), any_windows=True)
    (folder / "loudness.yaml").write_text(WAVEFORM)
    return str(folder / "loudness.onnx")
