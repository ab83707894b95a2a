"""Differences and intervals on the pages of evaluations."""

from typing import Any

from django import template

register = template.Library()

WEAK = 0.7
"""F1 below which an intent is marked."""


@register.filter
def points(difference: float | None) -> str:
    """A difference of shares as "+1.2" percentage points; a dash for None."""
    # Not above: unfold.admin is still being imported when tag libraries are looked for.
    from training.reports import figures

    return figures.points(difference)


@register.filter
def p_value(p: float) -> str:
    """A probability as "= 0.031" or "< 0.001"."""
    from training.reports import figures

    return figures.p_value(p)


@register.inclusion_tag("training/evaluation_span.html")
def span(value: float, low: float | None, high: float | None) -> dict[str, Any]:
    """A line from low to high with a dot at the value, from 0 to 100 %."""

    def place(share: float | None) -> float:
        return round(100 * min(1.0, max(0.0, share or 0.0)), 1)

    return {
        "low": low,
        "high": high,
        "dot": f"{place(value)}",
        "left": f"{place(low)}",
        "width": f"{round(place(high) - place(low), 1)}",
        "is_low": value < WEAK,
    }
