"""Questions that client apps asked, written down with their answers."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import orjson
from django.db import connection

from labeling.models import Project
from labeling.normalise import split_point, text_hash
from labeling.ranking.priority import RAISED, UNRANKED, need_sql, score_sql

GOLD = "gold"
"""Method of an answer that is the gold label of exactly this text."""


class Asked(NamedTuple):
    """A text that was asked once, and what it was answered."""

    project_id: int
    text: str
    """A text without a `text_problem`."""
    intents: Sequence[Mapping[str, object]]
    """The answer, best first: `[{"code": …, "confidence": …}]`; more keys are left."""
    confidence: float | None
    """Of the best intent, 0 to 1."""
    margin: float | None
    """Best minus second best."""
    method: str
    """How the answer came about."""
    version: str
    """Number of the version that answered; "" for rules alone."""
    at: datetime
    trace: Mapping[str, object] | None = None
    """What each side said, see `Question.trace`."""
    is_conflict: bool = False
    """The best rule and the model named different intents."""


# The split is decided here and not in Python, because the project's shares would cost
# a query of their own; so is the need of the intent that was answered. Rows that are
# there are locked in the order in which everybody locks questions, new ones in the
# order of their hashes, so that no two who write at once ever wait for each other. One
# JSON document instead of an array a column: the client writes it in a tenth of the
# time.
_LOG = f"""
WITH a AS MATERIALIZED (
    SELECT * FROM json_to_recordset(%s) AS a (
        project_id bigint, text text, hash text, point float8, times int,
        first_seen timestamptz, last_seen timestamptz, predicted jsonb,
        confidence float8, margin float8, method text, version text, trace jsonb,
        is_conflict bool)
), held AS MATERIALIZED (
    SELECT q.id FROM labeling_question q
    JOIN a ON q.project_id = a.project_id AND q.text_hash = a.hash
    ORDER BY q.id FOR NO KEY UPDATE OF q)
INSERT INTO labeling_question AS q (
    project_id, text, text_hash, occurrences, first_seen, last_seen, origin, state,
    split, trained_in, predicted, confidence, margin, method, predicted_by, trace,
    is_conflict, diversity, priority)
SELECT p.id, a.text, a.hash, a.times, a.first_seen, a.last_seen, 'asked', 'open',
    CASE WHEN a.point < p.test_share THEN 'test'
         WHEN a.point < p.test_share + p.validation_share THEN 'validation'
         ELSE 'train' END,
    '', a.predicted, a.confidence, a.margin, a.method, a.version, a.trace,
    a.is_conflict, {UNRANKED},
    {
    score_sql(
        margin="a.margin",
        occurrences="a.times",
        method="a.method",
        diversity=str(UNRANKED),
        need=need_sql(project="p.id", predicted="a.predicted"),
    )
}
FROM a JOIN labeling_project p ON p.id = a.project_id
WHERE (SELECT count(*) FROM held) >= 0  -- first of all
ORDER BY p.id, a.hash
ON CONFLICT (project_id, text_hash) DO UPDATE SET
    occurrences = q.occurrences + excluded.occurrences,
    first_seen = least(q.first_seen, excluded.first_seen),
    last_seen = greatest(q.last_seen, excluded.last_seen),
    (predicted, confidence, margin, method, predicted_by, trace, is_conflict, priority)
    = (SELECT
        CASE WHEN is_taken THEN excluded.predicted ELSE q.predicted END,
        CASE WHEN is_taken THEN excluded.confidence ELSE q.confidence END,
        CASE WHEN is_taken THEN excluded.margin ELSE q.margin END,
        CASE WHEN is_taken THEN excluded.method ELSE q.method END,
        CASE WHEN is_taken THEN excluded.predicted_by ELSE q.predicted_by END,
        CASE WHEN is_taken THEN excluded.trace ELSE q.trace END,
        CASE WHEN is_taken THEN excluded.is_conflict ELSE q.is_conflict END,
        CASE WHEN NOT is_taken OR q.state = 'disputed' OR q.priority >= {RAISED}
            THEN q.priority
            ELSE {
    score_sql(
        margin="excluded.margin",
        occurrences="(q.occurrences + excluded.occurrences)",
        method="excluded.method",
        diversity="q.diversity",
        need=need_sql(project="q.project_id", predicted="excluded.predicted"),
    )
} END
        -- Not by a gold label, and not older than what is there.
        FROM (SELECT excluded.predicted IS NOT NULL AND (
            q.predicted IS NULL OR excluded.last_seen >= q.last_seen) AS is_taken) x)
RETURNING q.project_id, q.text_hash, q.id"""  # noqa: S608


def log_questions(asked: Sequence[Asked]) -> list[int | None]:
    """Counts questions that were asked and keeps the latest answer of each.

    A text that is there already, in any spelling that `normalise` makes equal, is
    counted on its row: the text, the state and the labels stay as they are. An answer
    by exactly this text's gold label is no prediction: the one of before stays, and so
    it does where the question was asked again since.

    Returns:
        The question's id for each; None where its project is gone.

    Cost: one statement; about 0.1 ms a text. Concurrent calls for one text queue on its
    row.
    """
    keys = [(one.project_id, text_hash(one.text)) for one in asked]
    rows = _aggregate(keys, asked)
    with connection.cursor() as cursor:
        cursor.execute(_LOG, [orjson.dumps(rows, option=_OPTIONS).decode()])
        ids = {(project_id, hash_): pk for project_id, hash_, pk in cursor.fetchall()}
    return [ids.get(key) for key in keys]


_OPTIONS = orjson.OPT_SERIALIZE_NUMPY


def _aggregate(
    keys: Iterable[tuple[int, str]], asked: Iterable[Asked]
) -> list[dict[str, Any]]:
    """One row a text: how often, from when to when, and the latest answer."""
    rows: dict[tuple[int, str], dict[str, Any]] = {}
    answered: dict[tuple[int, str], datetime] = {}
    for key, one in zip(keys, asked, strict=True):
        row = rows.get(key)
        if row is None:
            project_id, hash_ = key
            row = rows[key] = {
                "project_id": project_id,
                "text": one.text.strip(),
                "hash": hash_,
                "point": split_point(hash_),
                "times": 0,
                "first_seen": one.at,
                "last_seen": one.at,
                "predicted": None,
                "method": "",
                "version": "",
                "is_conflict": one.is_conflict,
            }
        row["times"] += 1
        row["first_seen"] = min(row["first_seen"], one.at)
        row["last_seen"] = max(row["last_seen"], one.at)
        if one.method != GOLD and answered.get(key, one.at) <= one.at:
            answered[key] = one.at
            row |= {
                "predicted": [
                    {"code": i["code"], "confidence": i["confidence"]}
                    for i in one.intents
                ],
                "confidence": one.confidence,
                "margin": one.margin,
                "method": one.method,
                "version": one.version,
                "trace": one.trace,
                "is_conflict": one.is_conflict,
            }
    return list(rows.values())


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
    """Counts a question that was asked once, see `log_questions` and `Asked`.

    Returns:
        The question's id.

    Raises:
        Project.DoesNotExist: There is no such project.

    Cost: one statement.
    """
    asked = Asked(
        project_id,
        text,
        intents,
        confidence,
        margin,
        method,
        version,
        at,
        trace,
        is_conflict,
    )
    (pk,) = log_questions([asked])
    if pk is None:
        raise Project.DoesNotExist(f"no project {project_id}")
    return pk
