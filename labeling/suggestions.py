"""Which intents to offer first for a question."""

from collections.abc import Mapping
from dataclasses import dataclass

from django.db import connection

from labeling.models import Intent, IntentAlias, Project, Question

KEYS = 9
"""Suggestions have the keys 1 to 9."""

# The labels of the last 1,000 labelled questions, found by `question_by_state`.
_MOST_USED = """
SELECT g.intent_id FROM (
    SELECT id FROM labeling_question
    WHERE project_id = %(project)s AND state = 'labelled'
    ORDER BY id DESC LIMIT 1000
) q JOIN labeling_goldlabel g ON g.question_id = q.id
GROUP BY g.intent_id ORDER BY count(*) DESC, g.intent_id LIMIT %(limit)s
"""


@dataclass(frozen=True)
class Suggestion:
    """An intent on a key."""

    key: int
    intent: Intent
    confidence: float | None
    """Of the model or the rules, 0 to 1; None where they did not name it."""


def suggest(
    project: Project, question: Question, intents: Mapping[str, Intent]
) -> list[Suggestion]:
    """At most nine intents: the prediction's, then the most used, then the rest.

    In a single-intent project the fallback has a key of its own, 0, and is among them
    only if it was predicted.

    Args:
        project: The question's project.
        question: Its `predicted` may hold codes that were renamed since.
        intents: The project's intents in use, by code.

    Cost: one query, two when a predicted code is an old one.
    """
    predicted = _predicted(question)
    old = [code for code in predicted if code not in intents]
    current = dict(
        IntentAlias.objects.filter(project=project, code__in=old).values_list(
            "code", "intent__code"
        )
        if old
        else ()
    )
    confidence: dict[str, float | None] = {}
    for code, share in predicted.items():
        code = current.get(code, code)
        if code in intents:
            confidence.setdefault(code, share)
    for code in (*_most_used(project, intents), *intents):
        if project.is_multi_intent or not intents[code].is_fallback:
            confidence.setdefault(code, None)
    return [
        Suggestion(key, intents[code], share)
        for key, (code, share) in enumerate(list(confidence.items())[:KEYS], start=1)
    ]


def _predicted(question: Question) -> dict[str, float]:
    """Confidence by code, best first."""
    answers = sorted(question.predicted or [], key=lambda one: -one["confidence"])
    return {one["code"]: one["confidence"] for one in answers}


def _most_used(project: Project, intents: Mapping[str, Intent]) -> list[str]:
    with connection.cursor() as cursor:
        # Retired intents may be among them and fall out.
        cursor.execute(_MOST_USED, {"project": project.pk, "limit": 3 * KEYS})
        ids = [pk for (pk,) in cursor.fetchall()]
    codes = {intent.pk: code for code, intent in intents.items()}
    return [codes[pk] for pk in ids if pk in codes]
