"""The record of a feature set in the cache: what its values depend on. Reading it needs no Spark."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genremill.infra.records import RunId
from genremill.infra.warehouse import Warehouse

RECORD = "_feature_set.json"
VARIANT_KEYS = ("augment", "augment_revision")
"""Settings that only the feature sets of augmented audio have."""


@dataclass(frozen=True, kw_only=True)
class FeatureSetRecord:
    """The content of `_feature_set.json`."""

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    revision: int | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    shape: tuple[int, ...]
    """Shape of a row's values: (values,), (steps, channels) or (channels, height, width)."""
    values: tuple[str, ...]
    """Names of the values of a vector."""
    created_at: str
    used_at: str | None = None
    """When `extract` last switched to these settings from other settings."""
    used_by: RunId = ""
    """The run that did so; its id decides which set is newest. Earlier versions did not write it."""

    def __post_init__(self) -> None:
        sizes_fit = self.shape == (len(self.values),) if self.is_vector else len(self.shape) in (2, 3)
        if not sizes_fit or min(self.shape) < 1:
            raise ValueError(f"shape {list(self.shape)} of {len(self.values)} named values")

    @property
    def is_vector(self) -> bool:
        """Whether each value is a feature with a name."""
        return len(self.shape) == 1

    @property
    def variant(self) -> str | None:
        """How the audio was augmented; None for the original audio."""
        return self.settings.get("augment")

    @property
    def made_with(self) -> dict[str, Any]:
        """Everything that determines the values, by name."""
        return {"revision": self.revision, **self.settings, **self.versions}


def folder_of(warehouse: Warehouse, fingerprint: str) -> str:
    """The folder of the runs of one fingerprint."""
    return warehouse.path("features", f"fingerprint={fingerprint}")


def differences(before: FeatureSetRecord, now: FeatureSetRecord) -> list[str]:
    """The settings and versions that differ between two feature sets, as `name: before → now`."""
    old, new = before.made_with, now.made_with
    names = sorted(name for name in old | new if old.get(name) != new.get(name))
    return [f"{name}: {old.get(name)} → {new.get(name)}" for name in names]
