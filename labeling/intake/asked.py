"""A question that a client app asked, written down with its answer."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import connection
from psycopg.types.json import Jsonb

from labeling.models import Project
from labeling.normalise import split_point, text_hash
from labeling.priority import RAISED, score_sql

# The split is decided here and not in Python, because the project's shares would cost
# a query of their own.
_UPSERT = f"""
INSERT INTO labeling_question AS q (
    project_id, text, text_hash, occurrences, first_seen, last_seen, origin, state,
    split, trained_in, predicted, confidence, margin, method, predicted_by, priority)
SELECT p.id, %(text)s, %(hash)s, 1, %(at)s, %(at)s, 'asked', 'open',
    CASE WHEN %(point)s < p.test_share THEN 'test'
         WHEN %(point)s < p.test_share + p.validation_share THEN 'validation'
         ELSE 'train' END,
    '', %(predicted)s, %(confidence)s, %(margin)s, %(method)s, %(version)s,
    {score_sql(confidence="%(confidence)s::float8", occurrences="1")}
FROM labeling_project p WHERE p.id = %(project)s
ON CONFLICT (project_id, text_hash) DO UPDATE SET
    occurrences = q.occurrences + 1,
    last_seen = greatest(q.last_seen, excluded.last_seen),
    predicted = excluded.predicted,
    confidence = excluded.confidence,
    margin = excluded.margin,
    method = excluded.method,
    predicted_by = excluded.predicted_by,
    priority = CASE WHEN q.priority >= {RAISED} THEN q.priority ELSE {
    score_sql(confidence="excluded.confidence", occurrences="(q.occurrences + 1)")
} END
RETURNING q.id
"""  # noqa: S608 (constants of this project only)


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
) -> int:
    """Counts a question that was asked and keeps its latest answer.

    A text that is there already, in any spelling that `normalise` makes equal, is
    counted on its row: the text, the state and the labels stay as they are.

    Args:
        project_id: Whose question it is.
        text: A text without a `text_problem`.
        intents: The answer, best first: `[{"code": …, "confidence": …}]`.
        confidence: Of the best intent, 0 to 1.
        margin: Best minus second best.
        method: How the answer came about.
        version: Number of the version that answered; "" for rules alone.
        at: When it was asked.

    Returns:
        The question's id.

    Raises:
        Project.DoesNotExist: There is no such project.

    Cost: one statement. Concurrent calls for one text queue on its row.
    """
    hash_ = text_hash(text)
    values: dict[str, Any] = {
        "project": project_id,
        "text": text.strip(),
        "hash": hash_,
        "point": split_point(hash_),
        "predicted": Jsonb(list(intents)),
        "confidence": confidence,
        "margin": margin,
        "method": method,
        "version": version,
        "at": at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, values)
        row = cursor.fetchone()
    if row is None:
        raise Project.DoesNotExist(f"no project {project_id}")
    return int(row[0])
