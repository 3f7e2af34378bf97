"""The feature sets by name."""

from genremill.infra.errors import UsageError
from genremill.udfs.feature_set import FeatureSet
from genremill.udfs.fma518 import Fma518
from genremill.udfs.gtzan57 import Gtzan57
from genremill.udfs.multiwindow import Multiwindow

FEATURE_SETS: dict[str, type[FeatureSet]] = {one.name: one for one in (Gtzan57, Multiwindow, Fma518)}


def named(name: str) -> FeatureSet:
    """A feature set with its default settings; an unknown name is an error that lists those there are."""
    if name not in FEATURE_SETS:
        raise UsageError(f"no feature set is named {name!r}; there are {', '.join(sorted(FEATURE_SETS))}")
    return FEATURE_SETS[name]()
