"""A batch's curves as coordinates of an inline SVG: no script, no library."""

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 560, 180
"""Size of the drawing in its own units; the page scales it."""

LEFT, RIGHT, TOP, BOTTOM = 44, 12, 12, 26
"""Margins for the axes' words."""

MAX_POINTS = 240
"""More points than this can't be told apart; they are averaged in groups."""

Point = tuple[float, float]


@dataclass(frozen=True)
class Tick:
    """A grid line with its word."""

    at: float
    text: str


@dataclass(frozen=True)
class Chart:
    """One curve, ready to be drawn."""

    title: str
    line: str
    """`points` of a polyline."""
    dots: list[Point]
    """Points that are drawn as dots: those of a curve with few."""
    last: str
    """The latest value in words."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM
    word_y: int = HEIGHT - 8


def chart(
    title: str,
    points: Sequence[Point],
    *,
    x_max: float,
    y_max: float | None = None,
    digits: int = 2,
) -> Chart | None:
    """A chart of (step, value) points, or None without any.

    Args:
        title: What the values are.
        points: In the order of the steps.
        x_max: Last step of the axis.
        y_max: Top of the axis; a round number above the largest value when None.
        digits: Decimal places of the values in words.
    """
    if not points:
        return None
    shown = _thin(points)
    x_max = max(x_max, points[-1][0], 1.0)
    top = y_max if y_max is not None else round_up(max(y for _x, y in shown))

    def place(x: float, y: float) -> Point:
        across = LEFT + (WIDTH - LEFT - RIGHT) * x / x_max
        up = (HEIGHT - TOP - BOTTOM) * min(1.0, max(0.0, y / top))
        return round(across, 1), round(HEIGHT - BOTTOM - up, 1)

    places = [place(x, y) for x, y in shown]
    return Chart(
        title=title,
        line=" ".join(f"{x},{y}" for x, y in places),
        dots=places if len(places) <= 12 else [],
        last=f"{points[-1][1]:.{digits}f}",
        x_ticks=[
            Tick(place(x_max * share, 0)[0], f"{x_max * share:.0f}")
            for share in (0.0, 0.5, 1.0)
        ],
        y_ticks=[
            Tick(place(0, top * share)[1], f"{top * share:.{digits}f}")
            for share in (0.0, 0.5, 1.0)
        ],
    )


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10, 20 … times a power of ten; 1.0 for nothing positive."""
    if not value > 0:
        return 1.0
    step = 10.0 ** len(str(int(value)))
    while step / 10 >= value:
        step /= 10
    for part in (0.1, 0.2, 0.5):
        if step * part >= value:
            return step * part
    return step


def _thin(points: Sequence[Point]) -> list[Point]:
    size = -(-len(points) // MAX_POINTS)
    groups = (points[i : i + size] for i in range(0, len(points), size))
    return [(group[-1][0], sum(y for _x, y in group) / len(group)) for group in groups]
