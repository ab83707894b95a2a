"""Coordinates of the curves."""

import pytest

from training.batches import curves


def test_a_curve_fills_its_axes() -> None:
    chart = curves.chart("Loss", [(0, 2.0), (50, 1.0), (100, 0.0)], x_max=100)
    assert chart is not None
    left, right = curves.LEFT, curves.WIDTH - curves.RIGHT
    top, bottom = curves.TOP, curves.HEIGHT - curves.BOTTOM
    assert chart.dots == [
        (left, top),
        ((left + right) / 2, (top + bottom) / 2),
        (right, bottom),
    ]
    assert chart.line == " ".join(f"{x},{y}" for x, y in chart.dots)
    assert chart.last == "0.00"
    assert [tick.text for tick in chart.x_ticks] == ["0", "50", "100"]
    assert [tick.text for tick in chart.y_ticks] == ["0.00", "1.00", "2.00"]


def test_values_beyond_the_axis_stay_on_the_drawing() -> None:
    chart = curves.chart("F1", [(1, 1.5), (2, -1.0)], x_max=2, y_max=1.0)
    assert chart is not None
    assert [y for _x, y in chart.dots] == [curves.TOP, curves.HEIGHT - curves.BOTTOM]


def test_no_points_are_no_chart() -> None:
    assert curves.chart("Loss", [], x_max=10) is None


def test_thousands_of_points_are_thinned_and_the_last_one_kept() -> None:
    points = [(float(step), 1.0) for step in range(1, 5001)]
    chart = curves.chart("Loss", points, x_max=5000)
    assert chart is not None
    places = chart.line.split()
    assert 200 < len(places) <= curves.MAX_POINTS
    assert places[-1].startswith(f"{float(curves.WIDTH - curves.RIGHT)},")
    assert chart.dots == [], "too many for dots"


@pytest.mark.parametrize(
    ("value", "top"),
    [(0.0, 1.0), (0.03, 0.05), (0.2, 0.2), (1.0, 1.0), (1.1, 2.0), (7.0, 10.0)],
)
def test_axes_end_at_round_numbers(value: float, top: float) -> None:
    assert curves.round_up(value) == pytest.approx(top)
