"""A square heat map as inline SVG: a confusion or correlation matrix of up to a few hundred names."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate

from markupsafe import Markup

from genremill.infra.pages.charts import LETTER_WIDTH
from genremill.infra.pages.rendering import render_template

SHADES = (0.10, 0.22, 0.38, 0.56, 0.76, 1.0)
LONGEST_NAME = 26
NUMBERED_CELL = 26
LEGEND_HEIGHT, LEGEND_STEP = 44, 62
CELL_SIZES = ((12, 40), (32, NUMBERED_CELL), (60, 15))
"""Pixels of a cell for up to this many names."""
SMALLEST_CELL = 9


def heat_map(
    title: str,
    description: str,
    names: Sequence[str],
    values: Sequence[Sequence[float]],
    steps: Sequence[float],
    show: Callable[[float], str],
    blocks: Sequence[int] = (),
) -> Markup:
    """Rows and columns of the same names; the shade of a cell says how many of the six `steps` it reaches.

    A cell that reaches no step stays blank, and negative values have another color. Up to 32 names, each
    shaded cell also shows its value. `blocks` are the sizes of consecutive groups of names, which are
    outlined on the diagonal.
    """
    cell = next((size for most, size in CELL_SIZES if len(names) <= most), SMALLEST_CELL)
    font = min(12, cell)
    labels = [name if len(name) <= LONGEST_NAME else name[: LONGEST_NAME - 1] + "…" for name in names]
    margin = round(max(map(len, labels), default=0) * LETTER_WIDTH * font / 12 + 14)
    side = cell * len(names)
    # One path for each shade has a tenth of the size of one rectangle for each cell.
    paths, numbers = defaultdict(list), []
    for row, line in enumerate(values):
        for column, value in enumerate(line):
            if shade := bisect_right(steps, abs(value)):
                paths[value < 0, SHADES[shade - 1]].append(f"M{column} {row}h1v1h-1z")
                numbers.append((row, column, show(value), shade > len(SHADES) // 2))
    return render_template(
        "genremill/infra/pages/heat_map.svg.j2",
        title=title,
        description=description,
        labels=labels,
        cell=cell,
        font=font,
        margin=margin,
        side=side,
        width=margin + max(side, LEGEND_STEP * len(steps)) + 10,
        height=margin + side + LEGEND_HEIGHT,
        paths=sorted(paths.items()),
        numbers=numbers if cell >= NUMBERED_CELL else [],
        blocks=list(zip(accumulate(blocks, initial=0), blocks, strict=False)),
        legend=[(opacity, show(step)) for step, opacity in zip(steps, SHADES, strict=True)],
        legend_step=LEGEND_STEP,
    )
