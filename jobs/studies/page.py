"""The study page: accuracy, loss and time by each setting, and every training in a table."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from genremill.infra.pages.charts import Axis, Series, line_figure
from genremill.infra.pages.formats import percent
from genremill.infra.pages.parts import Figure, Header
from genremill.infra.pages.rendering import render_template
from genremill.jobs.studies.grid import SETTINGS, CellResult, best_of

HEADINGS = {"learning_rate": "Learning rate", "batch": "Batch", "epochs": "Epochs"}
MOST_TICKS = 7


@dataclass(frozen=True)
class CategoryAxis(Axis):
    """Values at equal distances: learning rates and batches are chosen by factors."""

    values: tuple[float, ...] = ()

    @classmethod
    def of(cls, label: str, values: Sequence[float]) -> "CategoryAxis":
        """The axis of a setting's values.

        >>> axis = CategoryAxis.of("batch", [32, 128, 512])
        >>> axis.share(1), axis.tick_text(1.0)
        (0.5, '128')
        """
        margin = 0.5 if len(values) == 1 else 0.0
        return cls(label, -margin, len(values) - 1 + margin, values=tuple(values))

    def ticks(self) -> list[float]:
        """Positions whose value is written, few enough that the texts do not overlap."""
        step = -(-len(self.values) // MOST_TICKS)
        return [float(index) for index in range(0, len(self.values), step)]

    def tick_text(self, value: float) -> str:
        """The value at a position."""
        return f"{self.values[round(value)]:g}"


@dataclass(frozen=True)
class _Measure:
    """What a chart shows by setting."""

    field: str
    name: str
    caption: str
    in_percent: bool = False
    from_zero: bool = False


ACCURACY = _Measure("accuracy", "Validation accuracy", "Top-1 accuracy of validation pairs.", in_percent=True)
LOSS = _Measure("loss", "Validation loss", "Mean cross-entropy of validation pairs, in nats.")
TIME = _Measure("seconds", "Seconds", "Seconds that the training took.", from_zero=True)


def line(result: CellResult) -> str:
    """A training in one line, for a terminal."""
    took = f"{result.seconds:,.1f} s" if result.seconds is not None else "no time"
    return f"{result.cell}: validation accuracy {percent(result.accuracy)} in {took}"


def render(model: str, results: Sequence[CellResult], header: Header) -> str:
    """The study as one self-contained HTML document."""
    best = best_of(results)
    varied = [name for name in SETTINGS if len(_values(results, name)) > 1]
    accuracy = best.accuracy or 0.0 if best else 0.0
    return render_template(
        "genremill/jobs/studies/study.html.j2",
        kind="study of training settings",
        title=f"{model}, {len(results)} {'training' if len(results) == 1 else 'trainings'}",
        lead=_lead(best, results),
        header=header,
        best=best,
        margin=1.96 * math.sqrt(accuracy * (1 - accuracy) / max(results[0].pairs, 1)),
        total=sum(trial.seconds or 0.0 for trial in results),
        charts={HEADINGS[name]: _charts(name, results, best) for name in varied if best},
        ranked=sorted(results, key=lambda trial: (-(trial.accuracy or -1.0), trial.seconds or 0.0)),
        facts={
            "Model": model,
            **{HEADINGS[name]: ", ".join(f"{v:g}" for v in _values(results, name)) for name in SETTINGS},
            "Validation pairs": f"{results[0].pairs:,}",
        },
    )


def _lead(best: CellResult | None, results: Sequence[CellResult]) -> str:
    if best is None or best.accuracy is None:
        return "In every training the loss became infinite or not a number: try lower learning rates."
    trainings = "The only training" if len(results) == 1 else f"The best of {len(results)} trainings"
    return f"{trainings} is right on {percent(best.accuracy)} of the validation pairs, with {best.cell}."


def _charts(name: str, results: Sequence[CellResult], best: CellResult) -> list[Figure]:
    """Accuracy, loss and time by one setting."""
    others = [
        f"{HEADINGS[other].lower()} {getattr(best.cell, other):g}" for other in SETTINGS if other != name
    ]
    lines = f" Solid: the other settings as in the best training ({', '.join(others)})."
    if len(results) > len(_values(results, name)):
        lines += " Dashed: the mean over all values of the other settings."
    return [
        _chart(name, results, best, measure, measure.caption + (lines if measure is ACCURACY else ""))
        for measure in (ACCURACY, LOSS, TIME)
    ]


def _chart(
    name: str, results: Sequence[CellResult], best: CellResult, measure: _Measure, caption: str
) -> Figure:
    values = _values(results, name)
    figures = {trial.cell: getattr(trial, measure.field) for trial in results}
    measured = {cell: figure for cell, figure in figures.items() if figure is not None}
    as_best, means = [], []
    for index, value in enumerate(values):
        like_best = dataclasses.replace(best.cell, **{name: value})
        as_best += [(float(index), measured[like_best])] if like_best in measured else []
        same = [figure for cell, figure in measured.items() if getattr(cell, name) == value]
        means += [(float(index), fmean(same))] if same else []
    series = [Series("others as in the best", as_best, marks=True)]
    if len(results) > len(values):
        series.append(Series("mean", means, marks=True))
    shown = [0.0] * measure.from_zero + [up for line in series for _, up in line.points]
    setting = HEADINGS[name].lower()
    y, x = Axis.over(measure.name, shown, measure.in_percent), CategoryAxis.of(setting, values)
    return line_figure(f"{measure.name} by {setting}", caption, x, y, series)


def _values(results: Sequence[CellResult], name: str) -> list[Any]:
    return sorted({getattr(trial.cell, name) for trial in results})
