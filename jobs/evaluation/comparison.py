"""Several model versions beside each other: which is best for which class, and what each costs."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from genremill.infra.errors import UsageError
from genremill.infra.pages import parts
from genremill.infra.pages.charts import meter
from genremill.infra.pages.markup import join
from genremill.infra.pages.parts import Column
from genremill.jobs.contracts import Split
from genremill.jobs.evaluation.figures import bounds, decimal, percent
from genremill.jobs.evaluation.page import SPLIT_MEANINGS, SPLIT_NAMES
from genremill.models import artifact
from genremill.models.encoders.base import Inputs
from genremill.models.encoders.text_tokens import TEXT_WIDTH
from genremill.models.evaluation.metrics import Metrics
from genremill.models.features import TEXT
from genremill.models.model_card import ModelCard

BATCH = 1024
LEAST_SECONDS = 0.5
"""How long a network answers for its speed to be told."""
MILLION = 1_000_000


@dataclass(frozen=True)
class Cost:
    """What a model version costs: seconds of its training, and of its network for a million tracks."""

    train_seconds: float
    score_seconds: float
    """On one thread; to read the inputs and to write the tags is not in it."""
    megabytes: float


@dataclass(frozen=True)
class Compared:
    """One of the versions."""

    metrics: Metrics
    cost: Cost

    @property
    def version(self) -> str:
        """<name>/<version>."""
        return self.metrics.subject.model_version

    @property
    def line(self) -> str:
        """For a terminal."""
        figures = self.metrics.figures
        return (
            f"{self.version}: top-1 {figures.top1.value:.3f}, top-5 {figures.top5.value:.3f} on "
            f"{figures.rows:,} pairs; trained in {self.cost.train_seconds:.0f} s, a million tracks in "
            f"{self.cost.score_seconds:.0f} s"
        )

    def as_json(self) -> dict[str, object]:
        """The figures and the cost."""
        return {"metrics": self.metrics.as_json(), "cost": asdict(self.cost)}


def check(cards: Mapping[str, ModelCard]) -> None:
    """Raises where the versions' figures would not be about the same thing."""
    about = {
        version: (card.labels, card.snapshots.get("tracks"), card.labels == "cluster" and card.genre_map)
        for version, card in cards.items()
    }
    first, *others = about.values()
    if any(other != first for other in others):
        found = "; ".join(f"{version}: {one[0]} of tracks {one[1]}" for version, one in about.items())
        raise UsageError(
            f"models to compare: expected the same labels, of one run of tracks and one map; found {found}"
        )


def cost_of(folder: str, card: ModelCard) -> Cost:
    """What a version's training took, and what its network takes now on one thread of this machine."""
    model = artifact.load(folder)
    history = card.training.get("history", [])
    pairs = card.training["rows"][Split.TRAIN]
    windows = history[0]["rows"] / pairs if history else 1.0
    inputs = _blank(card)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model.network.probabilities(inputs)  # the first call makes room
        rows, started = 0, time.perf_counter()
        while (taken := time.perf_counter() - started) < LEAST_SECONDS or not rows:
            model.network.probabilities(inputs)
            rows += BATCH
    finally:
        torch.set_num_threads(threads)
    size = sum(value.numel() * value.element_size() for value in model.network.state_dict().values())
    return Cost(
        sum(one["seconds"] for one in history) * card.training["settings"]["workers"],
        taken / rows * windows * MILLION,
        size / MILLION,
    )


def _blank(card: ModelCard) -> Inputs:
    """A batch of inputs without content: a network takes as long for them as for others."""
    return {
        name: torch.ones(BATCH, TEXT_WIDTH, dtype=torch.int32)
        if name == TEXT
        else torch.ones(BATCH, card.width(name))
        for name in card.inputs
    }


def best_of(compared: Sequence[Compared], label: str) -> str | None:
    """The version with the greatest F1 of a class; None where no version tells it at all."""
    f1 = {one.version: _of(one, label, "f1") or 0.0 for one in compared}
    best = max(f1, key=lambda version: f1[version], default=None)
    return best if best is not None and f1[best] > 0 else None


def render(compared: Sequence[Compared]) -> str:
    """The comparison as one self-contained HTML document."""
    first = compared[0].metrics
    labels = sorted({label for one in compared for label in one.metrics.classes})
    kind = str(first.subject.labels).capitalize()
    title = f"{len(compared)} models, {SPLIT_NAMES[first.split]}"
    return parts.page(
        f"{title} · genremill",
        parts.masthead("genremill · comparison of models", title, SPLIT_MEANINGS[first.split]),
        parts.section("Figures", _figures(compared)),
        parts.section(
            f"Which is best for which {kind.lower()}",
            _wins(compared, labels),
            _by_class(compared, labels, kind),
        ),
        parts.section(f"ROC-AUC of each {kind.lower()}", _roc_auc(compared, labels, kind)),
        parts.section("Cost", _costs(compared)),
    )


def _figures(compared: Sequence[Compared]) -> str:
    return parts.table(
        "On held-out tracks that have the model's inputs; intervals by bootstrap over artists.",
        parts.columns(
            "Model",
            "Inputs",
            "Top-1",
            "95 % interval",
            "Top-5",
            "Macro-F1",
            "Pairs",
            text=("Model", "Inputs"),
        ),
        [
            [
                one.version,
                ", ".join(one.metrics.subject.inputs),
                join(percent(figures.top1.value), meter(figures.top1.value)),
                bounds(figures.top1, percent),
                percent(figures.top5.value),
                percent(figures.macro_f1.value if figures.macro_f1 else None),
                f"{figures.rows:,}",
            ]
            for one in compared
            for figures in [one.metrics.figures]
        ],
    )


def _wins(compared: Sequence[Compared], labels: Sequence[str]) -> str:
    best = [best_of(compared, label) for label in labels]
    counts = ", ".join(f"{one.version} for {best.count(one.version)}" for one in compared)
    return parts.prose(f"By F1: {counts}; none tells {best.count(None)}.")


def _by_class(compared: Sequence[Compared], labels: Sequence[str], kind: str) -> str:
    columns = [Column(name, number=False) for name in (kind, "Best")]
    columns += [Column(one.version) for one in compared]
    rows = [
        [label, best_of(compared, label) or "–", *(percent(_of(one, label, "f1")) for one in compared)]
        for label in labels
    ]
    return parts.table("F1 of each model.", columns, rows)


def _roc_auc(compared: Sequence[Compared], labels: Sequence[str], kind: str) -> str:
    columns = [Column(kind, number=False), *(Column(one.version) for one in compared)]
    rows = [[label, *(decimal(_of(one, label, "roc_auc")) for one in compared)] for label in labels]
    return parts.table(
        "The chance that a track of the class scores above another; 0.5 is chance.", columns, rows
    )


def _of(one: Compared, label: str, figure: str) -> float | None:
    return getattr(one.metrics.figures.per_class.get(label), figure, None)


def _costs(compared: Sequence[Compared]) -> str:
    return parts.table(
        "Training: seconds of all workers. Scoring: the network alone, on one thread of the machine that "
        "measured; reading and writing come on top, and are the same for all.",
        parts.columns("Model", "To train", "A million tracks", "Weights", text=("Model",)),
        [
            [
                one.version,
                f"{one.cost.train_seconds:,.0f} s",
                f"{one.cost.score_seconds:,.1f} s",
                f"{one.cost.megabytes:,.1f} MB",
            ]
            for one in compared
        ],
    )
