"""Near-duplicates: questions that say the same, gathered around one of them.

The leader algorithm: a question joins the nearest leader that is near enough, or stays
one itself. A leader's `cluster` is empty, its members' names it. So a cluster is a ball
around its leader, and chains of small differences do not grow together.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from django.db import connection, transaction
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from labeling.models import Embedding, Question
from labeling.search import similar

THRESHOLD = 0.985
"""Cosine from which two questions count as the same one.

Measured with the default encoder on two public sets, 20,598 English questions of 150
intents and 13,756 Chinese ones of 60. Of all pairs above it 99.5 % and 97.1 % share
their intent, 98.8 % together; what is left in the Chinese set are mostly equal
questions with different gold. 11.3 % and 6.8 % of the questions join a leader, 99.4 %
and 96.0 % of them one of their own intent. At 0.98 16.4 % and 11.0 % would join, 99.4 %
and 94.6 % of them rightly.
"""

CHUNK = 200
"""Questions that are placed in one transaction (0.1 to 0.6 s)."""

_NEIGHBOURS = 10
_MAX_SCAN = 1_000
"""Questions that are looked at to find those: while many are still to be placed, most
of what is near is refused."""
_LOCK = 0x636C7573
"""First key of the advisory lock: "clus"; the second is the project."""

_NEAR_AMONG = """
    SELECT e.question_id, e.vector <=> a.vector AS distance
    FROM labeling_embedding e
    WHERE {among} AND e.project_id = %(project)s AND e.question_id <> a.question_id
        -- What is still to be placed leads nobody: it finds this one in its turn.
        -- A sub-select is hashed once; an array would be walked for each row.
        AND (e.question_id < a.question_id
            OR e.question_id NOT IN (SELECT unnest(%(later)s::bigint[])))
    ORDER BY e.vector <=> a.vector
    LIMIT %(limit)s
"""
_NEAR = f"""
SELECT a.question_id, n.question_id
FROM labeling_embedding a
CROSS JOIN LATERAL (
    ({_NEAR_AMONG.format(among="e.is_labelled")})
    UNION ALL
    ({_NEAR_AMONG.format(among="NOT e.is_labelled")})
) n
WHERE a.question_id = ANY(%(ids)s) AND a.project_id = %(project)s
    AND n.distance <= %(distance)s
"""  # noqa: S608 (constants of this module)

_JOIN = """
WITH locked AS MATERIALIZED (
    SELECT q.id, j.leader FROM labeling_question q
    JOIN unnest(%s::bigint[], %s::bigint[]) j (id, leader) ON j.id = q.id
    ORDER BY q.id FOR NO KEY UPDATE OF q)
UPDATE labeling_question q SET cluster_id = locked.leader
FROM locked WHERE locked.id = q.id AND q.cluster_id IS NULL
"""


def assign(project_id: int, question_ids: Collection[int]) -> int:
    """Has each of these questions join the cluster it belongs to, if there is one.

    Questions without a vector, in a cluster already, or leaders of one stay as they
    are, so it may be asked again. Test questions take part like others: what a label of
    one resolves is decided by who labels (`labeling.bulk`).

    Cost: one read, and per `CHUNK` four reads, one write and 0.3 to 3 ms a question.
    Safe twice at once: a chunk holds the project's advisory lock, not the questions.

    Args:
        project_id: The project.
        question_ids: Just stored questions, say.

    Returns:
        How many joined.
    """
    ids = _alone(project_id, question_ids)
    return sum(
        _assign(project_id, ids[start : start + CHUNK], ids[start + 1 :])
        for start in range(0, len(ids), CHUNK)
    )


def members(question: Question) -> QuerySet[Question]:
    """A question's cluster, itself among them; only itself where it has none."""
    leader = question.cluster_id or question.pk
    return Question.objects.filter(Q(pk=leader) | Q(cluster=leader))


def size(question: Question) -> int:
    """How many questions say the same, this one included. Cost: one indexed count."""
    leader = question.cluster_id or question.pk
    return Question.objects.filter(cluster=leader).count() + 1


def sizes(leader_ids: Collection[int]) -> dict[int, int]:
    """Sizes of clusters by their leader; those of one question are left out.

    Cost: one indexed statement.
    """
    rows = Question.objects.filter(cluster__in=leader_ids).values_list("cluster")
    return {
        leader: count + 1
        for leader, count in rows.annotate(count=Count("pk")).order_by()
        if leader is not None
    }


def _alone(project_id: int, question_ids: Collection[int]) -> list[int]:
    """Those that neither are in a cluster nor lead one, oldest first."""
    questions = Question.objects.filter(
        pk__in=question_ids, project=project_id, cluster=None
    )
    having = Question.objects.filter(cluster=OuterRef("pk"))
    found = questions.filter(~Exists(having)).order_by("pk")
    return list(found.values_list("pk", flat=True))


def _assign(project_id: int, ids: Sequence[int], later: Sequence[int]) -> int:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, project_id])
        near = _near(cursor, project_id, ids, later)
        leader_of, leaders = _leaders(near)
        vectors = _vectors({*near, *leader_of.values()})
        joined: dict[int, int] = {}
        for question in sorted(near):
            if question in leaders or leader_of.get(question) != question:
                continue
            candidates = {
                leader_of[other] for other in near[question] if other in leader_of
            }
            similarity, leader = max(
                # One that is deleted in this moment has no vector any more.
                ((_cosine(vectors, question, c), c) for c in candidates - {question}),
                default=(0.0, 0),
            )
            if similarity >= THRESHOLD:
                joined[question] = leader_of[question] = leader
                leaders.add(leader)
        if joined:
            cursor.execute(_JOIN, [list(joined), list(joined.values())])
        return len(joined)


def _near(
    cursor: Any, project_id: int, ids: Sequence[int], later: Sequence[int]
) -> dict[int, list[int]]:
    """The nearest questions above the threshold, of those that have any."""
    similar.set_up_search(max_scan=_MAX_SCAN)
    cursor.execute(
        _NEAR,
        {
            "project": project_id,
            "ids": list(ids),
            "later": list(later),
            "limit": _NEIGHBOURS,
            "distance": 1 - THRESHOLD,
        },
    )
    near: dict[int, list[int]] = defaultdict(list)
    for question, other in cursor.fetchall():
        near[question].append(other)
    return near


def _leaders(near: dict[int, list[int]]) -> tuple[dict[int, int], set[int]]:
    """Each question's leader (itself where it has none), and who has members."""
    ids = {*near, *(other for others in near.values() for other in others)}
    rows = Question.objects.filter(pk__in=ids).values_list("pk", "cluster_id")
    leader_of = {pk: cluster or pk for pk, cluster in rows}
    having = Question.objects.filter(cluster__in=ids).order_by()
    leaders = set(having.values_list("cluster", flat=True).distinct())
    return leader_of, {pk for pk in leaders if pk is not None}


def _cosine(vectors: dict[int, Any], one: int, other: int) -> float:
    if one not in vectors or other not in vectors:
        return 0.0
    return float(vectors[one] @ vectors[other])


def _vectors(ids: Collection[int]) -> dict[int, Any]:
    """Unit vectors (384,) by question."""
    rows = Embedding.objects.filter(pk__in=ids).values_list("pk", "vector")
    return {pk: np.array(vector, np.float32) for pk, vector in rows}
