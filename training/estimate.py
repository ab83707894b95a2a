"""How long a training will take, from what earlier ones took on this installation."""

from dataclasses import dataclass

from django.db.models import Count, Q

from labeling.models import Project, Question
from training import batches
from training.models import TrainingBatch
from training.recipe import Recipe

ROWS_PER_S = 45.0
"""Questions a second of a full training on two CPU cores, until one was measured."""

FROZEN_ROWS_PER_S = 120.0
"""The same with two thirds of the layers frozen."""

OVERHEAD_S = 25.0
"""Seconds for loading, exporting and measuring, until a batch was measured."""


@dataclass(frozen=True)
class Counts:
    """Labels of a project, as a training would see them."""

    labelled: int
    train: int
    validation: int
    test: int
    new: int
    """Train questions that no version has learned."""


def counts(project: Project) -> Counts:
    """One query."""
    labelled = Question.objects.of(project).labelled()
    found = labelled.aggregate(
        labelled=Count("id"),
        train=Count("id", filter=Q(split="train")),
        validation=Count("id", filter=Q(split="validation")),
        test=Count("id", filter=Q(split="test")),
        new=Count("id", filter=Q(split="train", trained_in="")),
    )
    return Counts(**found)


def seconds(known: Counts, *, preset: str, recipe: Recipe, base: str) -> float:
    """Seconds from start to verdict, within a factor of about two. One query.

    Args:
        known: From `counts`.
        preset: Batches of the same preset and base are what it goes by.
        recipe: The recipe, overrides included.
        base: Base model.
    """
    rows = known.train
    if preset == batches.INCREMENTAL and known.new:
        again = min(known.train - known.new, round(known.new * recipe.replay))
        rows = known.new + again
    is_partly_frozen = bool(recipe.frozen_layers)
    rows_per_s = FROZEN_ROWS_PER_S if is_partly_frozen else ROWS_PER_S
    overhead_s = OVERHEAD_S
    last = (
        TrainingBatch.objects.filter(
            state=TrainingBatch.State.SUCCEEDED, preset=preset, base=base
        )
        .order_by("-id")
        .values_list("metrics", "recipe")
        .first()
    )
    if last is not None:
        metrics, its_recipe = last
        fit = metrics["fit"]
        if fit["seconds"] > 0 and fit["steps"]:
            rows_per_s = fit["steps"] * its_recipe["batch_size"] / fit["seconds"]
        overhead_s = sum(metrics["seconds"].values()) - metrics["seconds"]["fit"]
    return overhead_s + recipe.total_steps(rows) * recipe.batch_size / rows_per_s
