"""Finds keywords that speak for an intent, in the labelled questions of a project."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from django.db import transaction

from labeling.models import GoldLabel, KeywordRule, Project, Question
from labeling.normalise import normalise
from labeling.rules.keywords import keywords
from labeling.rules.matching import Matcher
from labeling.rules.wilson import wilson

MIN_SUPPORT = 3
"""Labelled questions that must hold a keyword."""
MIN_SUCCESS_RATE = 0.8
"""Share of those that must have the intent."""
MIN_SUCCESS_LOW = 0.4
"""Least lower bound: 3 of 3 reach 0.44 and pass, 4 of 5 reach 0.38 and don't."""

_LEARNED_FROM = (Question.Split.TRAIN, Question.Split.VALIDATION)


class _Counts(NamedTuple):
    """How often a keyword was held, and how often with each intent."""

    held: Counter[str]
    with_intent: Counter[tuple[str, int]]


class _Labelled(NamedTuple):
    text: str
    intents: frozenset[int]


def mine(project: Project, *, support: int = MIN_SUPPORT) -> list[KeywordRule]:
    """Looks for keywords and keeps them as candidates; returns those, best first.

    A keyword is kept for an intent when at least `support` labelled questions hold it,
    at least 80 % of those have the intent, and the rate's lower bound passes both 0.4
    and the intent's own share of all labels (else the word says nothing that a guess
    would not). A longer keyword is dropped when a shorter one inside it is as sure. The
    fallback intent gets no keywords: what is out of scope has no words of its own.

    A new rule's confidence is the centre of its Wilson interval: the success rate drawn
    towards one half, the more the fewer questions it rests on. Rules that exist already
    keep state and confidence; their support and rates are refreshed.

    Test questions are never looked at: a rule must not know them.

    Args:
        project: Its labelled train and validation questions are read.
        support: Least number of labelled questions that hold a keyword, at least 1.

    Cost: four queries; about a second for 10,000 short questions.
    """
    intents = list(project.intents.filter(retired_at=None))
    speakable = {intent.pk for intent in intents if not intent.is_fallback}
    existing = list(project.rules.select_related("intent"))
    labelled = list(_labelled(project))
    counts = _count(
        labelled,
        _frequent_keywords(labelled, support)
        | {normalise(r.pattern) for r in existing},
    )
    share = _shares(labelled)

    sure = [
        rule
        for rule in _rules(project, counts)
        if rule.intent_id in speakable
        and rule.support >= support
        and _is_sure(rule, intent_share=share[rule.intent_id])
    ]
    found = _without_echoes(sure)
    for rule in existing:
        _refresh(rule, counts)
    with transaction.atomic():
        KeywordRule.objects.bulk_update(
            existing, ["support", "success_rate", "success_low"], batch_size=1000
        )
        KeywordRule.objects.bulk_create(found, ignore_conflicts=True, batch_size=1000)
    candidates = project.rules.filter(
        state=KeywordRule.State.CANDIDATE,
        support__gte=support,
        success_rate__gte=MIN_SUCCESS_RATE,
        success_low__gte=MIN_SUCCESS_LOW,
    )
    return list(candidates.select_related("intent", "project"))


def _labelled(project: Project) -> Iterator[_Labelled]:
    rows = (
        GoldLabel.objects.filter(
            question__project=project,
            question__state=Question.State.LABELLED,
            question__split__in=_LEARNED_FROM,
        )
        .order_by("question_id")
        .values_list("question_id", "question__text", "intent_id")
    )
    current, text, intents = None, "", set[int]()
    for question_id, question_text, intent_id in rows.iterator(chunk_size=5000):
        if question_id != current:
            if current is not None:
                yield _Labelled(text, frozenset(intents))
            current, text, intents = question_id, normalise(question_text), set()
        intents.add(intent_id)
    if current is not None:
        yield _Labelled(text, frozenset(intents))


def _frequent_keywords(labelled: list[_Labelled], support: int) -> set[str]:
    seen: Counter[str] = Counter()
    for row in labelled:
        seen.update(keywords(row.text))
    return {word for word, n in seen.items() if n >= support}


def _count(labelled: list[_Labelled], patterns: set[str]) -> _Counts:
    """Counts by what serving will match, not by how jieba happened to cut."""
    matcher = Matcher(patterns)
    counts = _Counts(Counter(), Counter())
    for row in labelled:
        for pattern in matcher.found(row.text):
            counts.held[pattern] += 1
            for intent_id in row.intents:
                counts.with_intent[pattern, intent_id] += 1
    return counts


def _shares(labelled: list[_Labelled]) -> dict[int, float]:
    n: Counter[int] = Counter()
    for row in labelled:
        n.update(row.intents)
    return {intent_id: count / len(labelled) for intent_id, count in n.items()}


def _rules(project: Project, counts: _Counts) -> Iterator[KeywordRule]:
    for (pattern, intent_id), successes in counts.with_intent.items():
        held = counts.held[pattern]
        interval = wilson(successes, held)
        yield KeywordRule(
            project=project,
            pattern=pattern,
            intent_id=intent_id,
            support=held,
            success_rate=successes / held,
            success_low=interval.low,
            boost=round(interval.centre, 3),
            origin=KeywordRule.Origin.MINED,
        )


def _is_sure(rule: KeywordRule, *, intent_share: float) -> bool:
    rate, low = rule.success_rate or 0.0, rule.success_low or 0.0
    return rate >= MIN_SUCCESS_RATE and low >= max(MIN_SUCCESS_LOW, intent_share)


def _without_echoes(rules: list[KeywordRule]) -> list[KeywordRule]:
    """Drops a keyword that holds a shorter, at least as sure one of its intent.

    Each text that holds the longer holds the shorter too, so the longer adds nothing.
    """
    by_intent: defaultdict[int, dict[str, float]] = defaultdict(dict)
    for rule in rules:
        by_intent[rule.intent_id][rule.pattern] = rule.success_low or 0.0
    matchers = {intent_id: Matcher(low) for intent_id, low in by_intent.items()}

    def is_echo(rule: KeywordRule) -> bool:
        low = by_intent[rule.intent_id]
        shorter = matchers[rule.intent_id].found(rule.pattern) - {rule.pattern}
        return any(low[pattern] >= low[rule.pattern] for pattern in shorter)

    return [rule for rule in rules if not is_echo(rule)]


def _refresh(rule: KeywordRule, counts: _Counts) -> None:
    pattern = normalise(rule.pattern)
    held = counts.held[pattern]
    successes = counts.with_intent[pattern, rule.intent_id]
    rule.support = held
    rule.success_rate = successes / held if held else None
    rule.success_low = wilson(successes, held).low if held else None
