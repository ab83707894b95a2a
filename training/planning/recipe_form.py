"""A recipe as a form: one field a knob, bounds and words from `explain`."""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from django import forms
from django.core.exceptions import ValidationError
from django.utils.translation import gettext_lazy as _
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanWidget,
)

from training import explain
from training.recipe import LORA_PARTS, Recipe

_TOGETHER: dict[str, Any] = {
    "max_steps": _("Less than the steps at least."),
    "gradient_accumulation": _(
        "More than the questions of a step: a part would be empty."
    ),
    "quantised": _("4-bit weights need adapters: set their rank above 0."),
    "lora_targets": _("Choose at least one."),
    "contrastive_weight": _(
        "It makes batches of its own: let intents with few questions count as they"
        " come, or more in the loss."
    ),
}
"""What is wrong with values that are fine one by one, by the field that says it."""


class _NumberField(forms.FloatField):
    def prepare_value(self, value: Any) -> Any:
        return explain.number(value) if isinstance(value, float) else value


class _LayersField(forms.Field):
    """A number of layers, a share of them (2/3, 0.5), or nothing."""

    default_error_messages = {
        "invalid": _("Write a number of layers, or a part of them such as 2/3.")
    }

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, float) and value < 1.0:
            return explain.fraction(value) if value else ""
        return value  # 1.0 are all layers, 1 is one of them

    def to_python(self, value: Any) -> int | float | None:
        text = str(value or "").strip()
        if not text:
            return None
        if re.fullmatch(r"[0-9]{1,4}", text):
            return int(text)
        if re.fullmatch(r"[0-9]{1,3}/[1-9][0-9]{0,2}|[0-9]?\.[0-9]{1,20}", text):
            share = float(Fraction(text))
            if share <= 1.0:
                return share
        raise ValidationError(self.error_messages["invalid"], code="invalid")


class _SeveralField(forms.MultipleChoiceField):
    """Words separated by commas, as checkboxes."""

    def prepare_value(self, value: Any) -> Any:
        if isinstance(value, str):
            return [part.strip() for part in value.split(",")]
        return value

    def clean(self, value: Any) -> str:
        chosen = super().clean(value)
        return ",".join(part for part in LORA_PARTS if part in chosen)


def fields() -> dict[str, forms.Field]:
    """A form field for each field of a recipe, in the order of `explain.GROUPS`."""
    return {name: _field(name, knob) for name, knob in explain.KNOBS.items()}


def _field(name: str, knob: explain.Knob) -> forms.Field:
    words: dict[str, Any] = {"label": knob.title, "help_text": knob.text}
    bounds: dict[str, Any] = {"min_value": knob.least, "max_value": knob.most}
    match explain.kind(name):
        case "switch":
            return forms.BooleanField(
                required=False, widget=UnfoldBooleanWidget, **words
            )
        case "choice":
            return forms.ChoiceField(
                choices=list(knob.choices.items()),
                widget=UnfoldAdminSelectWidget,
                **words,
            )
        case "several":
            return _SeveralField(
                choices=list(knob.choices.items()),
                widget=UnfoldAdminCheckboxSelectMultipleWidget,
                error_messages={"required": _TOGETHER[name]},
                **words,
            )
        case "whole":
            return forms.IntegerField(
                widget=UnfoldAdminIntegerFieldWidget, **bounds, **words
            )
        case "number":
            return _NumberField(
                widget=UnfoldAdminDecimalFieldWidget(attrs={"step": "any"}),
                **bounds,
                **words,
            )
        case "layers":
            widget = UnfoldAdminTextInputWidget()
            return _LayersField(required=False, widget=widget, **words)
    return forms.CharField(max_length=200, widget=UnfoldAdminTextInputWidget(), **words)


def check_together(form: forms.BaseForm, recipe: Recipe) -> None:
    """Puts what is wrong between fields at the field that is to be mended.

    Args:
        form: With the fields of a recipe; its `cleaned_data` are those that are fine
            one by one.
        recipe: Whose values stand where a field has none.
    """
    values = {k: v for k, v in form.cleaned_data.items() if k in explain.KNOBS}
    try:
        Recipe.from_dict({**recipe.to_dict(), **values})
    except ValueError as error:
        add_error(form, error)


def add_error(form: forms.BaseForm, error: Exception) -> None:
    """Puts a recipe's complaint at its field: its first word is the field's name."""
    name = str(error).partition(" ")[0]
    at = name if name in form.fields else None
    form.add_error(at, str(_TOGETHER.get(name, str(error))))


@dataclass(frozen=True)
class Row:
    """One field as the page shows it."""

    name: str
    field: forms.BoundField
    knob: explain.Knob
    kind: str
    allowed: str
    preset: str
    """The preset's value in words."""
    preset_input: str
    """The preset's value as the input holds it, for the page's script."""
    is_changed: bool


class RecipeForm(forms.Form):
    """All fields of a recipe, beside the values of the preset that it starts from."""

    recipe_of = forms.CharField(max_length=40, widget=forms.HiddenInput)

    def __init__(
        self, data: Any = None, *, name: str, preset: Recipe, shown: Recipe | None
    ) -> None:
        """An unbound form shows `shown`, or else the preset's own values."""
        self.preset = preset
        values = (shown or preset).to_dict()
        super().__init__(
            data,
            initial={"recipe_of": name, **values},
            use_required_attribute=False,
        )
        self.fields.update(fields())

    def clean(self) -> dict[str, Any]:
        values = super().clean() or {}
        check_together(self, self.preset)
        return values

    def changes(self) -> dict[str, Any]:
        """The values that differ from the preset's; of a bound form the valid ones."""
        self.is_valid()  # cleans, once
        values = self.cleaned_data if self.is_bound else self.initial
        preset = self.preset.to_dict()
        return {
            name: values[name]
            for name in explain.KNOBS
            if name in values and not same(values[name], preset[name])
        }

    def groups(self) -> list[tuple[explain.Group, list[Row]]]:
        """Everything the page shows, in its order."""
        return [
            (group, [self._row(name, knob) for name, knob in group.knobs.items()])
            for group in explain.GROUPS.values()
        ]

    def _row(self, name: str, knob: explain.Knob) -> Row:
        preset = self.preset.to_dict()[name]
        bound = self[name]
        in_input = self.fields[name].prepare_value(preset)
        return Row(
            name=name,
            field=bound,
            knob=knob,
            kind=explain.kind(name),
            allowed=explain.allowed(name),
            preset=explain.value(name, preset),
            preset_input=_as_text(in_input),
            is_changed=bool(bound.errors) or name in self.changes(),
        )


def same(one: Any, other: Any) -> bool:
    """Whether two values of a field mean the same: 0 frozen layers are none."""
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= 1e-9 * max(abs(one), abs(other))
    return (one or None) == (other or None)


def as_override(value: Any) -> str:
    """A value as `Recipe.with_overrides` takes it."""
    return "none" if value is None else str(value)


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    if isinstance(value, bool):
        return "true" if value else ""
    return "" if value is None else str(value)
