"""Networks as ONNX files, with the YAML files that describe them."""

from pathlib import Path

import torch
from torch import Tensor, nn

from genremill.models.pretrained import music_taggers
from genremill.models.pretrained.music_taggers import FRAMES, MELS, Tagger

MUSICNN = f"""
input: mel
sample-rate: 16000
window: {FRAMES * 256 / 16000}
output: values
mel:
  n-fft: 512
  hop-length: 256
  bands: {MELS}
  log: log10
  gain: 10000
  offset: 1
  half-precision: true
"""
WAVEFORM = """
input: waveform
sample-rate: 8000
window: 1
hop: 0.5
normalize: standard
pooling: max
"""


class Tagging(nn.Module):
    """A published tagger: the last layer, then the probabilities of tags."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__()
        self.layers = music_taggers._musicnn if tagger is Tagger.MUSICNN else music_taggers._vgg
        self.weights = music_taggers.weights(tagger)

    def forward(self, patches: Tensor) -> Tensor:
        """The values for patches of shape (B, T, M)."""
        embedding, logits = self.layers(self.weights, patches)
        return torch.cat([embedding, torch.sigmoid(logits)], dim=1)


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


def export(path: Path, network: nn.Module, example: Tensor, yaml: str, outputs: tuple[str, ...]) -> str:
    """Writes the network and its description; returns the path of the network."""
    windows = torch.export.Dim("windows", min=1, max=1024)
    torch.onnx.export(
        network.eval(),
        (example,),
        str(path),
        input_names=["x"],
        output_names=list(outputs),
        dynamic_shapes=({0: windows},),
        external_data=False,
        dynamo=True,
        verbose=False,
    )
    path.with_suffix(".yaml").write_text(yaml)
    return str(path)


def musicnn(folder: Path, tagger: Tagger = Tagger.MUSICNN) -> str:
    """The shipped tagger as an ONNX file."""
    example = torch.zeros(2, FRAMES, MELS)
    music_taggers.embeddings(tagger, example)  # fills its cache before the export does
    return export(folder / f"{tagger}.onnx", Tagging(tagger), example, MUSICNN, ("values",))


def loudness(folder: Path) -> str:
    """A network that reads waveforms."""
    return export(folder / "loudness.onnx", Loudness(), torch.zeros(2, 1, 8000), WAVEFORM, ("values",))
