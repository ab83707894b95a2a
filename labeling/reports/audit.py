"""How right the answers in production are: from test questions that are labelled blind.

Test questions are drawn by the hash of their text and labelled in that order, so the
labelled ones are a fair sample of the texts that were asked. Users ask some texts far
more often than others: each text counts as often as it was asked.

    share     = sum(w * right) / sum(w)          w: how often a text was asked
    effective = sum(w)² / sum(w²)                as many equal ones say as much
    interval  = Wilson's, of `share` in `effective` cases

Left out are labels that came with an import: whoever imports chooses the texts.

Source: the ratio estimator: Cochran, "Sampling Techniques", 3rd ed. 1977, chapter 6.
The effective sample size: Kish, "Survey Sampling", 1965, section 11.7. The interval in
a weighted sample: Korn and Graubard, "Confidence Intervals for Proportions with Small
Expected Number of Positive Counts", Survey Methodology 24 (1998).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from labeling.models import IntentAlias, Project
from labeling.rules.wilson import wilson

LEAST = 10
"""Effective cases below which no share is given: its interval would say nothing."""

_Case = tuple[float, bool]
"""How often a text was asked, and whether the answer to it is right."""


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of right answers, weighted by traffic."""

    share: float | None
    """0 to 1; None where too little is known."""
    low: float | None
    high: float | None
    """The 95 % interval."""
    n: int
    """Labelled texts."""
    effective: float
    """As many texts of equal traffic would say as much."""
    asked: int
    """How often these texts were asked."""
    why: str = ""
    """Where the share is None: a sentence saying why."""


@dataclass(frozen=True, slots=True)
class Report:
    """Accuracy of production, overall and by what was really asked for."""

    overall: Accuracy
    per_intent: dict[str, Accuracy]
    """By code of the gold intent, most asked first."""


def accuracy(project: Project, *, version: str | None = None) -> Report:
    """How right the answers to the project's blind labelled test questions are.

    Args:
        project: Whose.
        version: Number of the version whose answers count, the active one's say. None
            takes each question's latest answer, whoever gave it.

    Cost: two queries, one row for each labelled test question (about 25 ms for 5,000).
    """
    aliases = dict(
        IntentAlias.objects.filter(project=project).values_list("code", "intent__code")
    )
    with connection.cursor() as cursor:
        cursor.execute(_SAMPLE, {"project": project.pk, "version": version})
        rows = cursor.fetchall()
    cases: list[_Case] = []
    by_intent: dict[str, list[_Case]] = defaultdict(list)
    for asked, gold, answered, fallback in rows:
        codes = answered if project.is_multi_intent else answered[:1]
        given = {aliases.get(code, code) for code in codes} - {fallback}
        case = (float(asked), given == set(gold) - {fallback})
        cases.append(case)
        for code in gold or [fallback]:
            if code is not None:
                by_intent[code].append(case)
    ordered = sorted(by_intent.items(), key=lambda item: -sum(w for w, _ in item[1]))
    return Report(estimate(cases), {code: estimate(own) for code, own in ordered})


# An answer of no intent is that of the fallback intent, and so is a label of none.
_SAMPLE = """
SELECT q.occurrences,
    ARRAY(SELECT i.code FROM labeling_goldlabel g
        JOIN labeling_intent i ON i.id = g.intent_id WHERE g.question_id = q.id),
    ARRAY(SELECT said ->> 'code'
        FROM jsonb_array_elements(q.predicted) WITH ORDINALITY AS a (said, place)
        ORDER BY place),
    (SELECT i.code FROM labeling_intent i
        WHERE i.project_id = q.project_id AND i.is_fallback)
FROM labeling_question q
WHERE q.project_id = %(project)s AND q.state = 'labelled' AND q.split = 'test'
    AND q.occurrences > 0 AND q.predicted IS NOT NULL
    AND (%(version)s::text IS NULL OR q.predicted_by = %(version)s::text)
    AND NOT EXISTS (SELECT FROM labeling_goldlabel g
        WHERE g.question_id = q.id AND g.source = 'import')
"""


def estimate(cases: Sequence[_Case]) -> Accuracy:
    """Share and interval of some cases; see the module's formulas."""
    total = sum(weight for weight, _right in cases)
    squares = sum(weight * weight for weight, _right in cases)
    effective = total * total / squares if squares else 0.0
    known: Mapping[str, Any] = {
        "n": len(cases),
        "effective": effective,
        "asked": round(total),
    }
    if effective < LEAST:
        return Accuracy(None, None, None, **known, why=_why(len(cases), effective))
    share = _weight_right(cases) / total
    interval = wilson(share * effective, effective)
    return Accuracy(share, interval.low, interval.high, **known)


def _weight_right(cases: Iterable[_Case]) -> float:
    return sum(weight for weight, right in cases if right)


def _why(n: int, effective: float) -> str:
    if not n:
        return _(
            "Undefined: no question that was asked in production has been labelled"
            " blind yet. The audit queue hands them out."
        )
    if n < LEAST:
        return ngettext(
            "Undefined: only %(n)d blind label; it takes %(least)d.",
            "Undefined: only %(n)d blind labels; it takes %(least)d.",
            n,
        ) % {"n": n, "least": LEAST}
    return _(
        "Undefined: few texts make up most of the traffic; the %(n)d blind labels say"
        " no more than %(effective).0f equal ones."
    ) % {"n": n, "effective": effective}
