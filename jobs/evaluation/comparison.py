"""Compares model versions on one page: which is best for which class, and what each costs."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch.utils import benchmark

from genremill.infra.errors import UsageError
from genremill.infra.pages.formats import MISSING, decimal, percent
from genremill.infra.pages.parts import Header, TableCell
from genremill.infra.pages.rendering import render_template
from genremill.jobs.contracts import Split
from genremill.jobs.evaluation.figures import bounds
from genremill.jobs.evaluation.page import SPLIT_MEANINGS, SPLIT_NAMES
from genremill.models import artifact
from genremill.models.encoders.text_tokens import text_width
from genremill.models.evaluation.metrics import Metrics
from genremill.models.features import text_kind
from genremill.models.model_card import ModelCard

BATCH = 1024


@dataclass(frozen=True)
class Cost:
    """What a model version costs: seconds of training, and seconds of its network for a million tracks."""

    train_seconds: float
    score_seconds: float
    """On one thread, without reading the inputs and writing the tags."""
    megabytes: float


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


def cost_of(folder: str, card: ModelCard) -> Cost:
    """What the training of a version took, and what its network takes on one thread of this machine."""
    network, history = artifact.load(folder).network, card.training.history
    # Constant inputs: a network takes as long for them as for others.
    inputs = {
        name: torch.full((BATCH, text_width(kind)), min(card.tokens[name], 1), dtype=torch.int32)
        if (kind := text_kind(name))
        else torch.ones(BATCH, card.width(name))
        for name in card.inputs
    }
    names = {"predict": network.probabilities, "inputs": inputs}
    timer = benchmark.Timer("predict(inputs)", globals=names, num_threads=1)
    seconds = timer.blocked_autorange(min_run_time=0.5).mean / BATCH
    windows = history[0].rows / card.training.rows[Split.TRAIN] if history else 1.0
    train_seconds = sum(epoch.seconds for epoch in history) * card.training.settings["workers"]
    size = sum(value.numel() * value.element_size() for value in network.state_dict().values())
    return Cost(train_seconds, seconds * windows * 1e6, size / 1e6)


def check(cards: Mapping[str, ModelCard]) -> None:
    """Raises `UsageError` if the figures of the versions are not comparable."""
    bases = [
        (card.labels, card.snapshots.get("tracks"), card.labels == "cluster" and card.genre_map)
        for card in cards.values()
    ]
    if any(basis != bases[0] for basis in bases):
        versions = zip(cards, bases, strict=True)
        found = (f"{version}: {labels} labels of tracks run {run}" for version, (labels, run, _) in versions)
        raise UsageError(
            "these models cannot be compared: expected the same kind of labels, the same run of tracks and "
            f"the same genre map; found {'; '.join(found)}"
        )


def _best(compared: Sequence[Compared], label: str) -> str | None:
    """The version with the greatest F1 of a class; None if no version finds any track of it."""
    best = max(compared, key=lambda model: _of(model, label, "f1") or 0.0)
    return best.version if _of(best, label, "f1") else None


def render(compared: Sequence[Compared], header: Header) -> str:
    """The comparison as one self-contained HTML document."""
    first = compared[0].metrics
    labels = {label for model in compared for label in model.metrics.classes}
    best = {label: _best(compared, label) for label in sorted(labels)}
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
        f1_rows=[[label, best[label] or MISSING, *_cells(compared, label, "f1", percent)] for label in best],
        roc_auc_rows=[[label, *_cells(compared, label, "roc_auc", decimal)] for label in best],
    )


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
) -> list[TableCell]:
    """A figure of a class for each version; the greatest is highlighted, unless all are equal."""
    values = [_of(model, label, figure) for model in compared]
    best = max((value for value in values if value), default=None) if len(set(values)) > 1 else None
    return [TableCell(show(value), best=value is not None and value == best) for value in values]


def _of(model: Compared, label: str, figure: str) -> float | None:
    return getattr(model.metrics.figures.per_class.get(label), figure, None)
