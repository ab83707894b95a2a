"""Recipes in words: what each field does, and its values as the pages write them."""

from training.explain.knobs import GROUPS, KNOBS, Group, Knob
from training.explain.values import allowed, fraction, kind, layers, number, value

__all__ = [
    "GROUPS",
    "KNOBS",
    "Group",
    "Knob",
    "allowed",
    "fraction",
    "kind",
    "layers",
    "number",
    "value",
]
