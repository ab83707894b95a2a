"""A question that a client app asked, written down with its answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from labeling.models import Project
from labeling.normalise import split_point, text_hash
from labeling.ranking.priority import RAISED, UNRANKED, need_sql, score_sql

GOLD = "gold"
"""Method of an answer that is the gold label of exactly this text."""

# The split is decided here and not in Python, because the project's shares would cost
# a query of their own; so is the need of the intent that was answered.
_INSERT = f"""
INSERT INTO labeling_question AS q (
    project_id, text, text_hash, occurrences, first_seen, last_seen, origin, state,
    split, trained_in, predicted, confidence, margin, method, predicted_by, trace,
    is_conflict, diversity, priority)
SELECT p.id, %(text)s, %(hash)s, 1, %(at)s, %(at)s, 'asked', 'open',
    CASE WHEN %(point)s < p.test_share THEN 'test'
         WHEN %(point)s < p.test_share + p.validation_share THEN 'validation'
         ELSE 'train' END,
    '', %(predicted)s, %(confidence)s, %(margin)s, %(method)s, %(version)s, %(trace)s,
    %(is_conflict)s, {UNRANKED},
    {
    score_sql(
        margin="%(margin)s::float8",
        occurrences="1",
        diversity=str(UNRANKED),
        need=need_sql(project="p.id", predicted="%(predicted)s::jsonb"),
    )
}
FROM labeling_project p WHERE p.id = %(project)s
ON CONFLICT (project_id, text_hash) DO UPDATE SET
    occurrences = q.occurrences + 1,
    last_seen = greatest(q.last_seen, excluded.last_seen)"""  # noqa: S608

_TAKE_ANSWER = f""",
    predicted = excluded.predicted,
    confidence = excluded.confidence,
    margin = excluded.margin,
    method = excluded.method,
    predicted_by = excluded.predicted_by,
    trace = excluded.trace,
    is_conflict = excluded.is_conflict,
    priority = CASE WHEN q.state = 'disputed' OR q.priority >= {RAISED} THEN q.priority
        ELSE {
    score_sql(
        margin="excluded.margin",
        occurrences="(q.occurrences + 1)",
        diversity="q.diversity",
        need=need_sql(project="q.project_id", predicted="excluded.predicted"),
    )
} END"""

_RETURNING = "\nRETURNING q.id"

_LOG_ANSWER = _INSERT + _TAKE_ANSWER + _RETURNING
_LOG_GOLD = _INSERT + _RETURNING


def log_question(
    project_id: int,
    text: str,
    *,
    intents: Sequence[Mapping[str, object]],
    confidence: float | None,
    margin: float | None,
    method: str,
    version: str,
    at: datetime,
    trace: Mapping[str, object] | None = None,
    is_conflict: bool = False,
) -> int:
    """Counts a question that was asked and keeps its latest answer.

    A text that is there already, in any spelling that `normalise` makes equal, is
    counted on its row: the text, the state and the labels stay as they are. An answer
    by exactly this text's gold label is no prediction: the one of before stays.

    Args:
        project_id: Whose question it is.
        text: A text without a `text_problem`.
        intents: The answer, best first: `[{"code": …, "confidence": …}]`.
        confidence: Of the best intent, 0 to 1.
        margin: Best minus second best.
        method: How the answer came about.
        version: Number of the version that answered; "" for rules alone.
        at: When it was asked.
        trace: What each side said, see `Question.trace`.
        is_conflict: The best rule and the model named different intents.

    Returns:
        The question's id.

    Raises:
        Project.DoesNotExist: There is no such project.

    Cost: one statement. Concurrent calls for one text queue on its row.
    """
    hash_ = text_hash(text)
    by_gold = method == GOLD
    values: dict[str, Any] = {
        "project": project_id,
        "text": text.strip(),
        "hash": hash_,
        "point": split_point(hash_),
        "predicted": None if by_gold else Jsonb(list(intents)),
        "confidence": None if by_gold else confidence,
        "margin": None if by_gold else margin,
        "method": "" if by_gold else method,
        "version": "" if by_gold else version,
        "at": at,
        "trace": None if trace is None else Jsonb(trace),
        "is_conflict": is_conflict,
    }
    with connection.cursor() as cursor:
        cursor.execute(_LOG_GOLD if by_gold else _LOG_ANSWER, values)
        row = cursor.fetchone()
    if row is None:
        raise Project.DoesNotExist(f"no project {project_id}")
    return int(row[0])
