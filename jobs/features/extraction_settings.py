"""Settings of `extract`, and the checks that need neither audio nor Spark."""

import math
from dataclasses import dataclass
from typing import Annotated

import tyro

from genremill.infra.errors import UsageError
from genremill.infra.flag_types import OptionalFile, Uris
from genremill.udfs.decoding import ffmpeg
from genremill.udfs.decoding.settings import Barrier, Offset
from genremill.udfs.dsp.augmentation import Variant
from genremill.udfs.feature_sets import registry
from genremill.udfs.feature_sets.base import WHOLE, FeatureSet
from genremill.udfs.feature_sets.onnx_description import ONNX

KNOWN = ", ".join((*registry.FEATURE_SETS, registry.VGGISH))
FEATURES_HELP = f"Feature sets to extract: {KNOWN}, or {ONNX}FILE for a network of your own."

MOST_SECONDS = 1200
"""Largest value of --seconds: the memory limit of the decoder allows somewhat more 44.1 kHz stereo audio."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Which features to extract, and from which part of the audio."""

    features: Annotated[tuple[str, ...], tyro.conf.arg(help=FEATURES_HELP)] = ("gtzan57",)
    seconds: float = 30.0
    """Seconds of audio to decode from each file."""
    offset: Offset = Offset.START
    """Part of the audio to decode: the start or the middle."""
    windows: str | None = None
    """`whole` for one row of features per track, or the length of a window in seconds for one row per
    window. [0.975 for logmel and vggish, whole for the other sets]"""
    vggish_weights: OptionalFile = None
    """File with the weights of the feature set vggish, .safetensors or .npz."""
    augment: tuple[Variant, ...] = ()
    """Also extract features of these variants of the training audio."""
    ffmpeg: bool = False
    """Also decode formats that libsndfile lacks, such as AAC, ALAC and WMA, with FFmpeg; needs the extra
    genremill[ffmpeg]."""
    sandbox: Barrier = Barrier.AUTO
    """`auto` decodes with the parts of the sandbox that the kernel has, which `doctor` shows; `require` ends
    the job before a file is decoded if one is lacking."""
    max_rejects: float = 0.05
    """Largest share of the tracks with audio that may be without features; above it, the exit code is 3."""


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """Where the audio is, and which features to extract."""

    audio_root: Uris = ()
    """Folders or URI prefixes from which audio may be read."""


def check(cfg: Config) -> None:
    """Raises `UsageError` on settings that are wrong for every audio file."""
    if not cfg.audio_root:
        raise UsageError("--audio-root is needed: the folders or URI prefixes from which audio may be read")
    if not cfg.features:
        raise UsageError(f"--features: expected one or more of {', '.join(registry.FEATURE_SETS)}")
    if not 0.1 <= cfg.seconds <= MOST_SECONDS:
        raise UsageError(f"--seconds {cfg.seconds:g}: expected 0.1 to {MOST_SECONDS}")
    if cfg.ffmpeg:
        ffmpeg.require()
    if not 0 <= cfg.max_rejects <= 1:
        raise UsageError(f"--max-rejects {cfg.max_rejects:g}: expected a share from 0 to 1")
    asked_by_name: dict[str, str] = {}
    for asked in cfg.features:
        features = registry.named(asked, vggish_weights=cfg.vggish_weights)
        window_seconds(cfg, features)
        if asked_by_name.setdefault(features.name, asked) != asked:
            raise UsageError(
                f"--features: {asked_by_name[features.name]} and {asked} would both be called "
                f"{features.name}; rename one of the files"
            )


def window_seconds(cfg: Config, features: FeatureSet) -> float | None:
    """Length of the windows of a feature set in seconds; None if it uses the audio as a whole."""
    windows = cfg.windows or features.default_windows
    seconds = None
    if windows != WHOLE:
        try:
            seconds = float(windows)
        except ValueError:
            seconds = math.nan
        if not 0.1 <= seconds <= cfg.seconds:
            raise UsageError(
                f"--windows {windows}: expected whole, or seconds from 0.1 to --seconds {cfg.seconds:g}"
            )
    features.check_windows(seconds)
    return seconds
