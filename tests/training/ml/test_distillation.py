"""What a version answers right is held on to."""

import math

import numpy as np
import torch

from training.ml.distillation import Teacher

BEFORE = torch.tensor([[2.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 0.0, 3.0]])
"""Answers to three rows: the first right, the second wrong, the third of a new intent
that the head happens to answer right."""

TARGETS = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], bool)
KNOWN = [True, True, False]


def teacher(*, multi: bool = False) -> Teacher:
    return Teacher(BEFORE, TARGETS, KNOWN, multi=multi)


def test_nothing_moved_costs_nothing() -> None:
    assert teacher().loss([0, 1, 2], BEFORE).item() == 0.0


def test_a_right_answer_that_moves_costs() -> None:
    now = torch.tensor([[0.0, 2.0, 0.0]])
    # KL of softmax([1, 0]) from softmax([0, 1]), times the temperature's square.
    p = math.e / (1 + math.e)
    expected = 4 * (p * math.log(p / (1 - p)) + (1 - p) * math.log((1 - p) / p))
    assert math.isclose(teacher().loss([0], now).item(), expected, rel_tol=1e-5)


def test_it_pulls_back_towards_what_was_said() -> None:
    now = torch.tensor([[0.5, 0.5, 0.0]], requires_grad=True)
    teacher().loss([0], now).backward()  # type: ignore[no-untyped-call]
    assert now.grad is not None
    assert now.grad[0, 0] < 0 < now.grad[0, 1]


def test_intents_that_it_did_not_know_are_free() -> None:
    now = torch.tensor([[2.0, 0.0, 9.0]])
    assert teacher().loss([0], now).item() == 0.0


def test_wrong_answers_and_new_intents_are_not_held() -> None:
    now = torch.tensor([[0.0, 5.0, 0.0], [3.0, 0.0, 0.0]], requires_grad=True)
    loss = teacher().loss([1, 2], now)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0.0
    assert now.grad is not None
    assert not now.grad.any()


def test_the_mean_is_over_all_rows_of_a_part() -> None:
    now = torch.tensor([[0.0, 2.0, 0.0], [9.0, 0.0, 0.0]])
    alone = teacher().loss([0], now[:1]).item()
    assert math.isclose(teacher().loss([0, 1], now).item(), alone / 2, rel_tol=1e-5)


def test_several_intents_a_question() -> None:
    before = torch.tensor([[4.0, -4.0, -4.0], [4.0, 4.0, -4.0]])
    targets = np.array([[1, 0, 0], [0, 1, 0]], bool)
    held = Teacher(before, targets, KNOWN, multi=True)
    assert held.is_right.tolist() == [True, False]
    assert abs(held.loss([0, 1], before).item()) < 1e-6
    assert held.loss([0], torch.tensor([[-4.0, -4.0, -4.0]])).item() > 1.0
    assert held.loss([1], torch.tensor([[-4.0, -4.0, -4.0]])).item() == 0.0
