"""Line charts as inline SVG. Colors come from the page's style sheet, so that they follow dark mode."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from genremill.infra.pages.parts import Figure
from genremill.infra.pages.rendering import render_template

LETTER_WIDTH = 6.6
WIDTH, HEIGHT = 342, 270
LEFT, RIGHT, TOP, BOTTOM = 54, 318, 34, 226
"""Size of a chart, and the edges of its plot, in pixels; it fits a phone."""


@dataclass(frozen=True)
class Axis:
    """A labeled range of values; its ticks are whole numbers if `whole`."""

    label: str
    low: float
    high: float
    percent: bool = False
    whole: bool = False

    @classmethod
    def over(cls, label: str, values: Sequence[float], percent: bool = False) -> "Axis":
        """An axis from a round number to a round number that contains the values.

        >>> Axis.over("loss", [2.31, 3.9])
        Axis(label='loss', low=2.0, high=4.0, percent=False, whole=False)
        """
        low, high = min(values, default=0.0), max(values, default=0.0)
        if low == high:
            margin = abs(low) / 2 or 0.5
            low, high = low - margin, high + margin
        step = tick_step(low, high)
        return cls(label, math.floor(low / step) * step, math.ceil(high / step) * step, percent)

    def ticks(self) -> list[float]:
        """Round values along the axis.

        >>> Axis("epoch", 1, 3, whole=True).ticks()
        [1.0, 2.0, 3.0]
        """
        step = max(tick_step(self.low, self.high), 1.0 if self.whole else 0.0)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]

    def share(self, value: float) -> float:
        """Position of a value on the axis: 0 at the low end, 1 at the high end."""
        return (value - self.low) / (self.high - self.low)

    def tick_text(self, value: float) -> str:
        """The text of a tick.

        >>> Axis("", 0, 1, percent=True).tick_text(0.25), Axis("", 0, 3).tick_text(2.5)
        ('25 %', '2.5')
        """
        return f"{100 * value:.4g} %" if self.percent else f"{value:.4g}"


@dataclass(frozen=True)
class Series:
    """A named line of (x, y) points, with a mark at each if `marks`; a guide is drawn thin and dashed."""

    name: str
    points: Sequence[tuple[float, float]]
    guide: bool = False
    marks: bool = False


def tick_step(low: float, high: float, most: int = 6) -> float:
    """A step of 1, 2 or 5 times a power of ten that gives a range at most `most` ticks.

    >>> tick_step(0, 1), tick_step(3, 12, most=4)
    (0.2, 5.0)
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most - 1)


def line_figure(name: str, caption: str, x: Axis, y: Axis, series: Sequence[Series]) -> Figure:
    """Lines over common axes, distinguished by color and by dashes, with a legend above."""

    def x_pixel(value: float) -> float:
        return LEFT + x.share(value) * (RIGHT - LEFT)

    def y_pixel(value: float) -> float:
        return BOTTOM - y.share(value) * (BOTTOM - TOP)

    lines, colors, legend_x, legend_y = [], itertools.count(), float(LEFT), 8.0
    for line in series:
        width = 26 + LETTER_WIDTH * len(line.name)
        if legend_x + width > WIDTH:
            legend_x, legend_y = LEFT, legend_y + 15
        style = "guide" if line.guide else f"series-{next(colors) % 3}"
        lines.append((line, style, legend_x, legend_y))
        legend_x += width + 18
    chart = render_template(
        "genremill/infra/pages/line_chart.svg.j2",
        title=name,
        description=caption,
        size=(WIDTH, HEIGHT),
        x=x,
        y=y,
        x_pixel=x_pixel,
        y_pixel=y_pixel,
        lines=lines,
    )
    return Figure(name, chart, caption)
