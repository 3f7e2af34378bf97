"""The feature sets by name."""

from collections.abc import Callable
from functools import partial

from genremill.infra.errors import UsageError
from genremill.udfs.feature_sets.base import FeatureSet
from genremill.udfs.feature_sets.fma518 import Fma518
from genremill.udfs.feature_sets.gtzan57 import Gtzan57
from genremill.udfs.feature_sets.logmel import LogMel
from genremill.udfs.feature_sets.multiwindow import Multiwindow
from genremill.udfs.feature_sets.segments import Segments
from genremill.udfs.feature_sets.spectrogram import Kind, Spectrogram
from genremill.udfs.feature_sets.windows57 import Windows57

VGGISH = "vggish"
"""The only set that needs more than its name."""


def _musicnn() -> FeatureSet:
    from genremill.udfs.feature_sets.musicnn import Musicnn  # here: torch takes seconds to import

    return Musicnn()


def _musicnn_vgg() -> FeatureSet:
    from genremill.udfs.feature_sets.musicnn import MusicnnVgg

    return MusicnnVgg()


FEATURE_SETS: dict[str, Callable[[], FeatureSet]] = {
    "gtzan57": Gtzan57,
    "multiwindow": Multiwindow,
    "fma518": Fma518,
    "windows57": Windows57,
    "segments": Segments,
    "logmel": LogMel,
    "musicnn": _musicnn,
    "musicnn_vgg": _musicnn_vgg,
    **{Spectrogram(kind=kind).name: partial(Spectrogram, kind=kind) for kind in Kind},
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
