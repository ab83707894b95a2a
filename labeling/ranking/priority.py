"""Which open question to label first, as one formula in Python and in SQL.

    priority = traffic * error * diversity * need * doubt

    traffic   = ln(2 + occurrences) / ln 3    1 for a question asked once, 6 for a
                thousand times: what is asked often matters more, but a hundred
                spellings of one thing still teach less than two things.
    error     = 1 - margin, the margin being the best intent's confidence minus the
                second best's; 1/2 where nobody has answered yet: below what the
                version wavers at, above what it is sure of.
    diversity = 1 / rank among the most promising questions that say alike things, see
                `labeling.ranking.diversity`; `UNRANKED` for all others.
    need      = above 1 where the answered intent has few labels, below where it has
                many, see `intent_need`.
    doubt     = `LLM_DOUBT` where the language model answered: neither rules nor model
                knew better, nobody measures how right it is, and each time that the
                question is asked may cost a call. 1 otherwise.

All factors grow with the wish to label; each one is 1 where it has nothing to say, so
the formula holds from the first five questions on.

Source: margin sampling: Scheffer, Decomain, Wrobel, "Active Hidden Markov Models for
Information Extraction", 2001. Traffic as a damped weight on uncertainty: Settles and
Craven, "An Analysis of Active Learning Strategies for Sequence Labeling Tasks", 2008
(information density). Diversity among the most uncertain: Zhdanov, "Diverse mini-batch
Active Learning", 2019; Citovsky et al., "Batch Active Learning at Scale", 2021.
"""

import math
from collections.abc import Mapping, Sequence

from django.db import connection

RAISED = 100.0
"""Priority of a question that a client called answered wrong. Above every score, which
end below 98, and kept until it is labelled, however sure later answers are."""

UNRANKED = 0.1
"""Diversity of a question that was not compared with others, or stands behind many."""

UNKNOWN_ERROR = 0.5
"""Chance of error of a question that nobody has answered."""

LEAST_NEED, MOST_NEED = 0.5, 2.0

LLM = "llm"
"""Method of an answer that the language model gave."""
LLM_DOUBT = 2.5

CHUNK = 5_000
"""Questions whose priority one statement renews: under half a second of row locks."""

_NEGLIGIBLE = 0.01
"""A priority that would change by less, relatively, is left alone: every write of it
is a write to each index of the question's row."""


def score(
    *,
    margin: float | None,
    occurrences: int,
    diversity: float = 1.0,
    need: float = 1.0,
    method: str = "",
) -> float:
    """The priority of a question; higher is sooner.

    Args:
        margin: Of the latest answer, 0 to 1; None where there is none.
        occurrences: How often it was asked, 0 or more.
        diversity: 0 to 1.
        need: Of the intent that was answered.
        method: How the latest answer came about.
    """
    traffic = math.log(2.0 + occurrences) / math.log(3.0)
    error = UNKNOWN_ERROR if margin is None else 1.0 - margin
    doubt = LLM_DOUBT if method == LLM else 1.0
    return traffic * error * diversity * need * doubt


def score_sql(
    *,
    margin: str,
    occurrences: str,
    method: str,
    diversity: str = "1.0",
    need: str = "1.0",
) -> str:
    """`score` as SQL over SQL expressions; equal but for the last bit."""
    return (
        f"(ln(2.0::float8 + {occurrences}) / ln(3.0::float8)"
        f" * coalesce(1.0::float8 - {margin}, {UNKNOWN_ERROR}::float8)"
        f" * {diversity}::float8 * {need}::float8"
        f" * CASE WHEN {method} = '{LLM}' THEN {LLM_DOUBT}::float8 ELSE 1.0 END)"
    )


def need_sql(*, project: str, predicted: str) -> str:
    """The need of the intent that an answer names first, as SQL; 1 without one."""
    return (
        "coalesce((SELECT i.need FROM labeling_intent i"  # noqa: S608
        f" WHERE i.project_id = {project} AND i.code = {predicted} -> 0 ->> 'code'),"
        " 1.0)"
    )


OWN_SCORE = score_sql(
    margin="q.margin",
    occurrences="q.occurrences",
    method="q.method",
    diversity="q.diversity",
    need=need_sql(project="q.project_id", predicted="q.predicted"),
)
"""`score` of a row `labeling_question q`, as SQL."""


