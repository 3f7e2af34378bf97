"""A square heat map as inline SVG: a confusion matrix or a correlation matrix, up to some hundred names."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate

from genremill.infra.pages.charts import LETTER_WIDTH, chart
from genremill.infra.pages.markup import Markup, element, join

SHADES = (0.10, 0.22, 0.38, 0.56, 0.76, 1.0)
LONGEST_NAME = 26
NUMBERED_CELL = 26
LEGEND_HEIGHT, LEGEND_STEP = 44, 62


def heat_map(
    title: str,
    description: str,
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    steps: Sequence[float],
    show: Callable[[float], str],
    blocks: Sequence[int] = (),
) -> Markup:
    """Rows and columns of the same names; a cell is shaded by how many of the six `steps` its size reaches.

    Negative values have a colour of their own. Up to 32 names, each shaded cell also shows its value.
    `blocks` are the sizes of consecutive groups of names, outlined on the diagonal.
    """
    cell = next(
        size
        for most, size in ((12, 40), (32, NUMBERED_CELL), (60, 15), (len(names), 9))
        if len(names) <= most
    )
    font = min(12, cell)
    labels = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in names]
    margin = max(map(len, labels), default=0) * LETTER_WIDTH * font / 12 + 14
    side = cell * len(names)
    drawing = element(
        "g",
        _names(labels, cell, font),
        element("rect", width=side, height=side, class_="heat-ground"),
        _cells(values, steps, cell),
        _numbers(values, steps, cell, show) if cell >= NUMBERED_CELL else join(),
        _outlines(blocks, cell),
        transform=f"translate({margin:.0f} {margin:.0f})",
    )
    legend = element("g", _legend(steps, show), transform=f"translate({margin:.0f} {margin + side + 16:.0f})")
    width = margin + max(side, LEGEND_STEP * len(steps)) + 10
    return chart(title, description, drawing, legend, width=width, height=margin + side + LEGEND_HEIGHT)


def shade(value: float, steps: Sequence[float]) -> int:
    """How many of the rising steps the size of a value reaches; 0 is left blank.

    >>> [shade(value, (0.01, 0.1, 0.5)) for value in (0.0, 0.05, -0.7)]
    [0, 1, 3]
    """
    return bisect_right(steps, abs(value))


def _cells(values: Sequence[Sequence[float]], steps: Sequence[float], cell: int) -> Markup:
    """One path a shade: a tenth of the size of one rectangle a cell."""
    paths: dict[tuple[bool, int], list[str]] = defaultdict(list)
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            paths[value < 0, shade(value, steps)].append(f"M{column} {row}h1v1h-1z")
    return element(
        "g",
        *(
            element("path", d="".join(path), fill_opacity=SHADES[level - 1], class_=_colour(negative))
            for (negative, level), path in sorted(paths.items())
            if level
        ),
        transform=f"scale({cell})",
        shape_rendering="crispEdges",
    )


def _numbers(
    values: Sequence[Sequence[float]], steps: Sequence[float], cell: int, show: Callable[[float], str]
) -> Markup:
    return join(
        *(
            element(
                "text",
                show(value),
                x=(column + 0.5) * cell,
                y=(row + 0.5) * cell + 3.5,
                text_anchor="middle",
                class_="heat-number strong" if shade(value, steps) > len(SHADES) // 2 else "heat-number",
            )
            for row, line in enumerate(values)
            for column, value in enumerate(line)
            if shade(value, steps)
        )
    )


def _names(labels: Sequence[str], cell: int, font: int) -> Markup:
    middles = [(index + 0.5) * cell + font * 0.35 for index in range(len(labels))]
    rows = [
        element("text", label, x=-6, y=middle, text_anchor="end")
        for label, middle in zip(labels, middles, strict=True)
    ]
    columns = [
        element("text", label, transform=f"translate({middle:.1f} -6) rotate(-90)")
        for label, middle in zip(labels, middles, strict=True)
    ]
    return element("g", *rows, *columns, font_size=font, class_="heat-name")


def _outlines(blocks: Sequence[int], cell: int) -> Markup:
    starts = accumulate(blocks, initial=0)
    return join(
        *(
            element(
                "rect",
                x=start * cell,
                y=start * cell,
                width=size * cell,
                height=size * cell,
                class_="outline",
            )
            for start, size in zip(starts, blocks, strict=False)
        )
    )


def _legend(steps: Sequence[float], show: Callable[[float], str]) -> Markup:
    return join(
        *(
            join(
                element(
                    "rect",
                    x=LEGEND_STEP * index,
                    width=14,
                    height=14,
                    fill_opacity=opacity,
                    class_=_colour(False),
                ),
                element("text", f"≥ {show(step)}", x=LEGEND_STEP * index + 18, y=11, class_="tick"),
            )
            for index, (step, opacity) in enumerate(zip(steps, SHADES, strict=True))
        )
    )


def _colour(negative: bool) -> str:
    return "heat-negative" if negative else "heat"
