"""Where in a text, as it was typed, a keyword of the normalised text stands."""

import unicodedata
from collections.abc import Iterable

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

from labeling.normalise import normalise
from labeling.rules.matching import Matcher


def mark(text: str, patterns: Iterable[str]) -> SafeString:
    """HTML of a text with `<mark>` around what rules found; all else is escaped.

    Rules look at the normalised text, so each of its characters is traced back to the
    one it came from. Where that does not work out (marks that combine over characters)
    nothing is highlighted.
    """
    folded, origin = _trace(text)
    spans: list[tuple[int, int]] = []
    known = normalise(text)
    if folded.startswith(known):
        found = Matcher(normalise(pattern) for pattern in patterns).spans(known)
        spans = sorted((origin[s.start], origin[s.end - 1] + 1) for s in found)
    parts: list[str] = []
    at = 0
    for start, end in _joined(spans):
        parts += [escape(text[at:start]), "<mark>", escape(text[start:end]), "</mark>"]
        at = end
    parts.append(escape(text[at:]))
    html: SafeString = mark_safe("".join(parts))  # noqa: S308  every part is escaped
    return html


def _trace(text: str) -> tuple[str, list[int]]:
    """The folded text, and for each of its characters the place it came from."""
    folded: list[str] = []
    origin: list[int] = []
    for place, char in enumerate(text):
        for one in unicodedata.normalize("NFKC", char).casefold():
            if one.isspace():
                if not folded or folded[-1] == " ":
                    continue
                one = " "
            folded.append(one)
            origin.append(place)
    return "".join(folded), origin


def _joined(spans: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sorted spans, those that touch or overlap made one."""
    joined: list[tuple[int, int]] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined
