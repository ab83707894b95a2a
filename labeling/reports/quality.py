"""How good a project's labels are: who agrees with whom, how sure, how fast.

Only a window of verdicts is read, the newest of each person, so a page costs the same
at a thousand questions and at a million. Verdicts of bulk actions are left out: one
decision on a hundred near-duplicates is not a hundred independent judgements.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from statistics import median
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.db.models import Q
from django.utils import timezone

from labeling import agreement
from labeling.agreement import Agreement, Distance, Ratings
from labeling.models import ApiKey, Intent, LabelChange, Membership, Project
from labeling.rules.wilson import Interval, wilson
from labeling.taxonomy import labelset
from labeling.taxonomy.labelset import LabelSet

VERDICTS = 30_000
"""Verdicts that a report looks at, shared among those who may label."""
LEAST_EACH = 300
"""Verdicts of each person, however many members there are."""
ADJUDICATIONS = 2_000
"""The newest adjudications of all projects, of which this project's are counted."""
REMEMBERED_S = 60
LEAST_SHARE = 10
"""Cases below which a share is not worth an interval."""

_VERDICTS = """
SELECT a.question_id, a.annotator_id, a.verdict = 'label', a.time_spent_ms, a.is_blind,
    a.suggested, (
        SELECT string_agg(ai.intent_id::text, ',' ORDER BY ai.intent_id)
        FROM labeling_annotation_intents ai WHERE ai.annotation_id = a.id
    ), q.state = 'labelled', gold.intents, gold.set_by
FROM unnest(%(people)s::bigint[]) AS u (id) CROSS JOIN LATERAL (
    SELECT id, question_id, annotator_id, verdict, time_spent_ms, is_blind, suggested
    FROM labeling_annotation
    WHERE annotator_id = u.id AND bulk_id IS NULL
    ORDER BY updated_at DESC LIMIT %(each)s
) a JOIN labeling_question q ON q.id = a.question_id AND q.project_id = %(project)s
LEFT JOIN LATERAL (
    SELECT string_agg(intent_id::text, ',' ORDER BY intent_id) AS intents,
        max(set_by_id) AS set_by
    FROM labeling_goldlabel WHERE question_id = q.id
) gold ON q.state = 'labelled'
"""

_REASONS = """
SELECT c.reason, count(*) FROM (
    SELECT question_id, reason FROM labeling_labelchange
    WHERE kind = 'adjudication' ORDER BY id DESC LIMIT %(newest)s
) c JOIN labeling_question q ON q.id = c.question_id
WHERE q.project_id = %(project)s GROUP BY c.reason
"""


@dataclass(frozen=True)
class Share:
    """So many of so many, with the 95 % interval where there are enough."""

    hits: int
    n: int

    @property
    def value(self) -> float | None:
        """0 to 1; None below `LEAST_SHARE` cases."""
        return self.hits / self.n if self.n >= LEAST_SHARE else None

    @cached_property
    def interval(self) -> Interval:
        """Wilson's; asks for at least one case."""
        return wilson(self.hits, self.n)


@dataclass(frozen=True)
class Person:
    """What one annotator did, of the window."""

    name: str
    labels: int
    skips: int
    median_s: float | None
    """Seconds a verdict; None where no page measured them."""
    settled: Share
    """Verdicts that are the gold label now, of those that others judged, too."""
    blind: Share
    """Equal to the best suggestion, which was not shown."""
    shown: Share
    """Equal to the best suggestion, which was shown."""

    @property
    def anchoring(self) -> Interval | None:
        """How much more often the suggestion is followed where it is shown."""
        if self.blind.value is None or self.shown.value is None:
            return None
        return agreement.difference(
            self.shown.hits, self.shown.n, self.blind.hits, self.blind.n
        )


@dataclass(frozen=True)
class IntentAgreement:
    """How far people agree on one intent against the rest."""

    code: str
    name: str
    alpha: Agreement


@dataclass(frozen=True)
class PairAgreement:
    """How far two people agree."""

    a: str
    b: str
    kappa: Agreement


@dataclass(frozen=True)
class Report:
    """A project's labels as the quality page shows them."""

    at: datetime
    each: int
    """Verdicts of each person that were read at most."""
    verdicts: int
    """Verdicts that were read."""
    distance: Distance
    alpha: Agreement
    intents: list[IntentAgreement]
    """Least agreement first; undefined ones last."""
    pairs: list[PairAgreement]
    """Most shared questions first."""
    people: list[Person]
    """Most verdicts first."""
    reasons: dict[str, int]
    """Adjudications by `LabelChange.Reason`, "" for none."""


@dataclass(frozen=True)
class _Verdict:
    question: int
    person: int
    is_label: bool
    time_spent_ms: int | None
    is_blind: bool
    suggested: int | None
    """Id of the intent; None where nothing was suggested, or its intent is gone."""
    labels: frozenset[int]
    gold: frozenset[int] | None
    """None while there is no gold label."""
    gold_by: int | None


def report(project: Project) -> Report:
    """The project's report, remembered for `REMEMBERED_S` seconds.

    Cost: six queries, eight after an edit of intents.
    """
    key = f"quality:{project.pk}"
    found: Report | None = cache.get(key)
    if found is None:
        found = _report(project)
        cache.set(key, found, REMEMBERED_S)
    return found


