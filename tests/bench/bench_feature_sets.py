"""Milliseconds of each feature set for a 30 s clip on one core, compared with a reference.

`OMP_NUM_THREADS=1 python -m tests.bench.bench_feature_sets`: `logmel` is compared with librosa's mel
spectrogram of the same frames, the taggers with the time of their multiply-adds at this core's sgemm speed.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import librosa
import numpy as np
import torch
import tyro

from genremill.udfs.feature_sets import onnx_network, registry
from genremill.udfs.feature_sets.base import WHOLE, Signal
from genremill.udfs.feature_sets.music_taggers import MusicTagger, music_tagger
from tests.audio import torch_taggers
from tests.audio.audio_corpus import song
from tests.audio.torch_taggers import POOLS, PUBLISHED
from tests.bench.bench_fma518 import milliseconds

SGEMM = 1024
PATCHES = 10
"""Patches in a clip of 30 s."""


@dataclass(frozen=True)
class Options:
    """How long the clip is, and how often each run is repeated; the fastest counts."""

    seconds: float = 30.0
    repeats: int = 7


def multiply_adds(name: str) -> int:
    """Multiply-adds of the convolutions and dense layers for one patch of 187 frames by 96 bands."""
    weights = torch_taggers.shipped_weights(name)
    if name == "musicnn":
        places = {"conv2d": 187 * 59, "conv2d_1": 187 * 30} | {
            f"conv2d_{layer}": 187 * 96 for layer in (2, 3, 4)
        }
        places |= {f"conv2d_{layer}": 187 for layer in (5, 6, 7)}
    else:
        places, height, width = {}, 187, 96
        for layer, (size, stride) in enumerate(POOLS, start=1):
            places[f"{layer}CNN"] = height * width
            height, width = (height - size[0]) // stride[0] + 1, (width - size[1]) // stride[1] + 1
    convolutions = sum(count * weights[f"{layer}/kernel"].numel() for layer, count in places.items())
    return convolutions + sum(weight.numel() for weight in weights.values() if weight.ndim == 2)


def librosa_log_mel(y: Signal) -> object:
    """The spectrogram of the VGGish patches, computed by librosa."""
    mel = librosa.feature.melspectrogram(
        y=y,
        sr=16_000,
        n_fft=512,
        win_length=400,
        hop_length=160,
        center=False,
        power=1.0,
        n_mels=64,
        fmin=125,
        fmax=7500,
        htk=True,
        norm=None,
    )
    return np.log(mel + 0.01)


def network_of(tagger: MusicTagger, y: Signal) -> Callable[[], object]:
    """Runs the network of a tagger on the patches of a signal."""
    network, patches = onnx_network.read_network(tagger.location), onnx_network._inputs(y, tagger.description)
    return partial(network.run, patches, tagger.description)


def main(options: Options) -> None:
    """Prints a line for each feature set, and then the comparisons."""
    torch.set_num_threads(1)
    clips = {sr: song(options.seconds, sr) for sr in (22050, 16_000)}
    runs: dict[str, Callable[[], object]] = {}
    for name in registry.FEATURE_SETS:
        features = registry.named(name)
        features.warm()
        windows = None if features.default_windows == WHOLE else float(features.default_windows)
        runs[name] = partial(features.rows, clips[features.sr], windows)
    runs["librosa's log mel"] = partial(librosa_log_mel, clips[16_000])
    for tagger in PUBLISHED:
        runs[f"{tagger} network"] = network_of(music_tagger(tagger), clips[16_000])
    square = torch.rand(SGEMM, SGEMM)
    runs["sgemm"] = lambda: square @ square
    ms_of = dict(zip(runs, milliseconds(options.repeats, list(runs.values())), strict=True))
    for name in registry.FEATURE_SETS:
        print(f"{name:26}{ms_of[name]:9.2f} ms")
    librosa_ms = ms_of["librosa's log mel"]
    print(
        f"librosa's log mel {librosa_ms:.2f} ms: {librosa_ms / ms_of['logmel']:.1f} times as long as logmel"
    )
    for tagger in PUBLISHED:
        bound = PATCHES * multiply_adds(tagger) / SGEMM**3 * ms_of["sgemm"]
        ms = ms_of[f"{tagger} network"]
        print(f"{tagger}: {ms:.0f} ms, {ms / bound:.2f} times its multiply-adds by sgemm ({bound:.0f} ms)")


if __name__ == "__main__":
    main(tyro.cli(Options))
