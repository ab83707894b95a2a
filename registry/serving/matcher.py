"""Which active rules speak on a text, and how surely for which intent."""

from collections.abc import Iterable
from typing import NamedTuple

from labeling.normalise import normalise
from labeling.rules.matching import Matcher, Span


class Rule(NamedTuple):
    """An active keyword rule."""

    id: int
    pattern: str
    code: str
    """The intent that it speaks for."""
    boost: float
    """How surely, 0 to 1."""


class Hit(NamedTuple):
    """The rule that speaks for an intent on one text, and where it was found."""

    rule: Rule
    start: int
    end: int
    """text[start:end] of the normalised text."""


class RuleMatcher:
    """All active rules of a project, found in one pass; immutable.

    Cost: under 0.1 ms a question at 10,000 rules, whatever their number.
    """

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules: dict[str, list[Rule]] = {}
        for rule in rules:
            self._rules.setdefault(normalise(rule.pattern), []).append(rule)
        self._matcher = Matcher(self._rules)

    def __len__(self) -> int:
        return sum(map(len, self._rules.values()))

    def match(self, text: str) -> dict[str, Hit]:
        """The hit that speaks for each intent, in a normalised text.

        A keyword inside a longer one that was found says nothing: in a question about
        “raw material batches” the rule on “batches” is silent. Of several rules for
        one intent the surest speaks, of equally sure ones the longest.
        """
        hits: dict[str, Hit] = {}
        for span in _outermost(list(self._matcher.spans(text))):
            for rule in self._rules[span.pattern]:
                hit = Hit(rule, span.start, span.end)
                known = hits.get(rule.code)
                if known is None or _rank(hit) > _rank(known):
                    hits[rule.code] = hit
        return hits


def _rank(hit: Hit) -> tuple[float, int, int]:
    return hit.rule.boost, hit.end - hit.start, -hit.start


def _outermost(spans: list[Span]) -> list[Span]:
    """Those that no longer one covers."""
    if len(spans) < 2:
        return spans
    kept: list[Span] = []
    furthest = -1
    # By start, the longest first: what ends no further than an earlier one is inside.
    for span in sorted(spans, key=lambda s: (s.start, -s.end)):
        if span.end > furthest:
            kept.append(span)
            furthest = span.end
    return kept
