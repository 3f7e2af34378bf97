"""Compares model versions on one page: which is best for which class, and what each costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from genremill.infra.errors import UsageError
from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.infra.pages.parts import Cell, Header
from genremill.infra.pages.rendering import render_template
from genremill.jobs.evaluation.cost import Cost
from genremill.jobs.evaluation.figures import bounds
from genremill.jobs.evaluation.page import SPLIT_MEANINGS, SPLIT_NAMES
from genremill.models.evaluation.metrics import Metrics
from genremill.models.model_card import ModelCard


@dataclass(frozen=True)
class Compared:
    """A model version with its figures and its cost."""

    metrics: Metrics
    cost: Cost

    @property
    def version(self) -> str:
        """<name>/<version>."""
        return self.metrics.subject.model_version

    @property
    def line(self) -> str:
        """The figures and the cost in one line, for a terminal."""
        figures = self.metrics.figures
        return (
            f"{self.version}: top-1 {figures.top1.value:.3f}, top-5 {figures.top5.value:.3f} on "
            f"{figures.rows:,} pairs; training took {self.cost.train_seconds:.0f} s, a million tracks take "
            f"{self.cost.score_seconds:.0f} s"
        )

    def as_json(self) -> dict[str, object]:
        """The figures and the cost."""
        return {"metrics": self.metrics.as_json(), "cost": asdict(self.cost)}


def check(cards: Mapping[str, ModelCard]) -> None:
    """Raises if the figures of the versions are not comparable."""
    basis = {
        version: (card.labels, card.snapshots.get("tracks"), card.labels == "cluster" and card.genre_map)
        for version, card in cards.items()
    }
    first, *others = basis.values()
    if any(other != first for other in others):
        differences = "; ".join(
            f"{version}: {labels} labels of tracks run {run}" for version, (labels, run, _) in basis.items()
        )
        raise UsageError(
            "these models cannot be compared: expected the same kind of labels, the same run of tracks and "
            f"the same genre map; found {differences}"
        )


def best_of(compared: Sequence[Compared], label: str) -> str | None:
    """The version with the greatest F1 of a class; None if no version finds any track of it."""
    f1 = {model.version: _of(model, label, "f1") or 0.0 for model in compared}
    best = max(f1, key=lambda version: f1[version], default=None)
    return best if best is not None and f1[best] > 0 else None


def render(compared: Sequence[Compared], header: Header) -> str:
    """The comparison as one self-contained HTML document."""
    first = compared[0].metrics
    best = {label: best_of(compared, label) for label in _labels(compared)}
    wins = list(best.values())
    return render_template(
        "genremill/jobs/evaluation/comparison.html.j2",
        kind="comparison of models",
        title=f"{len(compared)} models, {SPLIT_NAMES[first.split]}",
        lead=_lead(compared),
        header=header,
        noun=str(first.subject.labels),
        split_meaning=SPLIT_MEANINGS[first.split],
        compared=compared,
        bounds=bounds,
        same_pairs=len({model.metrics.figures.rows for model in compared}) == 1,
        wins={model.version: wins.count(model.version) for model in compared},
        no_winner=wins.count(None),
        f1_rows=[
            [label, winner or MISSING, *_cells(compared, label, "f1", percent)]
            for label, winner in best.items()
        ],
        roc_auc_rows=[[label, *_cells(compared, label, "roc_auc", decimal)] for label in best],
    )


def _labels(compared: Sequence[Compared]) -> list[str]:
    return sorted({label for model in compared for label in model.metrics.classes})


def _lead(compared: Sequence[Compared]) -> str:
    best, second, *_ = sorted(compared, key=lambda model: -model.metrics.figures.top1.value)
    first, other = best.metrics.figures.top1, second.metrics.figures.top1
    overlap = (other.high or other.value) >= (first.low or first.value)
    return (
        f"{best.version} is the most accurate: it is right on {percent(first.value)} of the pairs of track "
        f"and {best.metrics.subject.labels}, and the next model, {second.version}, on {percent(other.value)}"
        + (", which is within the margin of error." if overlap else ".")
    )


def _cells(
    compared: Sequence[Compared], label: str, figure: str, show: Callable[[float | None], str]
) -> list[Cell]:
    """A figure of a class for each version; the greatest is highlighted, unless all are equal."""
    values = [_of(model, label, figure) for model in compared]
    best = max((value for value in values if value), default=None) if len(set(values)) > 1 else None
    return [Cell(show(value), best=value is not None and value == best) for value in values]


def _of(model: Compared, label: str, figure: str) -> float | None:
    return getattr(model.metrics.figures.per_class.get(label), figure, None)
