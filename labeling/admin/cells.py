"""Small pieces of HTML that admin lists and pages show in their cells."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.formats import date_format, number_format
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

NOTHING = mark_safe('<span class="tl-nothing">–</span>')


def percent(share: float | None, *, digits: int = 0) -> str:
    """A share from 0 to 1 in the reader's number format; a dash for None."""
    if share is None:
        return "–"
    shown = round(100 * share, digits)  # number_format cuts off instead of rounding
    # Translators: a percentage, with or without a space as is usual.
    return _("%(n)s %%") % {"n": number_format(shown, digits)}


def bar(share: float | None, *, low: float | None = None) -> SafeString:
    """A share as a small bar with its number; amber below `low`."""
    if share is None:
        return NOTHING
    is_low = low is not None and share < low
    return format_html(
        '<span class="tl-bar{}"><span class="tl-bar-track"><span class="tl-bar-fill"'
        ' style="width: {}%"></span></span>{}</span>',
        " tl-bar-low" if is_low else "",
        f"{100 * max(0.0, min(1.0, share)):.0f}",
        percent(share),
    )


def codes(names: Iterable[str]) -> SafeString:
    """Intent codes, each in a box of its own."""
    return (
        format_html_join(" ", '<span class="tl-code">{}</span>', ((n,) for n in names))
        or NOTHING
    )


def predicted(answer: list[dict[str, Any]] | None) -> SafeString:
    """The best intent of an answer; the others in the tooltip."""
    if not answer:
        return NOTHING
    best, *others = answer
    return format_html(
        '<span class="tl-code" title="{}">{}</span>',
        ", ".join(f"{o['code']} {percent(o.get('confidence'))}" for o in others),
        best["code"],
    )


def moment(at: datetime | None) -> SafeString:
    """A date and time in the reader's short format, on one line."""
    if at is None:
        return NOTHING
    shown = date_format(timezone.localtime(at), "SHORT_DATETIME_FORMAT")
    return format_html('<span class="tl-moment">{}</span>', shown)


def badge(text: Any, kind: str = "") -> SafeString:
    """A word in a coloured box: kind is good, bad, warn, info or nothing."""
    return format_html('<span class="tl-badge {}">{}</span>', f"tl-{kind}", text)


def long_text(text: str, *, limit: int = 120) -> SafeString:
    """A text cut to one line; whole in the tooltip."""
    shown = text if len(text) <= limit else f"{text[: limit - 1]}…"
    return format_html('<span class="tl-text" title="{}">{}</span>', text, shown)
