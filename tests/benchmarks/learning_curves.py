"""Labels against accuracy: the table and the picture of `bench_active_learning.py`."""

from __future__ import annotations

import itertools
import json
import statistics
from collections.abc import Iterator
from pathlib import Path
from typing import Any

RANDOM, ACTIVE = "random", "active"
METRICS = ("accuracy", "in_scope_accuracy")

Result = dict[str, Any]


def read_results(path: Path) -> list[Result]:
    """What is written down already."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def report(results: list[Result], picture: Path) -> None:
    """Prints means over the seeds, what the active order saves, and draws it."""
    curves = {order: mean_curve(results, order) for order in (RANDOM, ACTIVE)}
    print("| labels | order | accuracy | in scope | seeds |")
    print("|---|---|---|---|---|")
    for order, curve in curves.items():
        for size, rows in curve.items():
            print(
                f"| {size} | {order} | {_mean_sd(rows, 'accuracy')}"
                f" | {_mean_sd(rows, 'in_scope_accuracy')} | {len(rows)} |"
            )
    if not curves[RANDOM] or not curves[ACTIVE]:
        return
    most = max(curves[RANDOM])
    for metric in METRICS:
        target = statistics.mean(r[metric] for r in curves[RANDOM][most])
        print(f"\n{metric} of random at {most}: {target:.4f}")
        needed = []
        for seed in sorted({r["seed"] for r in results if r["order"] == ACTIVE}):
            own = [r for r in results if (r["order"], r["seed"]) == (ACTIVE, seed)]
            single = labels_for(target, {r["labels"]: r[metric] for r in own})
            print(f"  active, seed {seed}: {'-' if single is None else round(single)}")
            needed += [] if single is None else [single]
        if needed:
            mean = statistics.mean(needed)
            print(f"  on average {mean:.0f}: {1 - mean / most:.0%} fewer")
    picture.write_text(draw(curves), "utf-8")
    print(f"\n{picture}")


def mean_curve(results: list[Result], order: str) -> dict[int, list[Result]]:
    """Results of an order by size."""
    own = [r for r in results if r["order"] == order]
    sizes = sorted({r["labels"] for r in own})
    return {size: [r for r in own if r["labels"] == size] for size in sizes}


def means(curve: dict[int, list[Result]], metric: str) -> dict[int, float]:
    """Mean of a metric by size."""
    return {n: statistics.mean(r[metric] for r in rows) for n, rows in curve.items()}


def labels_for(target: float, curve: dict[int, float]) -> float | None:
    """Where a curve first reaches the target, on straight lines between its points."""
    points = sorted(curve.items())
    if points and points[0][1] >= target:
        return float(points[0][0])
    for (n, low), (m, high) in itertools.pairwise(points):
        if high >= target:
            return n + (m - n) * (target - low) / (high - low)
    return None


def _mean_sd(rows: list[Result], metric: str) -> str:
    values = [r[metric] for r in rows]
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4f}{spread}"


_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP, _RIGHT = 720, 420, 64, 48, 24, 24
_COLOURS = {RANDOM: "#8a8f98", ACTIVE: "#1c7f67"}
_NAMES = {RANDOM: "random order", ACTIVE: "Tuneloop's queue"}


def draw(curves: dict[str, dict[int, list[Result]]]) -> str:
    """Both curves as SVG: means as lines, single seeds as dots."""
    sizes = [size for curve in curves.values() for size in curve]
    values = [
        r["accuracy"] for c in curves.values() for rows in c.values() for r in rows
    ]
    most, low, high = max(sizes), min(values) - 0.02, max(values) + 0.02

    def x(size: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * size / most

    def y(value: float) -> float:
        share: float = (value - low) / (high - low)
        return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * share

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        ' font-family="system-ui, sans-serif" font-size="13">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
    ]
    parts += _axes(x, y, most, low, high)
    target = statistics.mean(r["accuracy"] for r in curves[RANDOM][max(curves[RANDOM])])
    parts.append(
        f'<line x1="{x(0):.1f}" x2="{x(most):.1f}" y1="{y(target):.1f}"'
        f' y2="{y(target):.1f}" stroke="#8a8f98" stroke-dasharray="4 4"/>'
    )
    for place, (order, curve) in enumerate(curves.items()):
        colour = _COLOURS[order]
        line = means(curve, "accuracy")
        points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in line.items())
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}"'
            ' stroke-width="2.5"/>'
        )
        parts += [
            f'<circle cx="{x(r["labels"]):.1f}" cy="{y(r["accuracy"]):.1f}" r="3"'
            f' fill="{colour}" fill-opacity="0.55"/>'
            for rows in curve.values()
            for r in rows
        ]
        at = _HEIGHT - _BOTTOM - 40 + 20 * place
        parts.append(
            f'<rect x="{_WIDTH - 190}" y="{at - 9}" width="18" height="4"'
            f' fill="{colour}"/>'
            f'<text x="{_WIDTH - 165}" y="{at - 2}" fill="#374151">'
            f"{_NAMES[order]}</text>"
        )
    return "\n".join([*parts, "</svg>", ""])


def _axes(x: Any, y: Any, most: int, low: float, high: float) -> Iterator[str]:
    for tick in range(0, most + 1, 500 if most > 1000 else 100):
        yield (
            f'<text x="{x(tick):.1f}" y="{_HEIGHT - _BOTTOM + 20}" fill="#6b7280"'
            f' text-anchor="middle">{tick}</text>'
        )
    step = 0.05 if high - low > 0.12 else 0.02
    for n in range(int(low / step) + 1, int(high / step) + 1):
        yield (
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(n * step):.1f}"'
            f' y2="{y(n * step):.1f}" stroke="#e5e7eb"/>'
            f'<text x="{_LEFT - 8}" y="{y(n * step) + 4:.1f}" fill="#6b7280"'
            f' text-anchor="end">{100 * n * step:.0f} %</text>'
        )
    yield (
        f'<text x="{(_LEFT + _WIDTH) / 2:.0f}" y="{_HEIGHT - 8}" fill="#374151"'
        ' text-anchor="middle">labels</text>'
        f'<text x="16" y="{_HEIGHT / 2:.0f}" fill="#374151" text-anchor="middle"'
        f' transform="rotate(-90 16 {_HEIGHT / 2:.0f})">test questions right</text>'
    )
