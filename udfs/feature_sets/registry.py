"""The feature sets by name. A set is imported when it is made, because some libraries are slow to import."""

import enum
from collections.abc import Callable
from functools import partial
from importlib import import_module

from genremill.infra.errors import UsageError
from genremill.udfs.feature_sets.base import FeatureSet
from genremill.udfs.feature_sets.onnx_description import ONNX

VGGISH = "vggish"
"""The only set that also needs a file of weights."""


class SpectrogramKind(enum.StrEnum):
    """What a spectrogram shows over time; its first line is the lowest frequency, class or lag."""

    DB = "db"  # magnitudes in dB relative to the largest, from -80
    POWER_DB = "power_db"  # powers in dB, at most 80 below the largest
    PHASE = "phase"  # phases of the spectrum in radians
    CHROMA = "chroma"  # 12 pitch classes of the spectrum, relative to the largest
    CHROMA_CQT = "chroma_cqt"  # 12 pitch classes of the constant-Q transform
    MFCC = "mfcc"  # 20 coefficients
    MEL = "mel"  # 128 mel bands in dB
    CQT = "cqt"  # 84 bins of the constant-Q transform in dB relative to the largest, from -80
    TEMPOGRAM = "tempogram"  # autocorrelation of onsets, up to 384 frames
    TONNETZ = "tonnetz"  # 6 coordinates of the constant-Q chroma


def _make(module: str, factory: str, **settings: object) -> FeatureSet:
    features: FeatureSet = getattr(import_module(f"{__package__}.{module}"), factory)(**settings)
    return features


FEATURE_SETS: dict[str, Callable[[], FeatureSet]] = {
    "gtzan57": partial(_make, "gtzan57", "Gtzan57"),
    "multiwindow": partial(_make, "multiwindow", "Multiwindow"),
    "fma518": partial(_make, "fma518", "Fma518"),
    "windows57": partial(_make, "gtzan57", "Windows57"),
    "segments": partial(_make, "segments", "Segments"),
    "logmel": partial(_make, "logmel", "LogMel"),
    "musicnn": partial(_make, "music_taggers", "music_tagger", name="musicnn"),
    "musicnn_vgg": partial(_make, "music_taggers", "music_tagger", name="musicnn_vgg"),
    **{
        f"spectrogram:{kind}": partial(_make, "spectrogram", "Spectrogram", kind=kind)
        for kind in SpectrogramKind
    },
}


def named(name: str, *, vggish_weights: str | None = None) -> FeatureSet:
    """A feature set with its default settings. Raises `UsageError` for an unknown name or missing weights."""
    if name == VGGISH:
        if vggish_weights is None:
            raise UsageError(
                f"--features {VGGISH} needs --vggish-weights: a .safetensors or .npz file with the "
                "variables of the published checkpoint by name; genremill does not include it"
            )
        from genremill.udfs.feature_sets.vggish import Vggish

        return Vggish.of(vggish_weights)
    if name.startswith(ONNX):
        from genremill.udfs.feature_sets.onnx_network import OnnxNetwork

        return OnnxNetwork.of(name.removeprefix(ONNX))
    if name not in FEATURE_SETS:
        known = ", ".join(sorted((*FEATURE_SETS, VGGISH, f"{ONNX}FILE")))
        raise UsageError(f"there is no feature set {name!r}; expected one of {known}")
    return FEATURE_SETS[name]()
