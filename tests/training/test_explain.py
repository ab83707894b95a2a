"""Every field of a recipe is explained, and its form allows what the recipe does."""

from dataclasses import fields
from typing import Any

import pytest
from django import forms
from django.utils import translation

from training import explain
from training.planning import recipe_form
from training.recipe import CHOICES, LORA_PARTS, PRESETS, Recipe

NAMES = [field.name for field in fields(Recipe)]


def test_no_field_is_left_out_and_none_is_made_up() -> None:
    assert sorted(explain.KNOBS) == sorted(NAMES)
    in_groups = [name for group in explain.GROUPS.values() for name in group.knobs]
    assert len(in_groups) == len(set(in_groups))


@pytest.mark.parametrize("name", NAMES)
def test_a_field_has_a_title_and_one_or_two_sentences(name: str) -> None:
    knob = explain.KNOBS[name]
    with translation.override("en"):
        assert str(knob.title)[0].isupper() or str(knob.title)[0].isdigit()
        text = str(knob.text)
    assert text.endswith(".")
    assert 30 <= len(text) <= 230, len(text)


def test_choices_are_those_of_the_recipe() -> None:
    for name, choices in CHOICES.items():
        assert tuple(explain.KNOBS[name].choices) == choices, name
        assert explain.kind(name) == "choice"
    assert tuple(explain.KNOBS["lora_targets"].choices) == LORA_PARTS


@pytest.mark.parametrize(
    "name", [n for n in NAMES if explain.KNOBS[n].least is not None]
)
def test_bounds_are_those_of_the_recipe(name: str) -> None:
    knob = explain.KNOBS[name]
    assert knob.least is not None
    kind = int if explain.kind(name) == "whole" else float

    def made(value: float) -> Recipe:
        values: dict[str, Any] = {"batch_size": 64, name: kind(value)}
        return Recipe(**values)

    made(knob.least)
    with pytest.raises(ValueError, match=name):
        made(knob.least - 1)
    if knob.most is not None:
        made(knob.most)
        with pytest.raises(ValueError, match=name):
            made(knob.most + 0.01)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("encoder_lr", 5e-6, "0.000005"),
        ("head_lr", 0.002, "0.002"),
        ("weight_decay", 0.0, "0"),
        ("epochs", 4, "4"),
        ("frozen_layers", 2 / 3, "2/3 of the layers"),
        ("frozen_layers", 0.35, "0.35 of the layers"),
        ("frozen_layers", 8, "8 layers"),
        ("frozen_layers", 1, "1 layer"),
        ("frozen_layers", 1.0, "all"),
        ("frozen_layers", None, "none"),
        ("freeze_embeddings", True, "yes"),
        ("class_balance", "weights", "count more in the loss"),
        ("lora_targets", "query,key", "query, key"),
        ("from_an_earlier_release", {"a": 1}, "{'a': 1}"),
    ],
)
def test_values_are_written_as_one_says_them(name: str, value: Any, says: str) -> None:
    assert explain.value(name, value) == says


@pytest.mark.parametrize("preset", PRESETS)
def test_a_form_that_nobody_touched_changes_nothing(preset: str) -> None:
    from tests.training.forms import filled

    form = recipe_form.RecipeForm(
        filled(preset), name=preset, preset=PRESETS[preset], shown=None
    )
    assert form.errors == {}
    assert form.changes() == {}
    assert (
        Recipe.from_dict({name: form.cleaned_data[name] for name in explain.KNOBS})
        == (PRESETS[preset])
    )


@pytest.mark.parametrize(
    ("typed", "means"),
    [("", None), ("8", 8), ("2/3", 2 / 3), ("0.5", 0.5), (".5", 0.5), ("1.0", 1.0)],
)
def test_layers_are_a_number_or_a_part(typed: str, means: Any) -> None:
    found = recipe_form.fields()["frozen_layers"].clean(typed)
    assert found == means
    assert type(found) is type(means)


@pytest.mark.parametrize("typed", ["-1", "3/2", "1.5", "8/0", "1e9999999", "eight"])
def test_layers_that_make_no_sense_are_refused(typed: str) -> None:
    with pytest.raises(forms.ValidationError, match="such as 2/3"):
        recipe_form.fields()["frozen_layers"].clean(typed)


@pytest.mark.parametrize(
    ("values", "at", "says"),
    [
        ({"epochs": "0"}, "epochs", "greater than or equal to 1"),
        ({"dropout": "1"}, "dropout", "less than or equal to"),
        ({"head_lr": "nan"}, "head_lr", "Enter a number"),
        ({"class_balance": "best"}, "class_balance", "Select a valid choice"),
        ({"min_steps": "10", "max_steps": "5"}, "max_steps", "Less than the steps"),
        ({"gradient_accumulation": "64"}, "gradient_accumulation", "would be empty"),
        ({"quantised": "on"}, "quantised", "set their rank"),
        ({"lora_targets": None}, "lora_targets", "at least one"),
        (
            {"contrastive_weight": "1", "class_balance": "sampling"},
            "contrastive_weight",
            "batches of its own",
        ),
    ],
)
def test_what_is_wrong_is_said_at_the_field(
    values: dict[str, Any], at: str, says: str
) -> None:
    from tests.training.forms import filled

    form = recipe_form.RecipeForm(
        filled("first", **values), name="first", preset=PRESETS["first"], shown=None
    )
    assert list(form.errors) == [at]
    assert says in str(form.errors[at])
