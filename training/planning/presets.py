"""What a manager may train by: the built-in presets and the team's own, in words."""

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from registry.models import Version
from training import batches, explain
from training.models import Preset
from training.recipe import PRESETS, Recipe


@dataclass(frozen=True)
class Offer:
    """A preset as the pages offer it."""

    name: str
    title: str
    text: str
    recipe: Recipe
    goes_on: bool
    """Whether it goes on from a version with the new labels and some old ones."""
    own: Preset | None = None
    """The team's row; None for a built-in one."""


def offers(active: Version | None = None) -> list[Offer]:
    """All presets, the built-in ones first. One query.

    A team's preset that no longer makes a recipe (an earlier release knew a field that
    this one does not) is left out; its admin page says what is wrong.

    Args:
        active: The version that a training would go on from, for the words.
    """
    built_in = [
        Offer(name, *_words(name, recipe, active), recipe, name == batches.INCREMENTAL)
        for name, recipe in PRESETS.items()
    ]
    own = (_own(preset) for preset in Preset.objects.all())
    return [*built_in, *(offer for offer in own if offer is not None)]


def _own(preset: Preset) -> Offer | None:
    try:
        recipe = Recipe.from_dict(preset.recipe)
    except (TypeError, ValueError):
        return None
    text = preset.description.strip()
    return Offer(
        name=preset.name,
        title=preset.name,
        text=text or _built_on(preset, recipe),
        recipe=recipe,
        goes_on=preset.built_on == batches.INCREMENTAL,
        own=preset,
    )


def _built_on(preset: Preset, recipe: Recipe) -> str:
    built_on = PRESETS.get(preset.built_on, Recipe()).to_dict()
    count = sum(built_on[name] != value for name, value in recipe.to_dict().items())
    return ngettext(
        "As “%(built_on)s”, with %(count)d value changed.",
        "As “%(built_on)s”, with %(count)d values changed.",
        count,
    ) % {"built_on": preset.built_on, "count": count}


def _words(name: str, recipe: Recipe, active: Version | None) -> tuple[str, str]:
    values: dict[str, Any] = {
        "number": active.number if active else 0,
        "replay": explain.number(recipe.replay),
        "epochs": recipe.epochs,
        "rank": recipe.lora_rank,
    }
    if name == "first":
        return (
            _("In full, from the base model"),
            _(
                "Learns all labels, %(epochs)d times over. The best quality, and the"
                " longest training; right for a first version and after large changes"
                " of the intents."
            )
            % values,
        )
    if name == batches.INCREMENTAL:
        return (
            _("Go on from version %(number)d") % values
            if active
            else _("Go on from the active version"),
            _(
                "Learns the new labels and repeats old ones, %(replay)s for each new"
                " one. Quick; most of the model stays as it is, so that little is"
                " forgotten."
            )
            % values,
        )
    if name == "few-shot":
        return (
            _("Few labels an intent"),
            _(
                "Learns all labels from the base model, and draws the questions of an"
                " intent together meanwhile: the most that five to twenty labels an"
                " intent can give."
            ),
        )
    if name == "lora":
        return (
            _("Low-rank adapters"),
            _(
                "Learns all labels through small adapters of rank %(rank)d beside the"
                " base model's weights. Needs the least memory."
            )
            % values,
        )
    return name, ""
