"""Maps as inline SVG: a heat map of a matrix of up to a few hundred names, and names on a plane."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import NamedTuple

from markupsafe import Markup

from genremill.infra.pages.charts import LETTER_WIDTH, Axis
from genremill.infra.pages.rendering import render_template

SHADES = (0.10, 0.22, 0.38, 0.56, 0.76, 1.0)
LONGEST_NAME = 26
NUMBERED_CELL = 26
LEGEND_HEIGHT, LEGEND_STEP = 44, 62
CELL_SIZES = ((12, 40), (32, NUMBERED_CELL), (60, 15))
"""Pixels of a cell for up to this many names; 9 for more."""
WIDTH, HEIGHT, EDGE = 1080, 720, 24
RADIUS = 7.5
FONT = 11


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

    Negative values have another color. Up to 32 names, each shaded cell also shows its value. `blocks` are
    the sizes of consecutive groups of names, which are outlined on the diagonal.
    """
    cell = next((size for most, size in CELL_SIZES if len(names) <= most), 9)
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


class MapPoint(NamedTuple):
    """A name at a point of the plane, in a numbered group."""

    name: str
    x: float
    y: float
    group: int


class _Box(NamedTuple):
    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def name_map(title: str, description: str, points: Sequence[MapPoint]) -> Markup:
    """Points on a plane of free scale; a name that would cover another one only shows in the tooltip."""
    xs = [EDGE + share * (WIDTH - 2 * EDGE) for share in _shares([point.x for point in points])]
    ys = [HEIGHT - EDGE - share * (HEIGHT - 2 * EDGE) for share in _shares([point.y for point in points])]
    taken = [_Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in zip(xs, ys, strict=True)]
    drawn = []
    for point, x, y in zip(points, xs, ys, strict=True):
        label = _free_box(point.name, x, y, taken)
        taken += [label] if label else []
        drawn.append((point.name, x, y, point.group, point.group % 8, label))
    return render_template(
        "genremill/infra/pages/name_map.svg.j2",
        title=title,
        description=description,
        width=WIDTH,
        height=HEIGHT,
        radius=RADIUS,
        points=drawn,
    )


def _shares(values: Sequence[float]) -> list[float]:
    """Position of each value between the lowest and the highest, 0 to 1."""
    low, high = min(values), max(values)
    axis = Axis("", low, high if high > low else low + 1)
    return [axis.share(value) for value in values]


def _free_box(name: str, x: float, y: float, taken: Sequence[_Box]) -> _Box | None:
    """Free space for a name around its point, to the right if possible; None if there is none."""
    width, height = len(name) * LETTER_WIDTH * FONT / 12, FONT + 1
    right, left, middle = x + RADIUS + 2, x - RADIUS - 2 - width, x - width / 2
    above, below, beside = y - RADIUS - height, y + RADIUS, y - height / 2
    corners = (
        *((right, beside), (left, beside), (middle, above), (middle, below)),
        *((right, above), (right, below), (left, above), (left, below)),
    )
    for left, top in corners:
        box = _Box(left, top, left + width, top + height)
        inside = box.left > 0 and box.right < WIDTH and box.top > 0 and box.bottom < HEIGHT
        if inside and not any(box.overlaps(other) for other in taken):
            return box
    return None
