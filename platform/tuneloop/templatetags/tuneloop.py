"""Filters that say figures and verdicts in the reader's language."""

from typing import Any

from django import template

register = template.Library()


@register.filter
def percent(share: float | None, digits: int = 1) -> str:
    """A share from 0 to 1 as "93.4 %"; a dash for None."""
    # Not above: unfold.admin is still being imported when tag libraries are looked for.
    from labeling.admin import cells

    return cells.percent(share, digits=digits)


@register.filter
def gate_sentence(reason: dict[str, Any]) -> str:
    """One reason of a gate's verdict as a sentence."""
    from training import gate  # numpy comes with it; pages without a verdict need none

    return gate.sentence(reason)
