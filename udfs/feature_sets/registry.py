"""The feature sets by name. A set is imported when it is made, because numba and torch are slow to import."""

from collections.abc import Callable
from importlib import import_module

from genremill.infra.errors import UsageError
from genremill.udfs.feature_sets.base import FeatureSet
from genremill.udfs.feature_sets.spectrogram_kind import Kind

VGGISH = "vggish"
"""The only set that needs more than its name."""


def _make(module: str, name: str, **settings: object) -> Callable[[], FeatureSet]:
    def make() -> FeatureSet:
        features: FeatureSet = getattr(import_module(f"{__package__}.{module}"), name)(**settings)
        return features

    return make


FEATURE_SETS = {
    "gtzan57": _make("gtzan57", "Gtzan57"),
    "multiwindow": _make("multiwindow", "Multiwindow"),
    "fma518": _make("fma518", "Fma518"),
    "windows57": _make("windows57", "Windows57"),
    "segments": _make("segments", "Segments"),
    "logmel": _make("logmel", "LogMel"),
    "musicnn": _make("musicnn", "Musicnn"),
    "musicnn_vgg": _make("musicnn", "MusicnnVgg"),
    **{f"spectrogram:{kind}": _make("spectrogram", "Spectrogram", kind=kind) for kind in Kind},
}


def named(name: str, *, vggish_weights: str | None = None) -> FeatureSet:
    """A feature set with its default settings; an unknown name is an error that lists the known names."""
    if name == VGGISH:
        if vggish_weights is None:
            raise UsageError(
                f"--features {VGGISH} needs --vggish-weights: a .safetensors or .npz file with the "
                "variables of the published checkpoint by name; genremill does not include it"
            )
        from genremill.udfs.feature_sets.vggish import Vggish

        return Vggish.of(vggish_weights)
    if name not in FEATURE_SETS:
        known = ", ".join(sorted((*FEATURE_SETS, VGGISH)))
        raise UsageError(f"there is no feature set {name!r}; expected one of {known}")
    return FEATURE_SETS[name]()
