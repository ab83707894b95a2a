"""How long a training will take, from what earlier ones took on this installation."""

from dataclasses import dataclass, fields

from django.db.models import Case, Count, IntegerField, Q, Value, When

from labeling.models import GoldLabel, Project, Question
from training.models import TrainingBatch
from training.recipe import Recipe

ROWS_PER_S = 45.0
"""Questions a second of a full training on two CPU cores, until one was measured."""

FROZEN_COST = 0.06
"""Time of a frozen layer, of what it takes otherwise: its outputs are computed once."""

LAYERS = 12
"""Depth of a base model, where a recipe counts frozen layers."""

OVERHEAD_S = 20.0
"""Seconds for loading the base model and writing the version, until measured."""

MEASURED_PER_S = 80.0
"""Test questions a second: by the new version, the active one and the exact model."""

FLOOR_ROWS_PER_S = 300.0
"""Train questions a second that the floor of word counts learns."""

FULL_RETRAIN_FITS_S = 15 * 60.0
"""A full retraining is recommended up to here: it learns old and new labels together,
so that nothing is forgotten, and nobody waits long for a quarter of an hour. Going on
from a version is measured up to two points below it, and saves time only."""

FEW_LABELS = 20
"""Labels an intent up to which `few-shot` is recommended for a first version."""


@dataclass(frozen=True)
class Counts:
    """Labels of a project, as a training would see them."""

    labelled: int
    train: int
    validation: int
    test: int
    new: int
    """Train questions that no version has learned."""
    intents: int
    """Intents with a train question."""


def counts(project: Project) -> Counts:
    """Two queries."""
    labelled = Question.objects.of(project).labelled()
    found = labelled.aggregate(
        labelled=Count("id"),
        train=Count("id", filter=Q(split="train")),
        validation=Count("id", filter=Q(split="validation")),
        test=Count("id", filter=Q(split="test")),
        new=Count("id", filter=Q(split="train", trained_in="")),
    )
    intents = GoldLabel.objects.filter(
        question__in=labelled.filter(split="train")
    ).aggregate(n=Count("intent", distinct=True))
    return Counts(**found, intents=intents["n"])


def rows(known: Counts, recipe: Recipe, *, goes_on: bool) -> int:
    """Questions that a pass goes over: all, or the new ones and some old ones."""
    if not goes_on or not known.new:
        return known.train
    old = known.train - known.new
    again = max(round(known.new * recipe.replay), known.intents if recipe.replay else 0)
    return known.new + min(old, again)


def seconds(
    known: Counts,
    *,
    preset: str,
    recipe: Recipe,
    base: str,
    goes_on: bool = False,
    synthetic: int = 0,
) -> float:
    """Seconds from start to verdict, within a factor of about two. One query.

    The latest batch on the same base model says how many questions a second are learned
    here and what comes beside it, one of the same preset before any other; the rest is
    scaled: by steps, by frozen layers, and by what is to be measured.

    Args:
        known: From `counts`.
        preset: Name of the preset.
        recipe: The recipe, overrides included.
        base: Base model.
        goes_on: Whether it learns the new labels and some old ones.
        synthetic: Synthetic questions beside them.
    """
    learned = recipe.total_steps(rows(known, recipe, goes_on=goes_on) + synthetic)
    learned *= recipe.batch_size
    last = _last(preset, base)
    if last is None:
        beside_s = (
            OVERHEAD_S
            + known.test / MEASURED_PER_S
            + (known.train + synthetic) / FLOOR_ROWS_PER_S
        )
        return beside_s + learned * cost(recipe) / ROWS_PER_S

    metrics, its_values, its_train = last
    names = {field.name for field in fields(Recipe)}  # another release may know more
    its_recipe = Recipe(**{k: v for k, v in its_values.items() if k in names})
    took: dict[str, float] = metrics["seconds"]
    fit = metrics["fit"]
    rows_per_s = ROWS_PER_S / cost(its_recipe)
    if fit["seconds"] > 0 and fit["steps"]:
        rows_per_s = fit["steps"] * its_recipe.batch_size / fit["seconds"]
    # What is measured and what the floor learns grows with the labels.
    growth = (known.train + synthetic) / its_train if its_train else 1.0
    evaluate_s = took.get("evaluate", 0.0)
    beside_s = sum(took.values()) - took["fit"] + (growth - 1.0) * evaluate_s
    return beside_s + learned / rows_per_s * cost(recipe) / cost(its_recipe)


def cost(recipe: Recipe) -> float:
    """Time of learning a question, against training all layers of the encoder."""
    frozen = recipe.frozen_count(LAYERS) / LAYERS
    return 1.0 - frozen * (1.0 - FROZEN_COST)


def recommended(
    known: Counts, *, has_active: bool, full_s: float, presets: list[str]
) -> str:
    """The preset that fits a project as it stands.

    Args:
        known: From `counts`.
        has_active: Whether there is a version to go on from.
        full_s: Seconds that a full retraining would take.
        presets: The names to choose from.
    """
    if has_active and known.new and full_s > FULL_RETRAIN_FITS_S:
        return "incremental"
    if "few-shot" in presets and 0 < known.train <= FEW_LABELS * known.intents:
        return "few-shot"
    return "first"


def _last(preset: str, base: str) -> tuple[dict, dict, int] | None:  # type: ignore[type-arg]
    """Metrics, recipe and train rows of the batch that is most like it."""
    return (
        TrainingBatch.objects.filter(state=TrainingBatch.State.SUCCEEDED, base=base)
        .exclude(metrics={})
        .annotate(
            likeness=Case(
                When(preset=preset, then=Value(1)),
                default=Value(0),
                output_field=IntegerField(),
            )
        )
        .order_by("-likeness", "-id")
        .values_list("metrics", "recipe", "dataset__train_count")
        .first()
    )
