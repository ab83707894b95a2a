"""Values of a recipe's fields as the pages write them."""

import typing
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from training.explain.knobs import BELOW_1, KNOBS
from training.recipe import Recipe

_HINTS = typing.get_type_hints(Recipe)


def kind(name: str) -> str:
    """A field's kind: switch, choice, several, whole, number, layers or text."""
    hint = _HINTS[name]
    if hint is bool:
        return "switch"
    if hint is str:
        if name == "lora_targets":
            return "several"
        return "choice" if KNOBS[name].choices else "text"
    if hint is int:
        return "whole"
    return "number" if hint is float else "layers"


def value(name: str, given: Any) -> str:
    """A field's value as the pages write it."""
    knob = KNOBS.get(name)
    if knob is None:  # of a batch that an earlier release made
        return str(given)
    if isinstance(given, bool):
        return _("yes") if given else _("no")
    if kind(name) == "several":
        return str(given).replace(",", ", ")
    if knob.choices:
        return str(knob.choices.get(str(given), given))
    if kind(name) == "layers":
        return layers(given)
    return number(given) if isinstance(given, int | float) else str(given)


def number(given: float) -> str:
    """A number as one writes it: 0.000005, not 5e-06."""
    if isinstance(given, int) or not 1e-9 <= abs(given) < 1e15:
        return f"{given:g}" if isinstance(given, float) else str(given)
    return f"{given:.12f}".rstrip("0").rstrip(".")


def layers(given: float | None) -> str:
    """Frozen layers in words: "2/3 of the layers", "8 layers", "none"."""
    if not given:
        return _("none")
    if given == 1.0 and isinstance(given, float):
        return _("all")
    if isinstance(given, float) and given < 1.0:
        return _("%(part)s of the layers") % {"part": fraction(given)}
    count = int(given)
    return ngettext("%d layer", "%d layers", count) % count


def fraction(share: float) -> str:
    """A share as a fraction of small numbers, where it is one."""
    for bottom in range(1, 13):
        top = round(share * bottom)
        if abs(share - top / bottom) < 1e-9:
            return str(top) if bottom == 1 else f"{top}/{bottom}"
    return number(share)


def allowed(name: str) -> str:
    """What a field may be, in words; empty where its choices say it."""
    knob = KNOBS[name]
    if knob.least is None:
        return ""
    if knob.most == BELOW_1:
        return _("between 0 and 1")
    if kind(name) == "layers":
        return ""
    return _("%(least)s or more") % {"least": number(knob.least)}
