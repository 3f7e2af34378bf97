"""A map of names on a plane as inline SVG: each point bears its group's number, and its name where there is room."""

from collections.abc import Sequence
from dataclasses import dataclass

from genremill.infra.charts import Axis, LETTER_WIDTH, chart
from genremill.infra.markup import Markup, element, join

WIDTH, HEIGHT, EDGE = 1080, 720, 24
GROUP_COLOURS = 8
RADIUS = 8
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
    across = Axis.over("", [place.x for place in places])
    up = Axis.over("", [place.y for place in places])
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


def _point(place: Place, x: float, y: float) -> Markup:
    return element(
        "g",
        element("title", place.name),
        element("circle", cx=x, cy=y, r=RADIUS, class_=f"place group-{place.group % GROUP_COLOURS}"),
        element("text", str(place.group + 1), x=x, y=y + 3.3, text_anchor="middle", class_="place-number"),
    )


def _room(name: str, x: float, y: float, taken: Sequence[_Box]) -> _Box | None:
    """Where the name fits beside its point: right, left, above or below; None where nowhere."""
    width, height = len(name) * LETTER_WIDTH * FONT / 12, FONT + 1
    corners = (
        (x + RADIUS + 2, y - height / 2),
        (x - RADIUS - 2 - width, y - height / 2),
        (x - width / 2, y - RADIUS - height),
        (x - width / 2, y + RADIUS),
    )
    boxes = (_Box(left, top, left + width, top + height) for left, top in corners)
    page = (
        box for box in boxes if box.left > 0 and box.right < WIDTH and box.top > 0 and box.bottom < HEIGHT
    )
    return next((box for box in page if not any(box.meets(other) for other in taken)), None)
