"""Which intents to offer first for a question, and what spoke for them."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection

from labeling.models import Intent, Project, Question
from labeling.taxonomy.labelset import LabelSet

KEYS = 9
"""Suggestions have the keys 1 to 9."""
TOP = 5
"""How many of the model's answers the decision trace shows."""
_FRESH_S = 30
"""How long a process goes by what it knows of the most used intents."""

# The labels of the last 1,000 labelled questions, found by `question_by_state`.
_MOST_USED = """
SELECT g.intent_id FROM (
    SELECT id FROM labeling_question
    WHERE project_id = %(project)s AND state = 'labelled'
    ORDER BY id DESC LIMIT 1000
) q JOIN labeling_goldlabel g ON g.question_id = q.id
GROUP BY g.intent_id ORDER BY count(*) DESC, g.intent_id LIMIT %(limit)s
"""
_most_used: dict[int, tuple[float, list[int]]] = {}


@dataclass(frozen=True)
class Suggestion:
    """An intent on a key."""

    key: int
    intent: Intent
    confidence: float | None
    """Of the answer, 0 to 1; None where it did not name the intent."""


@dataclass(frozen=True)
class Hit:
    """A rule that found its keyword."""

    pattern: str
    intent: Intent
    confidence: float


@dataclass(frozen=True)
class Trace:
    """What each side said to the latest answer, in intents of today."""

    model: list[tuple[Intent, float]]
    """Best first, `TOP` at most."""
    rules: list[Hit]
    llm: Intent | None
    is_conflict: bool

    def __bool__(self) -> bool:
        return bool(self.model or self.rules or self.llm)


def trace(question: Question, labels: LabelSet) -> Trace:
    """The question's decision trace; no query."""
    said: dict[str, Any] = question.trace or {}
    rules = []
    for hit in said.get("rules") or ():
        for intent in labels.named([hit["code"]]):
            rules.append(Hit(hit["pattern"], intent, hit["confidence"]))
    llm = labels.named([said["llm"]]) if said.get("llm") else []
    return Trace(
        model=_shares(said.get("model") or (), labels)[:TOP],
        rules=rules,
        llm=llm[0] if llm else None,
        is_conflict=question.is_conflict,
    )


def suggest(
    project: Project,
    question: Question,
    labels: LabelSet,
    *,
    first: Sequence[Intent] = (),
) -> list[Suggestion]:
    """At most nine intents: the answer's, the trace's, the most used, then the rest.

    In a single-intent project the fallback has a key of its own, 0, and is among them
    only if it was named.

    Args:
        project: The question's project.
        question: Its `predicted` may hold codes that were renamed since.
        labels: The project's label set.
        first: Come before all others: what a reviewer has to judge.

    Cost: no query, one every `_FRESH_S` seconds.
    """
    answer = _shares(question.predicted or (), labels)
    known = trace(question, labels)
    share: dict[str, float | None] = dict.fromkeys(one.code for one in first)
    for intent, confidence in answer:
        share[intent.code] = confidence
    for intent in (
        *(intent for intent, _confidence in known.model),
        *(hit.intent for hit in known.rules),
        *([known.llm] if known.llm else []),
    ):
        share.setdefault(intent.code, None)
    for intent in (*most_used(project, labels), *labels.intents.values()):
        if len(share) >= KEYS:
            break
        if project.is_multi_intent or not intent.is_fallback:
            share.setdefault(intent.code, None)
    return [
        Suggestion(key, labels.intents[code], confidence)
        for key, (code, confidence) in enumerate(list(share.items())[:KEYS], start=1)
    ]


def most_used(project: Project, labels: LabelSet) -> list[Intent]:
    """The intents of recent labels, commonest first; may be `_FRESH_S` seconds old."""
    at, ids = _most_used.get(project.pk, (float("-inf"), []))
    if time.monotonic() - at > _FRESH_S:
        with connection.cursor() as cursor:
            # Retired intents may be among them and fall out.
            cursor.execute(_MOST_USED, {"project": project.pk, "limit": 3 * KEYS})
            ids = [pk for (pk,) in cursor.fetchall()]
        _most_used[project.pk] = (time.monotonic(), ids)
    by_id = {intent.pk: intent for intent in labels.intents.values()}
    return [by_id[pk] for pk in ids if pk in by_id]


def _shares(
    answers: Iterable[dict[str, Any]], labels: LabelSet
) -> list[tuple[Intent, float]]:
    """Intents and their confidence, best first; those that are gone fall out.

    So do those without any confidence: the fallback, answered for want of another.
    """
    shares: dict[str, float] = {}
    for answer in sorted(answers, key=lambda one: -float(one["confidence"])):
        code = labels.current(answer["code"])
        if code is not None and answer["confidence"] > 0:
            shares.setdefault(code, float(answer["confidence"]))
    return [(labels.intents[code], share) for code, share in shares.items()]
