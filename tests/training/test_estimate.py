"""How long a training is said to take, and which one is recommended."""

from dataclasses import replace
from typing import Any

import pytest
from django.utils import timezone

from tests.training.makers import make_batch, make_trainable
from training.models import TrainingBatch
from training.planning import estimate
from training.recipe import PRESETS, Recipe

pytestmark = pytest.mark.django_db

KNOWN = estimate.Counts(
    labelled=1000, train=800, validation=100, test=100, new=800, intents=10
)
FIRST: dict[str, Any] = {"preset": "first", "recipe": PRESETS["first"], "base": "a:b"}


def make_done(base: str, **overrides: Any) -> TrainingBatch:
    """A succeeded batch: 10 s for 100 steps, 4 s beside it, on 84 train questions."""
    batch = make_batch(make_trainable(), base, **overrides)
    TrainingBatch.objects.filter(pk=batch.pk).update(
        state="succeeded",
        finished_at=timezone.now(),
        metrics={
            "fit": {"steps": 100, "seconds": 10.0},
            "seconds": {"prepare": 1.0, "fit": 10.0, "export": 2.0, "evaluate": 1.0},
        },
    )
    batch.refresh_from_db()
    return batch


def test_counts_are_the_labels_that_a_training_would_see() -> None:
    project = make_trainable(questions=120)
    learned = project.questions.filter(split="train").values_list("pk", flat=True)[:30]
    project.questions.filter(pk__in=list(learned)).update(trained_in="1")
    assert estimate.counts(project) == estimate.Counts(
        labelled=120,
        train=84,
        validation=12,
        test=24,
        new=54,
        intents=project.intents.count(),
    )


def test_an_empty_project_takes_what_comes_beside_the_training() -> None:
    nothing = estimate.Counts(0, 0, 0, 0, 0, 0)
    assert estimate.seconds(nothing, **FIRST) > estimate.OVERHEAD_S


def test_more_rows_take_longer_and_new_ones_alone_less() -> None:
    few = replace(KNOWN, labelled=200, train=100, test=10, new=100)
    many = replace(KNOWN, labelled=9999, train=9000, test=9, new=200)
    assert estimate.seconds(few, **FIRST) < 200
    assert estimate.seconds(many, **FIRST) > 600
    going_on: dict[str, Any] = {
        **FIRST,
        "preset": "incremental",
        "recipe": PRESETS["incremental"],
        "goes_on": True,
    }
    assert estimate.seconds(many, **going_on) < 0.5 * estimate.seconds(many, **FIRST)
    assert estimate.seconds(many, **FIRST, synthetic=900) > 1.05 * estimate.seconds(
        many, **FIRST
    )


def test_frozen_layers_and_fewer_steps_take_less() -> None:
    plain = estimate.seconds(KNOWN, **FIRST)
    frozen = replace(PRESETS["first"], frozen_layers=8)
    short = replace(PRESETS["first"], min_steps=0, max_steps=10)
    for recipe in (frozen, short):
        assert estimate.seconds(KNOWN, **{**FIRST, "recipe": recipe}) < 0.7 * plain


def test_more_test_questions_take_longer_to_measure() -> None:
    many = replace(KNOWN, test=5000)
    assert estimate.seconds(many, **FIRST) > 30 + estimate.seconds(KNOWN, **FIRST)


def test_an_earlier_batch_of_the_same_kind_is_what_it_goes_by(base: str) -> None:
    batch = make_done(base, frozen_layers=0)
    recipe = Recipe(epochs=2, batch_size=8)
    growth = 800 / batch.dataset.train_count
    expected_s = 3.0 + growth * 1.0 + 2 * 800 / (100 * 8 / 10.0)
    asked: dict[str, Any] = {"preset": "first", "recipe": recipe, "base": base}
    assert estimate.seconds(KNOWN, **asked) == pytest.approx(expected_s)
    # On another base model nothing is known.
    elsewhere = estimate.seconds(KNOWN, **{**asked, "base": "package:other"})
    assert elsewhere != pytest.approx(expected_s)


def test_a_batch_of_another_preset_is_better_than_a_guess(base: str) -> None:
    make_done(base, frozen_layers=0)
    asked: dict[str, Any] = {"recipe": Recipe(epochs=2, batch_size=8), "base": base}
    known_s = estimate.seconds(KNOWN, preset="first", **asked)
    assert estimate.seconds(KNOWN, preset="lora", **asked) == known_s
    # Frozen layers cost a fraction of what was measured without.
    frozen = replace(asked["recipe"], frozen_layers=8)
    beside_s = known_s - 2 * 800 / 80.0
    frozen_s = estimate.seconds(KNOWN, preset="lora", recipe=frozen, base=base)
    assert frozen_s - beside_s == pytest.approx(20.0 * estimate.cost(frozen))
    # One of the same preset counts for more, however old it is.
    slow = make_done(base, preset="lora", frozen_layers=0)
    make_done(base, frozen_layers=0)
    TrainingBatch.objects.filter(pk=slow.pk).update(
        metrics={**slow.metrics, "fit": {"steps": 100, "seconds": 100.0}}
    )
    assert estimate.seconds(KNOWN, preset="lora", **asked) > 5 * known_s


def test_a_batch_of_another_release_does_no_harm(base: str) -> None:
    batch = make_done(base)
    recipe = {**batch.recipe, "since_forgotten": 1}
    TrainingBatch.objects.filter(pk=batch.pk).update(recipe=recipe)
    assert estimate.seconds(KNOWN, **{**FIRST, "base": base}) > 0


@pytest.mark.parametrize(
    ("known", "has_active", "full_s", "presets", "name"),
    [
        (KNOWN, False, 60, ["first"], "first"),
        (KNOWN, False, 9999, ["first", "few-shot"], "first"),
        (replace(KNOWN, train=100), False, 60, ["first", "few-shot"], "few-shot"),
        (replace(KNOWN, train=100), False, 60, ["first"], "first"),
        (replace(KNOWN, new=50), True, 899, ["first"], "first"),
        (replace(KNOWN, new=50), True, 901, ["first"], "incremental"),
        (replace(KNOWN, new=0), True, 901, ["first"], "first"),
    ],
)
def test_the_full_retrain_is_recommended_while_it_fits(
    known: estimate.Counts,
    has_active: bool,
    full_s: float,
    presets: list[str],
    name: str,
) -> None:
    found = estimate.recommended(
        known, has_active=has_active, full_s=full_s, presets=presets
    )
    assert found == name
