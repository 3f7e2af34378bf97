"""Compares model versions on one page: which is best for which class, and what each costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from genremill.infra.errors import UsageError
from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.infra.pages.parts import Cell, Header, Table
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
    about = {
        version: (card.labels, card.snapshots.get("tracks"), card.labels == "cluster" and card.genre_map)
        for version, card in cards.items()
    }
    first, *others = about.values()
    if any(other != first for other in others):
        found = "; ".join(
            f"{version}: {one[0]} labels of tracks run {one[1]}" for version, one in about.items()
        )
        raise UsageError(
            "these models cannot be compared: expected the same kind of labels, the same run of tracks and "
            f"the same genre map; found {found}"
        )


def best_of(compared: Sequence[Compared], label: str) -> str | None:
    """The version with the greatest F1 of a class; None if no version finds any track of it."""
    f1 = {one.version: _of(one, label, "f1") or 0.0 for one in compared}
    best = max(f1, key=lambda version: f1[version], default=None)
    return best if best is not None and f1[best] > 0 else None


def render(compared: Sequence[Compared], header: Header) -> str:
    """The comparison as one self-contained HTML document."""
    first = compared[0].metrics
    labels = sorted({label for one in compared for label in one.metrics.classes})
    noun = str(first.subject.labels)
    return render_template(
        "genremill/jobs/evaluation/comparison.html.j2",
        kind="comparison of models",
        title=f"{len(compared)} models, {SPLIT_NAMES[first.split]}",
        lead=_lead(compared),
        header=header,
        noun=noun,
        split_meaning=SPLIT_MEANINGS[first.split],
        figures=_figures(compared),
        f1=_f1(compared, labels, noun.capitalize()),
        roc_auc=_roc_auc(compared, labels, noun.capitalize()),
        costs=_costs(compared),
    )


def _lead(compared: Sequence[Compared]) -> str:
    best, second, *_ = sorted(compared, key=lambda one: -one.metrics.figures.top1.value)
    first, other = best.metrics.figures.top1, second.metrics.figures.top1
    overlap = (other.high or other.value) >= (first.low or first.value)
    return (
        f"{best.version} is the most accurate: it is right on {percent(first.value)} of the pairs of track "
        f"and {best.metrics.subject.labels}, and the next model, {second.version}, on {percent(other.value)}"
        + (", which is within the margin of error." if overlap else ".")
    )


def _figures(compared: Sequence[Compared]) -> Table:
    top1 = [one.metrics.figures.top1.value for one in compared]
    top5 = [one.metrics.figures.top5.value for one in compared]
    macro_f1 = [one.metrics.figures.macro_f1.value for one in compared]
    pairs = [f"{one.metrics.figures.rows:,}" for one in compared]
    caption = "Held-out tracks that have the inputs of the model; 95 % intervals by bootstrap over artists."
    same_pairs = len(set(pairs)) == 1
    if same_pairs:
        caption += f" All models are measured on the same {pairs[0]} pairs."
    rows: list[dict[str, str | Cell]] = [
        {
            "Model": one.version,
            "Inputs": ", ".join(one.metrics.subject.inputs),
            "Top-1 accuracy": Cell(percent(top1[index]), top1[index], top1[index] == max(top1)),
            "95 % interval": bounds(one.metrics.figures.top1, percent),
            "Top-5 accuracy": _cell(top5[index], top5, percent),
            "Macro-F1": _cell(macro_f1[index], macro_f1, percent),
            "Pairs": "" if same_pairs else pairs[index],
        }
        for index, one in enumerate(compared)
    ]
    return Table(rows, ("Model", "Inputs"), caption=caption)


def _f1(compared: Sequence[Compared], labels: Sequence[str], noun: str) -> Table:
    best = {label: best_of(compared, label) for label in labels}
    wins = list(best.values())
    counts = ", ".join(f"{one.version} for {wins.count(one.version)}" for one in compared)
    none = f", no model for {wins.count(None)}" if None in wins else ""
    return Table(
        [
            {noun: Cell(label), "Best": Cell(best[label] or MISSING)}
            | _by_version(compared, label, "f1", percent)
            for label in labels
        ],
        (noun, "Best"),
        caption=f"F1 of each model. Best: {counts}{none}.",
    )


def _roc_auc(compared: Sequence[Compared], labels: Sequence[str], noun: str) -> Table:
    rows = [{noun: Cell(label)} | _by_version(compared, label, "roc_auc", decimal) for label in labels]
    return Table(rows, (noun,))


def _by_version(
    compared: Sequence[Compared], label: str, figure: str, show: Callable[[float | None], str]
) -> dict[str, Cell]:
    values = [_of(one, label, figure) for one in compared]
    return {one.version: _cell(value, values, show) for one, value in zip(compared, values, strict=True)}


def _cell(value: float | None, values: Sequence[float | None], show: Callable[[float | None], str]) -> Cell:
    """A figure, which is the best one if no model has a greater one."""
    return Cell(show(value), best=bool(value) and value == max(one for one in values if one is not None))


def _of(one: Compared, label: str, figure: str) -> float | None:
    return getattr(one.metrics.figures.per_class.get(label), figure, None)


def _costs(compared: Sequence[Compared]) -> Table:
    cheapest = {name: min(asdict(one.cost)[name] for one in compared) for name in asdict(compared[0].cost)}

    def cell(one: Compared, name: str, text: str) -> Cell:
        return Cell(text, best=asdict(one.cost)[name] == cheapest[name])

    return Table(
        [
            {
                "Model": one.version,
                "Training": cell(one, "train_seconds", f"{one.cost.train_seconds:,.0f} s"),
                "Scoring a million tracks": cell(one, "score_seconds", f"{one.cost.score_seconds:,.1f} s"),
                "Size of the weights": cell(one, "megabytes", f"{one.cost.megabytes:,.1f} MB"),
            }
            for one in compared
        ],
        ("Model",),
    )
