"""Figures with their intervals, and why one is undefined, on the quality pages."""

from typing import Any

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from labeling.agreement import Agreement, Undefined

register = template.Library()

WHY: dict[Undefined, str | Promise] = {
    Undefined.ONE_RATER: _("Undefined: fewer than two people have labelled."),
    Undefined.TOO_FEW: _("Undefined: too few questions were labelled by several."),
    Undefined.ONE_CATEGORY: _(
        "Undefined: everybody gave the same one label each time, which chance alone"
        " would bring about, too."
    ),
}
RELIABLE, TENTATIVE = 0.8, 0.667
"""Krippendorff's own bounds for what may be built on, and for first conclusions."""


@register.filter
def why_undefined(agreement: Agreement) -> str | Promise:
    """The reason as a sentence; empty where there is a value."""
    return WHY[agreement.undefined] if agreement.undefined else ""


@register.filter
def reliability(agreement: Agreement) -> dict[str, Any]:
    """A badge's kind and word."""
    value = agreement.value or 0.0
    if value >= RELIABLE:
        return {"kind": "good", "word": _("reliable")}
    if value >= TENTATIVE:
        return {"kind": "warn", "word": _("tentative")}
    return {"kind": "bad", "word": _("low")}


@register.inclusion_tag("labeling/quality_interval.html")
def interval(
    value: float, low: float, high: float, least: float = 0.0, most: float = 1.0
) -> dict[str, Any]:
    """A line from low to high with a dot on it, on a scale from least to most."""

    def place(x: float) -> str:
        return f"{100 * min(1.0, max(0.0, (x - least) / (most - least))):.1f}"

    width = float(place(high)) - float(place(low))
    return {
        "low": low,
        "high": high,
        "dot": place(value),
        "left": place(low),
        "width": f"{width:.1f}",
        "zero": place(0.0) if least < 0 else "",
    }
