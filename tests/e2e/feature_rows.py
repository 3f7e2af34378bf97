"""The feature sets of a warehouse."""

from genremill.infra.warehouse import Warehouse
from genremill.jobs.features import cache as feature_cache
from genremill.jobs.features.cache import CachedSet


def newest_set(warehouse: Warehouse, name: str) -> CachedSet:
    """The newest feature set of this name that has rows."""
    return [cached for cached in feature_cache.filled_sets(warehouse) if cached.name == name][-1]