def recompute(project_id: int, question_ids: Sequence[int]) -> int:
    """Renews the priority of these questions, as far as they are open.

    Raised ones stay raised. For who opens questions again, or changes what the formula
    reads. Waits for nobody: a row that somebody else holds is left out, since whoever
    holds it writes the priority or takes the question away.

    Returns:
        How many priorities changed. One statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RECOMPUTE, {"project": project_id, "ids": list(question_ids)})
        return int(cursor.rowcount)


_RECOMPUTE = f"""
WITH held AS (
    SELECT q.id FROM labeling_question q
    WHERE q.project_id = %(project)s AND q.id = ANY(%(ids)s)
        AND q.state = 'open' AND q.priority < {RAISED}
        AND q.priority IS DISTINCT FROM {OWN_SCORE}
    ORDER BY q.id FOR NO KEY UPDATE SKIP LOCKED)
UPDATE labeling_question q SET priority = {OWN_SCORE}
FROM held WHERE q.id = held.id
"""  # noqa: S608 (constants of this project only)


def recompute_below(project_id: int, below: int | None) -> tuple[int, int | None]:
    """Renews the priorities of the next `CHUNK` open questions, the newest first.

    Args:
        project_id: Whose questions.
        below: Where the chunk before ended; None to begin.

    Returns:
        How many priorities changed, and where the chunk ended; None at the end.

    Cost: one statement, one commit; changes below one per cent are not written.
    """
    with connection.cursor() as cursor:
        cursor.execute(_RECOMPUTE_BELOW, {"project": project_id, "below": below})
        row = cursor.fetchone()
    assert row is not None
    changed, seen, last = row
    return int(changed), last if seen == CHUNK else None


_RECOMPUTE_BELOW = f"""
WITH chunk AS (
    SELECT q.id, q.priority, {OWN_SCORE} AS fresh FROM labeling_question q
    WHERE q.project_id = %(project)s AND q.state = 'open'
        AND (%(below)s::bigint IS NULL OR q.id < %(below)s::bigint)
    ORDER BY q.id DESC LIMIT {CHUNK}
), held AS (
    SELECT q.id FROM labeling_question q JOIN chunk ON chunk.id = q.id
    WHERE q.state = 'open' AND q.priority < {RAISED}
        AND abs(chunk.fresh - chunk.priority) > {_NEGLIGIBLE} * chunk.priority
    ORDER BY q.id FOR NO KEY UPDATE OF q SKIP LOCKED
), changed AS (
    UPDATE labeling_question q SET priority = {OWN_SCORE}
    FROM held WHERE q.id = held.id RETURNING q.id)
SELECT (SELECT count(*) FROM changed), count(*), min(id) FROM chunk
"""  # noqa: S608


def intent_need(labels: Mapping[int, int]) -> dict[int, float]:
    """How much each intent needs labels: the square root of mean over own count.

    Counts are smoothed by five, so that few labels say little; the result is rounded
    to tenths, so that a label more seldom moves a million priorities.

    Args:
        labels: Number of labels by intent, for all intents in use.
    """
    if not labels:
        return {}
    mean = sum(labels.values()) / len(labels)
    return {
        intent: round(
            min(MOST_NEED, max(LEAST_NEED, math.sqrt((mean + 5.0) / (n + 5.0)))), 1
        )
        for intent, n in labels.items()
    }


def renew_need(project_id: int) -> int:
    """Counts the labels that training may use and keeps each intent's need.

    Returns:
        How many intents' need changed.

    Cost: two statements, one pass over the project's gold labels.
    """
    with connection.cursor() as cursor:
        cursor.execute(_COUNT_LABELS, {"project": project_id})
        need = intent_need(dict(cursor.fetchall()))
        cursor.execute(_KEEP_NEED, {"ids": list(need), "need": list(need.values())})
        return int(cursor.rowcount)


_COUNT_LABELS = """
SELECT i.id, count(q.id)
FROM labeling_intent i
LEFT JOIN labeling_goldlabel g ON g.intent_id = i.id
LEFT JOIN labeling_question q
    ON q.id = g.question_id AND q.state = 'labelled' AND q.split <> 'test'
WHERE i.project_id = %(project)s AND i.retired_at IS NULL
GROUP BY i.id
"""

_KEEP_NEED = """
WITH held AS (
    SELECT i.id, counted.need
    FROM labeling_intent i
    JOIN unnest(%(ids)s::bigint[], %(need)s::float8[]) AS counted (id, need)
        ON counted.id = i.id
    WHERE i.need <> counted.need
    ORDER BY i.id FOR NO KEY UPDATE OF i)
UPDATE labeling_intent i SET need = held.need FROM held WHERE held.id = i.id
"""
