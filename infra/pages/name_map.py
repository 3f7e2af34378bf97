"""A map of names on a plane as inline SVG; a point bears its group's number, and its name where it fits."""

from collections.abc import Sequence
from dataclasses import dataclass

from genremill.infra.pages.charts import LETTER_WIDTH, Axis, chart
from genremill.infra.pages.markup import Markup, element

WIDTH, HEIGHT, EDGE = 1080, 720, 24
GROUP_COLOURS = 8
RADIUS = 7.5
FONT = 11


@dataclass(frozen=True)
class Place:
    """A name at a point of the plane, in a numbered group."""

    name: str
    x: float
    y: float
    group: int


@dataclass(frozen=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Box") -> bool:
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom


def name_map(title: str, description: str, places: Sequence[Place]) -> Markup:
    """Points on a plane of free scale; a name that would cover another is left to the point's tooltip."""
    across = _extent([place.x for place in places])
    up = _extent([place.y for place in places])
    points = [
        (
            EDGE + across.share(place.x) * (WIDTH - 2 * EDGE),
            HEIGHT - EDGE - up.share(place.y) * (HEIGHT - 2 * EDGE),
        )
        for place in places
    ]
    taken = [_Box(x - RADIUS, y - RADIUS, x + RADIUS, y + RADIUS) for x, y in points]
    drawn = []
    for place, (x, y) in zip(places, points, strict=True):
        drawn.append(_point(place, x, y))
        room = _room(place.name, x, y, taken)
        if room:
            taken.append(room)
            drawn.append(element("text", place.name, x=room.left, y=room.bottom - 3, class_="place-name"))
    return chart(title, description, *drawn, width=WIDTH, height=HEIGHT)


def _extent(values: Sequence[float]) -> Axis:
    low, high = min(values), max(values)
    return Axis("", low, high if high > low else low + 1)


def _point(place: Place, x: float, y: float) -> Markup:
    return element(
        "g",
        element("title", place.name),
        element("circle", cx=x, cy=y, r=RADIUS, class_=f"place group-{place.group % GROUP_COLOURS}"),
        element("text", str(place.group + 1), x=x, y=y + 3.3, text_anchor="middle", class_="place-number"),
    )


def _room(name: str, x: float, y: float, taken: Sequence[_Box]) -> _Box | None:
    """Where the name fits beside its point, right of it at best; None where nowhere."""
    width, height = len(name) * LETTER_WIDTH * FONT / 12, FONT + 1
    right, left, middle = x + RADIUS + 2, x - RADIUS - 2 - width, x - width / 2
    above, below, beside = y - RADIUS - height, y + RADIUS, y - height / 2
    corners = (
        *((right, beside), (left, beside), (middle, above), (middle, below)),
        *((right, above), (right, below), (left, above), (left, below)),
    )
    boxes = (_Box(left, top, left + width, top + height) for left, top in corners)
    page = (
        box for box in boxes if box.left > 0 and box.right < WIDTH and box.top > 0 and box.bottom < HEIGHT
    )
    return next((box for box in page if not any(box.meets(other) for other in taken)), None)
