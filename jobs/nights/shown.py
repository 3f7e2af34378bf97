"""The parts of the figures and summaries of a night that later pages and estimates use, with their types."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from genremill.infra import records
from genremill.infra.records import Count
from genremill.models.ranges import Share


@dataclass(frozen=True)
class Interval:
    """A share with its 95 % interval."""

    value: Share
    low: Share | None = None
    high: Share | None = None


@dataclass(frozen=True)
class Figures:
    """The figures of the model in use."""

    model_version: str = ""
    split: str = ""
    report: str = ""
    top1: Interval | Share | None = None
    top5: Interval | Share | None = None
    any_label: Interval | Share | None = None


@dataclass(frozen=True)
class Ingested:
    """The summary of `ingest`."""

    source_bytes: Count | None = None


@dataclass(frozen=True)
class Decoded:
    """What `extract` did for one feature set."""

    decoded: Count


@dataclass(frozen=True)
class Extracted:
    """The summary of `extract`."""

    features: dict[str, Decoded] = field(default_factory=dict)


@dataclass(frozen=True)
class Churn:
    """How many tags changed."""

    changed: Count
    tracks: Count


@dataclass(frozen=True)
class Published:
    """The summary of `publish`."""

    churn: Churn | None = None


SUMMARIES: dict[str, type] = {"ingest": Ingested, "extract": Extracted, "publish": Published}


def check_shown(figures: Mapping[str, Any], summaries: Mapping[str, Mapping[str, Any]], source: str) -> None:
    """Raises `DamagedRecord` if a figure, or the summary of a step, has not the type that pages expect."""
    records.from_json(records.to_json(figures), Figures, source)
    for step in summaries.keys() & SUMMARIES.keys():
        records.from_json(records.to_json(summaries[step]), SUMMARIES[step], source)