def forget(project: Project) -> None:
    """Makes the next `report` of this process a fresh one."""
    cache.delete(f"quality:{project.pk}")


def _report(project: Project) -> Report:
    people = _who(project)
    each = max(LEAST_EACH, VERDICTS // max(1, len(people)))
    verdicts = _read(project, labelset.of(project), people, each=each)
    ratings = Ratings.of(
        (one.question, one.person, one.labels) for one in verdicts if one.is_label
    )
    distance = Distance.MASI if project.is_multi_intent else Distance.NOMINAL
    names = dict(User.objects.filter(pk__in=people).values_list("pk", "username"))
    return Report(
        at=timezone.now(),
        each=each,
        verdicts=len(verdicts),
        distance=distance,
        alpha=agreement.alpha(ratings, distance=distance),
        intents=_by_intent(project, ratings),
        pairs=[
            PairAgreement(names[pair.a], names[pair.b], pair.kappa)
            for pair in agreement.kappas(ratings, distance=distance)
        ],
        people=_people(verdicts, names, is_multi=project.is_multi_intent),
        reasons=_reasons(project),
    )


def _who(project: Project) -> list[int]:
    """Who may label in the project: its members, its API keys' users, superusers.

    Verdicts of other projects are walked over, so nobody else is looked at.
    """
    people = User.objects.filter(
        Q(pk__in=Membership.objects.filter(project=project).values("user"))
        | Q(pk__in=ApiKey.objects.filter(project=project).values("user"))
        | Q(is_superuser=True)
    )
    return list(people.values_list("pk", flat=True))


def _read(
    project: Project, labels: LabelSet, people: list[int], *, each: int
) -> list[_Verdict]:
    with connection.cursor() as cursor:
        values: dict[str, Any] = {"project": project.pk, "people": people, "each": each}
        cursor.execute(_VERDICTS, values)
        rows = cursor.fetchall()
    sets: dict[str | None, frozenset[int]] = {None: frozenset()}

    def intents(joined: str | None) -> frozenset[int]:
        """The ids of "3,17"; the same object for the same text."""
        if joined not in sets:
            sets[joined] = frozenset(map(int, (joined or "").split(",")))
        return sets[joined]

    ids = {code: intent.pk for code, intent in labels.intents.items()}
    ids |= {old: ids[code] for old, code in labels.aliases.items() if code in ids}
    return [
        _Verdict(
            question,
            person,
            is_label,
            spent,
            is_blind,
            ids.get(suggested),
            intents(own),
            intents(gold) if is_settled else None,
            gold_by,
        )
        for (
            question,
            person,
            is_label,
            spent,
            is_blind,
            suggested,
            own,
            is_settled,
            gold,
            gold_by,
        ) in rows
    ]


def _by_intent(project: Project, ratings: Ratings) -> list[IntentAgreement]:
    alphas = agreement.alpha_by_category(ratings)
    intents = Intent.objects.filter(project=project, pk__in=alphas).order_by("code")
    found = [
        IntentAgreement(intent.code, intent.name, alphas[intent.pk])
        for intent in intents
    ]
    return sorted(
        found,
        key=lambda one: (
            one.alpha.value is None,
            one.alpha.value or 0.0,
            -one.alpha.n,
            one.code,
        ),
    )


def _people(
    verdicts: Iterable[_Verdict], names: dict[int, str], *, is_multi: bool
) -> list[Person]:
    own: dict[int, list[_Verdict]] = defaultdict(list)
    judged = Counter[int]()
    for verdict in verdicts:
        own[verdict.person].append(verdict)
        judged[verdict.question] += 1
    people = [
        _person(names[person], mine, judged, is_multi=is_multi)
        for person, mine in own.items()
    ]
    return sorted(people, key=lambda one: (-(one.labels + one.skips), one.name))


def _person(
    name: str, verdicts: list[_Verdict], judged: Counter[int], *, is_multi: bool
) -> Person:
    labelled = [one for one in verdicts if one.is_label]
    spent = [one.time_spent_ms for one in verdicts if one.time_spent_ms]
    # Where nobody else had a say, the gold label is the person's own.
    settled = [
        one.labels == one.gold
        for one in labelled
        if one.gold is not None
        and (judged[one.question] > 1 or one.gold_by != one.person)
    ]
    followed: dict[bool, list[bool]] = {True: [], False: []}
    for one in labelled:
        if one.suggested is not None:
            # A suggestion names one intent; of several, it is one that was chosen.
            agrees = (
                one.suggested in one.labels
                if is_multi
                else one.labels == frozenset({one.suggested})
            )
            followed[one.is_blind].append(agrees)
    return Person(
        name=name,
        labels=len(labelled),
        skips=len(verdicts) - len(labelled),
        median_s=median(spent) / 1000 if spent else None,
        settled=Share(sum(settled), len(settled)),
        blind=Share(sum(followed[True]), len(followed[True])),
        shown=Share(sum(followed[False]), len(followed[False])),
    )


def _reasons(project: Project) -> dict[str, int]:
    with connection.cursor() as cursor:
        values = {"project": project.pk, "newest": ADJUDICATIONS}
        cursor.execute(_REASONS, values)
        counts = dict(cursor.fetchall())
    order = [*LabelChange.Reason.values, ""]
    return {reason: counts[reason] for reason in order if reason in counts}
