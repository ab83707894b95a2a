"""Bootstrap intervals: as wide as chance, the same each time, and quick."""

import time

import numpy as np
import pytest

from training.statistics import metrics, resampling

CLASSES = 5


def one_hot(values: np.ndarray, classes: int = CLASSES) -> np.ndarray:
    return np.eye(classes, dtype=bool)[values]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(3)


def answers(
    random: np.random.Generator, values: np.ndarray, right: float, classes: int
) -> np.ndarray:
    """Answers of which a share is right."""
    other = (values + random.integers(1, classes, len(values))) % classes
    return one_hot(np.where(random.random(len(values)) < right, values, other), classes)


def test_an_interval_is_as_wide_as_that_of_a_share(random: np.random.Generator) -> None:
    values = random.integers(0, CLASSES, 400)
    truth, chosen = one_hot(values), answers(random, values, 0.8, CLASSES)
    draws = resampling.Draws(truth, chosen)
    right = (draws.tables[0] == draws.tables[1]).all(axis=1)
    found = resampling.interval(draws.share(right))
    assert found is not None
    share = metrics.exact_match(truth, chosen)
    half = 1.96 * np.sqrt(share * (1 - share) / 400)
    assert found == pytest.approx([share - half, share + half], abs=0.006)


def test_patterns_say_what_rows_say(random: np.random.Generator) -> None:
    """Drawing the rows one by one gives the same spread."""
    values = random.integers(0, CLASSES, 150)
    truth, chosen = one_hot(values), answers(random, values, 0.7, CLASSES)
    picks = random.integers(0, 150, (2000, 150))
    each = [metrics.macro_f1(truth[pick], chosen[pick]) for pick in picks]
    draws = resampling.Draws(truth, chosen)
    assert len(draws.counts) <= CLASSES**2
    found = resampling.interval(draws.macro_f1(*draws.tables))
    assert found == pytest.approx(np.percentile(each, [2.5, 97.5]), abs=0.012)
    micro = resampling.interval(draws.micro_f1(*draws.tables))
    assert micro is not None
    assert micro[0] < metrics.micro_f1(truth, chosen) < micro[1]


def test_a_difference_is_paired_and_tells_loss_from_noise(
    random: np.random.Generator,
) -> None:
    values = random.integers(0, CLASSES, 400)
    truth = one_hot(values)
    good, worse = (answers(random, values, share, CLASSES) for share in (0.9, 0.7))
    # Ten questions are answered rightly instead of ten others.
    right = (good == truth).all(axis=1)
    gained, lost = np.flatnonzero(~right)[:10], np.flatnonzero(right)[:10]
    as_good = good.copy()
    as_good[gained], as_good[lost] = truth[gained], np.roll(truth[lost], 1, axis=1)

    def interval(before: np.ndarray, after: np.ndarray) -> list[float]:
        draws = resampling.Draws(truth, before, after)
        t, old, new = draws.tables
        found = resampling.interval(draws.macro_f1(t, new) - draws.macro_f1(t, old))
        assert found is not None
        return found

    low, high = interval(good, as_good)
    assert low < 0 < high
    low, high = interval(good, worse)
    assert low < metrics.macro_f1(truth, worse) - metrics.macro_f1(truth, good) < high
    assert high < 0
    assert interval(good, good) == [0.0, 0.0]
    assert interval(good, worse) == interval(good, worse), "seeded"


def test_what_no_draw_holds_has_no_interval() -> None:
    truth = one_hot(np.array([0, 0, 1]))
    draws = resampling.Draws(truth, truth)
    never = np.zeros(len(draws.counts), bool)
    assert resampling.interval(draws.share(~never, among=never)) is None
    of_each = resampling.intervals(draws.f1(*draws.tables))
    assert of_each[0] == [1.0, 1.0]
    assert of_each[4] is None, "an intent that nobody asked for or answered"


def test_the_change_of_a_calibration_error(random: np.random.Generator) -> None:
    n = 600
    row, correct = np.arange(n), random.random(n) < 0.8
    true, bold = np.full(n, 0.8), np.full(n, 0.99)
    honest = resampling.stated(row, true, correct, n=n)
    boasting = resampling.stated(row, bold, correct, n=n)
    low, high = resampling.ece_difference(honest, boasting) or (0.0, 0.0)
    change = (
        metrics.calibration(bold, correct)["ece"]
        - metrics.calibration(true, correct)["ece"]
    )
    assert 0 < low < change < high
    assert resampling.ece_difference(honest, honest) == [0.0, 0.0]
    assert resampling.ece_difference(honest[:0], honest[:0]) is None


def test_a_hundred_and_fifty_intents_take_a_second(random: np.random.Generator) -> None:
    values = random.integers(0, 151, 5500)
    truth, chosen = one_hot(values, 151), answers(random, values, 0.9, 151)
    started = time.process_time()
    draws = resampling.Draws(truth, chosen)
    draws.macro_f1(*draws.tables)
    resampling.intervals(draws.f1(*draws.tables))
    assert draws.rounds == resampling.ROUNDS
    assert time.process_time() - started < 5
