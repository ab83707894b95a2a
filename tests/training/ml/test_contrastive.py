"""The contrastive loss and its batches: values, directions, which rows meet."""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from tests.training.ml.makers import make_examples, make_recipe
from training.ml import contrastive
from training.ml.interface import Example, FitResult, Progress
from training.ml.loop import fit
from training.recipe import PRESETS

TOPICS = ("attendance", "stock", "payment", "shipping")


def sets(*rows: str, of: str = "abc") -> torch.Tensor:
    return torch.tensor([[letter in row for letter in of] for row in rows])


def test_the_loss_is_the_one_computed_by_hand() -> None:
    # Two rows of one intent in one direction, one of another at a right angle: the
    # cosines are 1 and 0, and the lone row draws nobody.
    features = torch.tensor([[2.0, 0.0], [5.0, 0.0], [0.0, 3.0]])
    value = contrastive.loss(features, sets("a", "a", "b"), 1.0)
    assert value.item() == pytest.approx(math.log(1 + math.exp(-1)), rel=1e-5)
    colder = contrastive.loss(features, sets("a", "a", "b"), 0.5)
    assert colder.item() == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)


def test_rows_with_several_intents_draw_by_what_they_share() -> None:
    # a | ab | abc | d, with cosine 1 between the first two, else 0. The first shares
    # 1/2 of its intents with the second and 1/3 with the third, these two share 2/3.
    features = torch.tensor([[1.0, 0, 0], [1.0, 0, 0], [0, 1.0, 0], [0, 0, 1.0]])
    wanted = sets("a", "ab", "abc", "d", of="abcd")
    value = contrastive.loss(features, wanted, 1.0)
    near, far = -math.log(math.e / (math.e + 2)), -math.log(1 / (math.e + 2))
    first = (1 / 2 * near + 1 / 3 * far) / (1 / 2 + 1 / 3)
    second = (1 / 2 * near + 2 / 3 * far) / (1 / 2 + 2 / 3)
    third = math.log(3)  # three others, all at a right angle
    assert value.item() == pytest.approx((first + second + third) / 3, rel=1e-5)


def test_a_step_downhill_draws_alike_and_pushes_others() -> None:
    torch.manual_seed(0)
    features = torch.randn(6, 8, requires_grad=True)
    wanted = sets("a", "a", "b", "b", "c", "c")

    def cosines() -> tuple[float, float]:
        unit = torch.nn.functional.normalize(features.detach(), dim=1)
        near = unit @ unit.T
        same = wanted.float() @ wanted.float().T > 0
        other = ~torch.eye(6, dtype=torch.bool)
        return near[same & other].mean().item(), near[~same].mean().item()

    alike, apart = cosines()
    contrastive.loss(features, wanted, 0.1).backward()
    assert features.grad is not None
    with torch.no_grad():
        features -= 0.5 * features.grad
    assert cosines()[0] > alike
    assert cosines()[1] < apart


@pytest.mark.parametrize("rows", [("a",), ("a", "b", "c"), ("", "", "")])
def test_rows_that_share_nothing_cost_nothing(rows: tuple[str, ...]) -> None:
    features = torch.randn(len(rows), 4, requires_grad=True)
    value = contrastive.loss(features, sets(*rows), 0.1)
    value.backward()
    assert value.item() == 0.0
    assert features.grad is not None
    assert not features.grad.any()


def batches(rows: list[str], size: int, seed: int = 0) -> list[list[int]]:
    wanted = sets(*rows, of="abcdefghijklmnopqrst").numpy()
    lengths = [3 + row % 7 for row in range(len(rows))]
    return contrastive.batches(wanted, lengths, size, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [1, 2, 8, 32])
def test_each_row_comes_once_in_a_pass(size: int) -> None:
    rows = [*"abcdefghijklmnopqrst" * 5, *"abc", "", "ab", "bcd"]
    dealt = batches(rows, size)
    assert sorted(row for batch in dealt for row in batch) == list(range(len(rows)))
    assert all(len(batch) <= max(size, contrastive.ROWS_TOGETHER) for batch in dealt)
    assert batches(rows, size) == dealt
    assert batches(rows, size, seed=1) != dealt


def test_rows_meet_another_of_their_intent() -> None:
    rows = [*"abcdefghijklmnopqrst" * 10]
    for batch in batches(rows, 8):
        here = [rows[row] for row in batch]
        assert all(here.count(intent) >= 2 for intent in here)


def test_a_row_with_several_intents_stands_with_its_rarest() -> None:
    rows = [*"a" * 50, "ab", "b"]
    (together,) = [batch for batch in batches(rows, 2) if 50 in batch]
    assert sorted(together) == [50, 51]


def train(base: Path, out: Path, **overrides: Any) -> FitResult:
    arguments: dict[str, Any] = {
        "train": make_examples(40),
        "validation": make_examples(12, seed=1),
        "labels": TOPICS,
        "multi": False,
        "base": base,
        "parent": None,
        "recipe": make_recipe(epochs=3, contrastive_weight=1.0, dropout=0.1),
        "out": out,
        "checkpoints": None,
        "report": lambda progress: None,
        **overrides,
    }
    return fit(**arguments)


def interrupt(progress: Progress, *, after: int) -> None:
    if progress.step > after:
        raise KeyboardInterrupt


def test_the_loss_takes_part_in_training(base: Path, tmp_path: Path) -> None:
    with_it = train(base, tmp_path / "with", validation=[])
    plain = make_recipe(epochs=3, dropout=0.1)
    without = train(base, tmp_path / "without", validation=[], recipe=plain)
    assert with_it.steps == without.steps
    assert with_it.history[0].loss > without.history[0].loss + 0.5


def test_resumes_to_the_same_result(base: Path, tmp_path: Path) -> None:
    # Without dropout, whose random numbers start anew: the batches must be the same.
    values = {"epochs": 3, "contrastive_weight": 1.0, "checkpoint_every_s": 1e-6}
    recipe = make_recipe(**values)
    whole = train(base, tmp_path / "whole", recipe=recipe)
    die = functools.partial(interrupt, after=7)
    folder = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        train(base, tmp_path / "half", recipe=recipe, checkpoints=folder, report=die)
    resumed = train(base, tmp_path / "half", recipe=recipe, checkpoints=folder)
    assert resumed.resumed_from_step == 7
    assert resumed.steps == whole.steps
    a = load_file(tmp_path / "whole" / "model.safetensors")
    b = load_file(tmp_path / "half" / "model.safetensors")
    for name in a:
        torch.testing.assert_close(a[name], b[name], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("multi", [False, True])
def test_the_preset_trains_on_five_rows_of_two_intents(
    base: Path, tmp_path: Path, multi: bool
) -> None:
    rows = make_examples(5, topics=TOPICS[:2])
    if multi:
        rows[4] = Example(rows[4].text, TOPICS[:2])
    result = train(
        base,
        tmp_path / "out",
        train=rows,
        validation=[],
        labels=TOPICS[:2],
        multi=multi,
        recipe=PRESETS["few-shot"],
    )
    assert result.steps >= 1
    assert math.isfinite(result.history[-1].loss)
