"""Charts as inline SVG: no scripts, no library; colours come from the page's style sheet."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from genremill.infra.pages.markup import Markup, element, join

WIDTH, HEIGHT = 336, 270  # fits a phone
LEFT, RIGHT, TOP, BOTTOM = 48, 312, 34, 226
LETTER_WIDTH = 6.6
SERIES_COLOURS = 3


@dataclass(frozen=True)
class Axis:
    """A labelled range of values."""

    label: str
    low: float
    high: float
    percent: bool = False
    whole: bool = False

    @classmethod
    def over(cls, label: str, values: Sequence[float], percent: bool = False) -> "Axis":
        """An axis that holds the values between round ends.

        >>> Axis.over("loss", [2.31, 3.9])
        Axis(label='loss', low=2.0, high=4.0, percent=False, whole=False)
        """
        low, high = min(values, default=0.0), max(values, default=0.0)
        if low == high:
            room = abs(low) / 2 or 0.5
            low, high = low - room, high + room
        step = tick_step(low, high)
        return cls(label, math.floor(low / step) * step, math.ceil(high / step) * step, percent)

    def ticks(self) -> list[float]:
        """Round values along the axis, whole ones if it counts.

        >>> Axis("epoch", 1, 3, whole=True).ticks()
        [1.0, 2.0, 3.0]
        """
        step = tick_step(self.low, self.high)
        step = max(step, 1.0) if self.whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [round(index * step, 10) for index in range(first, last + 1)]

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high one.

        >>> Axis("", 10, 20).share(15)
        0.5
        """
        return (value - self.low) / (self.high - self.low)

    def tick_text(self, value: float) -> str:
        """A tick's text.

        >>> Axis("", 0, 1, percent=True).tick_text(0.25), Axis("", 0, 3).tick_text(2.5)
        ('25 %', '2.5')
        """
        return f"{100 * value:.4g} %" if self.percent else f"{value:.4g}"


@dataclass(frozen=True)
class Series:
    """A named line of (x, y) points; a guide is drawn faint and dashed, under the others."""

    name: str
    points: Sequence[tuple[float, float]]
    guide: bool = False
    marks: bool = False


def tick_step(low: float, high: float, most: int = 6) -> float:
    """The step 1, 2 or 5 times a power of ten that parts a range by at most `most` ticks.

    >>> tick_step(0, 1), tick_step(3, 12, most=4)
    (0.2, 5.0)
    """
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    return next(power * factor for factor in (1, 2, 5, 10, 20) if (high - low) / (power * factor) <= most - 1)


def chart(title: str, description: str, *content: str, width: float, height: float) -> Markup:
    """A picture that screen readers announce by its title and description."""
    return element(
        "svg",
        element("title", title),
        element("desc", description),
        *content,
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        width=width,
        height=height,
        role="img",
        class_="chart",
    )


def line_chart(title: str, description: str, x: Axis, y: Axis, series: Sequence[Series]) -> Markup:
    """Lines over common axes, told apart by colour and by dashes, with a legend above."""
    styles = _styles(series)
    lines = [_line(one, x, y, style) for one, style in zip(series, styles, strict=True)]
    return chart(
        title, description, _frame(x, y), *lines, _legend(series, styles), width=WIDTH, height=HEIGHT
    )


def meter(share: float, width: float = 72) -> Markup:
    """A small bar filled from the left by a share in [0, 1]; for a table, beside the number itself."""
    return element(
        "svg",
        element("rect", width=width, height=8, rx=1, class_="meter-ground"),
        element("rect", width=width * min(max(share, 0.0), 1.0), height=8, rx=1, class_="meter-fill"),
        width=width,
        height=8,
        aria_hidden="true",
        class_="meter",
    )


def _frame(x: Axis, y: Axis) -> Markup:
    across = [
        join(
            element("line", x1=LEFT, x2=RIGHT, y1=_down(y, value), y2=_down(y, value), class_="grid"),
            _text(y.tick_text(value), LEFT - 8, _down(y, value) + 4, "end"),
        )
        for value in y.ticks()
    ]
    along = [_text(x.tick_text(value), _right(x, value), BOTTOM + 18, "middle") for value in x.ticks()]
    base = element("line", x1=LEFT, x2=RIGHT, y1=BOTTOM, y2=BOTTOM, class_="axis")
    return join(*across, *along, base, _text(x.label, RIGHT, BOTTOM + 36, "end", "axis-label"))


def _line(series: Series, x: Axis, y: Axis, style: str) -> Markup:
    points = [(_right(x, across), _down(y, up)) for across, up in series.points]
    path = "L".join(f"{across:.1f} {up:.1f}" for across, up in points)
    marks = [element("circle", cx=across, cy=up, r=3.2, class_=f"mark {style}") for across, up in points]
    line = element("path", d=f"M{path}", class_=f"line {style}") if points else join()
    return join(line, *(marks if series.marks or len(points) == 1 else []))


def _legend(series: Sequence[Series], styles: Sequence[str]) -> Markup:
    entries, left = [], float(LEFT)
    for one, style in zip(series, styles, strict=True):
        sample = element("line", x1=left, x2=left + 20, y1=14, y2=14, class_=f"line {style}")
        entries.append(join(sample, _text(one.name, left + 26, 18, "start", "legend")))
        left += 26 + LETTER_WIDTH * len(one.name) + 18
    return join(*entries)


def _styles(series: Sequence[Series]) -> list[str]:
    """A class of the style sheet for each line; guides take none of the colours."""
    colours = itertools.count()
    return ["guide" if one.guide else f"series-{next(colours) % SERIES_COLOURS}" for one in series]


def _text(text: str, x: float, y: float, anchor: str, kind: str = "tick") -> Markup:
    return element("text", text, x=x, y=y, text_anchor=anchor, class_=kind)


def _right(axis: Axis, value: float) -> float:
    return LEFT + axis.share(value) * (RIGHT - LEFT)


def _down(axis: Axis, value: float) -> float:
    return BOTTOM - axis.share(value) * (BOTTOM - TOP)
