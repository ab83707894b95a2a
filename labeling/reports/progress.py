"""How far labelling is: counts that stay cheap at a million questions."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from labeling.models import Annotation, Intent, Project, Queue
from labeling.taxonomy.labelset import LabelSet

COUNT_AT_MOST = 10_000
"""Open questions are counted up to here; more is "10,000+" to anybody."""
QUEUE_AT_MOST = 1_000
"""What each queue holds is counted up to here."""
SMALL_MARGIN = 0.2
"""Best minus second best answer, below which the two are taken for confused."""
_PAIRS_AMONG = 5_000
"""Confused pairs are counted among the first so many of the priority queue."""

_OPEN = """
SELECT p.id, (
    SELECT count(*) FROM (
        SELECT FROM labeling_question q
        WHERE q.project_id = p.id AND q.state = 'open' LIMIT %(most)s
    ) counted
) FROM unnest(%(projects)s::bigint[]) AS p (id)
"""

# Each branch walks the index that its queue walks.
_FILTERS = {
    Queue.PRIORITY: "state = 'open' AND NOT split = 'test'",
    Queue.UNSURE: "state = 'open' AND NOT split = 'test' AND confidence < %(low)s",
    Queue.CONFLICT: "state = 'open' AND NOT split = 'test' AND is_conflict",
    Queue.AUDIT: "state = 'open' AND split = 'test'",
    Queue.DISPUTED: "state = 'disputed'",
    Queue.SUSPECT: "state = 'labelled' AND suspicion IS NOT NULL",
    Queue.BROKEN: "state = 'labelled' AND broken_by IS NOT NULL",
}
_COUNT = """
SELECT '{queue}', count(*) FROM (
    SELECT FROM labeling_question
    WHERE project_id = %(project)s AND {condition} LIMIT %(most)s
) counted
"""
_WAITING = " UNION ALL ".join(
    _COUNT.format(queue=queue, condition=condition)
    for queue, condition in _FILTERS.items()
)

_PAIRS = """
SELECT a, b, count(*) FROM (
    SELECT predicted #>> '{0,code}' AS a, predicted #>> '{1,code}' AS b, margin
    FROM labeling_question
    WHERE project_id = %(project)s AND state = 'open' AND NOT split = 'test'
    ORDER BY priority DESC, id LIMIT %(among)s
) first WHERE margin < %(margin)s AND b IS NOT NULL GROUP BY a, b
"""

# One branch a pair; each walks a few ranges of the pair queue's index.
_BETWEEN = """
SELECT %s::int, count(*) FROM (
    SELECT FROM labeling_question
    WHERE project_id = %s AND state = 'open' AND NOT split = 'test'
      AND predicted #>> '{0,code}' = ANY(%s)
      AND predicted #>> '{1,code}' = ANY(%s)
    LIMIT %s
) counted
"""


@dataclass(frozen=True)
class OpenCount:
    """A number of questions, counted up to a bound."""

    number: int
    bound: int

    @property
    def is_more(self) -> bool:
        """Whether there are more than the number says."""
        return self.number > self.bound

    @property
    def shown(self) -> int:
        """The number to show, followed by a plus if `is_more`."""
        return min(self.number, self.bound)


@dataclass(frozen=True)
class Progress:
    """What a person has done today in a project, and what is left."""

    done_today: int
    open: OpenCount


@dataclass(frozen=True)
class Confusion:
    """Two intents between which answers were close."""

    a: Intent
    b: Intent
    count: int


def open_counts(projects: Iterable[Project]) -> dict[int, OpenCount]:
    """Open questions by project id. One query, bounded for each project."""
    ids = [project.pk for project in projects]
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"projects": ids, "most": COUNT_AT_MOST + 1})
        rows = cursor.fetchall()
    return {pk: OpenCount(number, COUNT_AT_MOST) for pk, number in rows}


def of(project: Project, user: User) -> Progress:
    """A person's progress. Two queries."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    done = Annotation.objects.filter(
        annotator=user,
        updated_at__gte=midnight,
        verdict=Annotation.Verdict.LABEL,
        question__project=project,
    )
    return Progress(done.count(), open_counts([project])[project.pk])


def waiting(project: Project) -> dict[str, OpenCount]:
    """What waits in each queue, counted up to `QUEUE_AT_MOST`. One query.

    The pair and intent queues are left out: what they hold depends on the intents; see
    `between`.
    """
    values = {
        "project": project.pk,
        "low": project.low_confidence,
        "most": QUEUE_AT_MOST + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_WAITING, values)
        rows = cursor.fetchall()
    counts = {queue: OpenCount(number, QUEUE_AT_MOST) for queue, number in rows}
    return {**counts, Queue.NEWEST: counts[Queue.PRIORITY]}


def confused_pairs(
    project: Project, labels: LabelSet, *, limit: int = 6
) -> list[Confusion]:
    """The pairs of intents that answers waver between most often, most first.

    Counts the first `_PAIRS_AMONG` questions of the priority queue whose margin is
    below `SMALL_MARGIN`, in either order. One query, bounded: some 20 ms.
    """
    values = {"project": project.pk, "among": _PAIRS_AMONG, "margin": SMALL_MARGIN}
    with connection.cursor() as cursor:
        cursor.execute(_PAIRS, values)
        rows = cursor.fetchall()
    counts: Counter[tuple[str, str]] = Counter()
    for first, second, count in rows:
        a, b = labels.current(first), labels.current(second)
        if a and b and a != b:
            counts[min(a, b), max(a, b)] += count
    return [
        Confusion(labels.intents[a], labels.intents[b], count)
        for (a, b), count in counts.most_common(limit)
    ]


def between(
    project: Project, labels: LabelSet, pairs: Sequence[tuple[Intent, Intent]]
) -> list[OpenCount]:
    """What the queue of each pair holds, counted up to `QUEUE_AT_MOST`. One query.

    An answer may name an intent by a code that it had once: the queue knows it, too.
    """
    if not pairs:
        return []
    codes: dict[str, list[str]] = {code: [code] for code in labels.intents}
    for old, code in labels.aliases.items():
        codes[code].append(old)
    values: list[Any] = []
    for nr, (a, b) in enumerate(pairs):
        either = codes[a.code] + codes[b.code]
        values += [nr, project.pk, either, either, QUEUE_AT_MOST + 1]
    with connection.cursor() as cursor:
        cursor.execute(" UNION ALL ".join([_BETWEEN] * len(pairs)), values)
        counts = dict(cursor.fetchall())
    return [OpenCount(counts[nr], QUEUE_AT_MOST) for nr in range(len(pairs))]
