"""How much each intent counts, and how rows are drawn for it."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from torch.nn import functional

from training.ml import objective
from training.ml.data import drawn_equally


def one_hot(intents: list[int], classes: int) -> np.ndarray:
    return np.eye(classes, dtype=bool)[intents]


def test_rows_of_every_intent_count_the_same_together() -> None:
    targets = one_hot([0] * 8 + [1] * 2 + [2] * 5, 4)
    weights = objective.weights(targets)
    totals = weights.numpy() * targets.sum(axis=0)
    np.testing.assert_allclose(totals[:3], 5.0, rtol=1e-6)
    assert weights[3] == 1.0  # no rows
    assert (targets @ weights.numpy()).mean() == pytest.approx(1.0)


def test_no_row_counts_for_a_whole_batch() -> None:
    weights = objective.weights(one_hot([0] * 1000 + [1], 2))
    assert weights.max() == 10.0


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_loss_of_single_intents_is_cross_entropy(smoothing: float) -> None:
    logits = torch.randn(6, 3)
    wanted = torch.from_numpy(one_hot([0, 1, 2, 2, 1, 0], 3))
    got = objective.loss(logits, wanted, None, multi=False, label_smoothing=smoothing)
    intents = torch.tensor([0, 1, 2, 2, 1, 0])
    expected = functional.cross_entropy(logits, intents, label_smoothing=smoothing)
    torch.testing.assert_close(got, expected)


def test_weighted_rows_count_for_more() -> None:
    logits = torch.zeros(2, 2)
    wanted = torch.from_numpy(one_hot([0, 1], 2))
    loss = objective.loss(logits, wanted, torch.tensor([3.0, 1.0]), multi=False)
    assert loss.item() == pytest.approx(2 * np.log(2), rel=1e-6)


def test_weighted_intents_count_for_more_where_a_row_has_them() -> None:
    logits, wanted = torch.zeros(1, 2), torch.tensor([[True, False]])
    plain = objective.loss(logits, wanted, None, multi=True)
    weighted = objective.loss(logits, wanted, torch.tensor([3.0, 9.0]), multi=True)
    assert weighted.item() == pytest.approx(2 * plain.item(), rel=1e-6)


def test_each_intent_is_drawn_equally_often() -> None:
    intents = [0] * 90 + [1] * 6 + [2] * 24
    drawn = drawn_equally(one_hot(intents, 3), np.random.default_rng(0))
    assert len(drawn) == 120
    assert Counter(intents[row] for row in drawn) == {0: 40, 1: 40, 2: 40}
    times = Counter(drawn)
    # No row again before all of its intent were drawn.
    assert {times[row] for row in range(90)} == {0, 1}
    assert {times[row] for row in range(90, 96)} == {6, 7}
    assert {times[row] for row in range(96, 120)} == {1, 2}


def test_what_is_drawn_differs_from_pass_to_pass() -> None:
    targets = one_hot([0] * 50 + [1] * 50, 2)
    first, second = (drawn_equally(targets, np.random.default_rng(n)) for n in (1, 2))
    assert first != second


def test_rows_of_several_intents_are_drawn_for_the_rarest() -> None:
    rows = [[True, False]] * 8 + [[True, True]] * 2 + [[False, False]] * 2
    drawn = drawn_equally(np.array(rows), np.random.default_rng(0))
    kinds = Counter("common" if r < 8 else "rare" if r < 10 else "none" for r in drawn)
    assert kinds == {"common": 4, "rare": 4, "none": 4}
