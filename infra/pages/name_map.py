"""A map of names on a plane as inline SVG; a point shows the number of its group, and its name if it fits."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from markupsafe import Markup

from genremill.infra.pages.charts import LETTER_WIDTH, Axis
from genremill.infra.pages.rendering import render_template

WIDTH, HEIGHT, EDGE = 1080, 720, 24
GROUP_COLORS = 8
RADIUS = 7.5
FONT = 11


@dataclass(frozen=True)
class MapPoint:
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
        drawn.append((point.name, x, y, point.group, point.group % GROUP_COLORS, label))
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
