"""The calibration plot as coordinates of an inline SVG: no script, no library."""

from dataclasses import dataclass
from typing import Any

from labeling.admin import cells
from training.reports.figures import Metrics

WIDTH, HEIGHT = 400, 270
"""Size of the drawing in its own units: about those of a phone's screen."""

LEFT, RIGHT, TOP = 44, 8, 8
PLOT = 180
"""Height of the bars' part, from 0 to 100 % right."""
COUNTS_TOP, COUNTS = 214, 34
"""Where the part with the numbers of answers begins, and how high it is."""


@dataclass(frozen=True)
class Bar:
    """The answers whose confidence lies in one range."""

    x: float
    width: float
    y: float
    height: float
    """Share that is right."""
    stated: float
    """Height of the mean stated confidence."""
    count_y: float
    count_height: float
    n: str
    """Number of answers, short."""
    words: str
    """All of it, for the tooltip."""

    @property
    def end(self) -> float:
        """Its right edge."""
        return round(self.x + self.width, 1)

    @property
    def middle(self) -> float:
        """Half-way between its edges."""
        return round(self.x + self.width / 2, 1)


@dataclass(frozen=True)
class Tick:
    """A grid line with its word."""

    at: float
    text: str


@dataclass(frozen=True)
class Plot:
    """Confidence against the share that is right."""

    bars: list[Bar]
    before: str
    """`points` of the line before calibration; empty where that was not measured."""
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = TOP + PLOT
    word_y: int = TOP + PLOT + 16
    counts_bottom: int = COUNTS_TOP + 12 + COUNTS


def plot(metrics: Metrics) -> Plot | None:
    """The plot of an evaluation; None where no answer had a confidence."""
    calibration: dict[str, Any] = metrics.get("calibration") or {}
    bins = calibration.get("bins") or []
    if not bins:
        return None
    most = max(one["n"] for one in bins)
    before = (calibration.get("before") or {}).get("bins") or []
    return Plot(
        bars=[_bar(one, most) for one in bins],
        before=" ".join(f"{_x(b['confidence'])},{_y(b['accuracy'])}" for b in before),
        x_ticks=[Tick(_x(part / 4), cells.percent(part / 4)) for part in range(5)],
        y_ticks=[Tick(_y(part / 4), cells.percent(part / 4)) for part in range(5)],
    )


def short(n: int) -> str:
    """A count in at most four characters: 950, 1.2k, 35k, 2M."""
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if n >= size:
            small = n / size
            return f"{small:.1f}{letter}" if small < 9.95 else f"{small:.0f}{letter}"
    return str(n)


def _bar(one: dict[str, Any], most: int) -> Bar:
    x, end = _x(one["low"]), _x(one["high"])
    y = _y(one["accuracy"])
    # A bin of one answer among thousands must still be seen.
    count_height = max(1.5, COUNTS * one["n"] / most)
    return Bar(
        x=round(x + 1, 1),
        width=round(end - x - 2, 1),
        y=y,
        height=round(TOP + PLOT - y, 1),
        stated=_y(one["confidence"]),
        count_y=round(COUNTS_TOP + 12 + COUNTS - count_height, 1),
        count_height=round(count_height, 1),
        n=short(one["n"]),
        words=(
            f"{cells.percent(one['low'])} – {cells.percent(one['high'])}:"
            f" n = {one['n']}, {cells.percent(one['confidence'], digits=1)}"
            f" → {cells.percent(one['accuracy'], digits=1)}"
        ),
    )


def _x(share: float) -> float:
    return round(LEFT + (WIDTH - LEFT - RIGHT) * share, 1)


def _y(share: float) -> float:
    return round(TOP + PLOT * (1 - min(1.0, max(0.0, share))), 1)
