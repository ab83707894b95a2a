"""Spreads the head of the queue: of questions that say alike things, one goes first.

The most promising open questions, twenty for each label of the next round, are grouped
by what they say, into as many groups as the round has labels. In each group they are
ranked; the priority of the n-th is divided by n. So the head of the queue goes once
through everything that the version wavers at before it asks a second time. Where no
version has answered yet the ones nearest to their group's centre come first: with few
labels typical questions teach more than odd ones.

Source: Zhdanov, "Diverse mini-batch Active Learning", 2019 (k-means over the most
uncertain); Hacohen, Dekel, Weinshall, "Active Learning on a Budget: Opposite Strategies
Suit High and Low Budgets", 2022 (typical ones first).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db import connection

from labeling.ranking.priority import OWN_SCORE, RAISED, UNRANKED, need_sql, score_sql

Floats = npt.NDArray[np.floating[Any]]

PER_LABEL = 20
"""Questions that are compared for each label of the next round."""

MOST_COMPARED = 5_000
MOST_GROUPS = 500

DUPLICATE = 0.05
"""Diversity of a near-duplicate of a more promising question."""

_PASSES = 10
"""Of k-means; its groups need not be perfect."""

_BASE = score_sql(
    margin="q.margin",
    occurrences="q.occurrences",
    method="q.method",
    need=need_sql(project="q.project_id", predicted="q.predicted"),
)

# Where all are alike, the text's hash is what makes the choice a fair sample. The
# vectors are read for the chosen alone, and as bytes: as text they take a hundred
# times as long.
_HEAD = f"""
WITH head AS (
    SELECT q.id, {_BASE} AS base, coalesce(q.cluster_id, q.id) AS cluster
    FROM labeling_question q
    WHERE q.project_id = %(project)s AND q.state = 'open' AND q.split <> 'test'
        AND EXISTS (SELECT 1 FROM labeling_embedding e WHERE e.question_id = q.id)
    ORDER BY base DESC, q.text_hash LIMIT %(limit)s)
SELECT head.id, head.base, head.cluster, halfvec_send(e.vector)
FROM head JOIN labeling_embedding e ON e.question_id = head.id
ORDER BY head.base DESC, head.id
"""  # noqa: S608 (constants of this project only)

# The head of last time is found by its factor: all others have `UNRANKED`.
_KEEP = f"""
WITH wanted AS (
    SELECT id, factor
    FROM unnest(%(ids)s::bigint[], %(factors)s::float8[]) AS ranked (id, factor)
    UNION ALL
    (SELECT q.id, {UNRANKED}::float8 FROM labeling_question q
    WHERE q.project_id = %(project)s AND q.state = 'open'
        AND q.diversity <> {UNRANKED} AND q.id <> ALL(%(ids)s::bigint[])
    LIMIT {4 * MOST_COMPARED})
), held AS (
    SELECT q.id, wanted.factor
    FROM labeling_question q JOIN wanted ON wanted.id = q.id
    WHERE q.state = 'open' AND q.diversity <> wanted.factor
    ORDER BY q.id FOR NO KEY UPDATE OF q SKIP LOCKED
)
UPDATE labeling_question q SET diversity = held.factor,
    priority = CASE WHEN q.priority >= {RAISED} THEN q.priority
        ELSE {OWN_SCORE.replace("q.diversity", "held.factor")} END
FROM held WHERE q.id = held.id
"""  # noqa: S608


def renew(project_id: int, *, round_size: int) -> int:
    """Ranks the head of a project's queue anew; returns how many factors changed.

    Args:
        project_id: Whose queue.
        round_size: Labels until the next training.

    Cost: one pass over the open questions and at most 5,000 vectors: a second at a
    million. Two statements; waits for nobody's row.
    """
    groups = max(2, min(round_size, MOST_GROUPS))
    limit = min(PER_LABEL * groups, MOST_COMPARED)
    with connection.cursor() as cursor:
        cursor.execute(_HEAD, {"project": project_id, "limit": limit})
        rows = cursor.fetchall()
        ids = [row[0] for row in rows]
        result = factors(
            vectors=np.array([_floats(row[3]) for row in rows], np.float32),
            base=np.array([row[1] for row in rows]),
            clusters=[row[2] for row in rows],
            groups=groups,
        )
        cursor.execute(
            _KEEP, {"project": project_id, "ids": ids, "factors": result.tolist()}
        )
        return int(cursor.rowcount)


def factors(
    *, vectors: Floats, base: Floats, clusters: Sequence[int], groups: int
) -> Floats:
    """The factor of each question, 0 to 1.

    Args:
        vectors: (N, D), unit length.
        base: (N,), the priority but for this factor, falling.
        clusters: Of near-duplicates; the first of each stands for all.
        groups: How many groups to make.
    """
    result = np.full(len(base), DUPLICATE)
    _seen, first = np.unique(np.asarray(clusters, np.int64), return_index=True)
    first.sort()
    if not len(first):
        return result
    rank = _ranks(vectors[first], base[first], groups)
    result[first] = np.maximum(1.0 / rank, UNRANKED)
    return result


def _ranks(vectors: Floats, base: Floats, groups: int) -> Floats:
    """Rank from 1 in one's group: by `base`, then by nearness to the centre."""
    # Encoders put all questions into a narrow cone: seen from its middle they differ.
    x = vectors - vectors.mean(axis=0)
    x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-9)
    group, nearness = _group(x, min(groups, len(x)))
    order = np.lexsort((-nearness, -base, group))
    sorted_group = group[order]
    start = np.flatnonzero(np.r_[True, sorted_group[1:] != sorted_group[:-1]])
    sizes = np.diff(np.r_[start, len(order)])
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order)) - np.repeat(start, sizes) + 1
    return rank


def _group(x: Floats, k: int) -> tuple[npt.NDArray[np.intp], Floats]:
    """k-means of unit vectors (N, D): each one's group and nearness to its centre.

    The same vectors always give the same groups, so that nothing changes where nothing
    has changed.

    Source: Arthur and Vassilvitskii, "k-means++", 2007, for the beginning.
    """
    random = np.random.default_rng(len(x))
    centres = np.empty((k, x.shape[1]), x.dtype)
    centres[0] = x[0]
    distance = np.full(len(x), np.inf)
    for n in range(1, k):
        distance = np.minimum(distance, np.maximum(0.0, 2.0 - 2.0 * x @ centres[n - 1]))
        total = distance.sum()
        p = distance / total if total > 0 else None
        centres[n] = x[random.choice(len(x), p=p)]
    for _pass in range(_PASSES):
        likeness = x @ centres.T  # (N, k)
        # Nearest by distance: centres of wide groups are shorter than 1.
        group = np.argmax(likeness - (centres**2).sum(axis=1) / 2, axis=1)
        count = np.bincount(group, minlength=k)
        sums = np.zeros_like(centres)
        np.add.at(sums, group, x)
        kept = count > 0
        centres[kept] = sums[kept] / count[kept, None]
    own = centres[group]
    return group, -((x - own) ** 2).sum(axis=1)


def _floats(sent: bytes) -> npt.NDArray[np.float32]:
    """pgvector's binary form: two 16-bit numbers, then the big-endian half floats."""
    return np.frombuffer(sent, ">f2", offset=4).astype(np.float32)
