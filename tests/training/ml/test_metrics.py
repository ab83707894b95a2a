"""Which pass's weights are kept."""

import pytest

from training.ml.interface import Epoch
from training.ml.metrics import is_better


def line(macro_f1: float | None) -> Epoch:
    return Epoch(epoch=1, step=1, loss=0.0, accuracy=macro_f1, macro_f1=macro_f1)


@pytest.mark.parametrize(
    ("before", "now", "is_last", "expected"),
    [
        (0.80, 0.81, False, True),
        (0.80, 0.80, False, False),
        (0.80, 0.79, False, False),
        # One standard error of 0.8 on 400 rows is 0.02.
        (0.80, 0.79, True, True),
        (0.80, 0.781, True, True),
        (0.80, 0.779, True, False),
        (1.00, 0.99, True, False),
    ],
)
def test_the_last_pass_is_kept_unless_it_is_worse_beyond_chance(
    before: float, now: float, is_last: bool, expected: bool
) -> None:
    kept = is_better(line(now), line(before), rows=400, is_last=is_last)
    assert kept == expected


def test_without_validation_the_latest_weights_are_kept() -> None:
    assert is_better(line(None), line(None), rows=0, is_last=False)
    assert is_better(line(0.1), None, rows=400, is_last=False)
