"""The HTML page of a study: accuracy and time over each setting, and every training in a table."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from genremill.infra.pages import parts
from genremill.infra.pages.charts import Axis, Series, line_chart
from genremill.infra.pages.markup import Markup
from genremill.jobs.evaluation.figures import decimal, percent
from genremill.jobs.studies.grid import SETTINGS, Reached, best_of

HEADINGS = {"learning_rate": "Learning rate", "batch": "Batch", "epochs": "Epochs"}
MOST_TICKS = 7


@dataclass(frozen=True)
class Places(Axis):
    """Values at equal distances, whatever lies between them: rates and batches are chosen by factors."""

    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, label: str, values: Sequence[float]) -> "Places":
        """The axis of a setting's values.

        >>> Places.of("batch", [32, 128, 512]).share(1)
        0.5
        """
        room = 0.5 if len(values) == 1 else 0.0
        return cls(label, -room, len(values) - 1 + room, values=tuple(values))

    def ticks(self) -> list[float]:
        """Places that bear their value, not so many that they would run into each other."""
        step = -(-len(self.values) // MOST_TICKS)
        return [float(place) for place in range(0, len(self.values), step)]

    def tick_text(self, value: float) -> str:
        """The value at a place.

        >>> Places.of("learning rate", [1e-4, 1e-3]).tick_text(1.0)
        '0.001'
        """
        return f"{self.values[round(value)]:g}"


@dataclass(frozen=True)
class _Figure:
    """What is drawn over a setting."""

    name: str
    of: Callable[[Reached], float | None]
    in_percent: bool = False
    from_zero: bool = False


ACCURACY = _Figure("Validation accuracy", lambda one: one.accuracy, in_percent=True)
LOSS = _Figure("Validation loss", lambda one: one.loss)
TIME = _Figure("Seconds", lambda one: one.seconds, from_zero=True)


def line(reached: Reached) -> str:
    """A training in one line, for a terminal."""
    took = f"{reached.seconds:,.1f} s" if reached.seconds is not None else "no time"
    return f"{reached.cell}: validation accuracy {percent(reached.accuracy)} in {took}"


def render(model: str, reached: Sequence[Reached], tracks_run: str) -> str:
    """The study as one self-contained HTML document."""
    best = best_of(reached)
    title = f"{model}, {len(reached)} {'training' if len(reached) == 1 else 'trainings'}"
    lead = (
        "Measured on validation tracks, at the epoch whose weights a model version would have; test tracks "
        "are not looked at. Seconds are those of all epochs, validation included."
    )
    varied = [name for name in SETTINGS if len(_values(reached, name)) > 1]
    content = [_headline(best, reached), *(_setting(name, reached, best) for name in varied if best)]
    return parts.page(
        f"{title} · genremill",
        parts.masthead("genremill · study of training settings", title, lead),
        *content,
        parts.section("Every training", _table(reached)),
        parts.section("This study", parts.facts(_facts(model, reached, tracks_run))),
    )


def _headline(best: Reached | None, reached: Sequence[Reached]) -> Markup:
    if best is None or best.accuracy is None:
        return parts.absent("In no training did the loss stay a number; try lower learning rates.")
    noise = 1.96 * math.sqrt(best.accuracy * (1 - best.accuracy) / max(best.pairs, 1))
    whole = sum(one.seconds or 0.0 for one in reached)
    return parts.stats(
        parts.stat("best accuracy", percent(best.accuracy), f"{best.cell}"),
        parts.stat("its loss", decimal(best.loss), f"epoch {best.best_epoch}"),
        parts.stat("its time", _seconds(best), f"{whole:,.1f} s for all"),
        parts.stat("noise", f"± {100 * noise:.1f} points", f"95 %, of {best.pairs:,} pairs as if unrelated"),
    )


def _setting(name: str, reached: Sequence[Reached], best: Reached) -> Markup:
    """Accuracy, loss and time over one setting."""
    others = [f"{HEADINGS[one].lower()} {getattr(best.cell, one):g}" for one in SETTINGS if one != name]
    says = f"Line: the others as in the best training, {', '.join(others)}"
    if len(reached) > len(_values(reached, name)):
        says += "; dashes: the mean over all their values"
    return parts.section(
        HEADINGS[name],
        parts.side_by_side(
            _chart(name, reached, best, ACCURACY, f"{ACCURACY.name}. {says}."),
            _chart(name, reached, best, LOSS, "Mean cross-entropy on validation tracks, nats."),
            _chart(name, reached, best, TIME, "Seconds that the training took."),
        ),
    )


def _chart(
    name: str,
    reached: Sequence[Reached],
    best: Reached,
    figure: _Figure,
    caption: str,
) -> Markup:
    values = _values(reached, name)
    by_cell = {one.cell: figure.of(one) for one in reached}
    at_best, means = [], []
    for place, value in enumerate(values):
        there = by_cell[dataclasses.replace(best.cell, **{name: value})]
        if there is not None:
            at_best.append((float(place), there))
        all_there = [v for cell, v in by_cell.items() if getattr(cell, name) == value and v is not None]
        if all_there:
            means.append((float(place), fmean(all_there)))
    series = [Series("others as in the best", at_best, marks=True)]
    if len(reached) > len(values):
        series.append(Series("mean", means, marks=True))
    heading = f"{figure.name} by {HEADINGS[name].lower()}"
    shown = [up for one in series for _, up in one.points]
    down = Axis.over(figure.name, [0.0, *shown] if figure.from_zero else shown, figure.in_percent)
    across = Places.of(HEADINGS[name].lower(), values)
    return parts.figure(line_chart(heading, caption, across, down, series), caption)


def _values(reached: Sequence[Reached], name: str) -> list[Any]:
    return sorted({getattr(one.cell, name) for one in reached})


def _table(reached: Sequence[Reached]) -> Markup:
    ranked = sorted(reached, key=lambda one: (-(one.accuracy or -1.0), one.seconds or 0.0))
    figures = ("Accuracy", "Loss", "Train accuracy", "Best epoch", "Time")
    return parts.table(
        "The most accurate first.",
        parts.columns(*HEADINGS.values(), *figures, "Note", text=("Note",)),
        [
            [
                *(f"{getattr(one.cell, name):g}" for name in SETTINGS),
                percent(one.accuracy),
                decimal(one.loss),
                percent(one.train_accuracy),
                "–" if one.best_epoch is None else str(one.best_epoch),
                _seconds(one),
                one.failed,
            ]
            for one in ranked
        ],
    )


def _seconds(one: Reached) -> str:
    return "–" if one.seconds is None else f"{one.seconds:,.1f} s"


def _facts(model: str, reached: Sequence[Reached], tracks_run: str) -> dict[str, str]:
    return {
        "Model": model,
        **{HEADINGS[name]: ", ".join(f"{v:g}" for v in _values(reached, name)) for name in SETTINGS},
        "Validation pairs": f"{reached[0].pairs:,}",
        "Tracks": f"run {tracks_run}",
    }
