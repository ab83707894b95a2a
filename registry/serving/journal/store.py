"""Answers into the database: questions counted and log rows written, each once."""

from collections.abc import Iterable, Sequence
from uuid import UUID

import orjson
from django.db import connection, transaction

from labeling.intake import Asked, log_questions
from registry.models import ClassificationLog
from registry.serving.journal.entry import Line

# By hand: with each question, and the ORM takes longer to write it than it runs.
_INSERT = """
INSERT INTO registry_classificationlog (
    request_id, project_id, question_id, text, intents, confidence, method, version,
    needs_review, degraded, truncated, latency_ms, scores, client_id, created_at)
SELECT * FROM json_to_recordset(%s) AS line (
    request_id uuid, project_id bigint, question_id bigint, text text, intents jsonb,
    confidence float8, method text, version text, needs_review bool, degraded bool,
    truncated bool, latency_ms float8, scores jsonb, client_id bigint,
    created_at timestamptz)
ON CONFLICT (request_id) DO NOTHING"""

_LOGGED = (
    *("request_id", "project_id", "client_id", "created_at", "text", "intents"),
    *("confidence", "method", "version", "needs_review", "degraded", "truncated"),
    "latency_ms",
)

_ATTEMPTS = 5


class RequestIdTaken(Exception):
    """The client's request id is that of an earlier request."""


def insert(lines: Sequence[Line]) -> int:
    """Logs answers and counts their questions, all or none.

    Lines of projects that are gone are left out.

    Returns:
        How many were written.

    Raises:
        RequestIdTaken: One's request id is in the log already; nothing was written.

    Cost: two statements in the caller's transaction, or in one of its own.
    """
    if not lines:
        return 0
    with transaction.atomic():
        question_ids = log_questions([_asked(line) for line in lines])
        rows = [
            {
                "request_id": line.request_id,
                "project_id": line.project_id,
                "question_id": question_id,
                "text": line.text,
                "intents": line.intents,
                "confidence": line.confidence,
                "method": line.method,
                "version": line.version,
                "needs_review": line.needs_review,
                "degraded": line.degraded,
                "truncated": line.truncated,
                "latency_ms": line.latency_ms,
                "scores": line.scores,
                "client_id": line.client_id,
                "created_at": line.at,
            }
            for line, question_id in zip(lines, question_ids, strict=True)
            if question_id is not None
        ]
        if rows:
            document = orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY).decode()
            with connection.cursor() as cursor:
                cursor.execute(_INSERT, [document])
                if cursor.rowcount != len(rows):
                    raise RequestIdTaken
    return len(rows)


def insert_new(lines: Sequence[Line]) -> list[Line]:
    """Like `insert`, but leaves out what is in the log already.

    Returns:
        Lines whose request id belongs to another answer: those are written nowhere.

    Cost: as `insert`; where something is in the log, one try and one query more.
    """
    try:
        insert(lines)
        return []
    except RequestIdTaken:
        pass
    # Some were written just before a process or a connection was lost. What another
    # process writes between the query and the next try, the next round finds.
    for _attempt in range(_ATTEMPTS):
        unwritten: dict[str, Line] = {}
        taken = []
        logged = find(UUID(line.request_id) for line in lines)
        for line in lines:
            there = logged.get(UUID(line.request_id), unwritten.get(line.request_id))
            if there is None:
                unwritten[line.request_id] = line
            elif (there.project_id, there.text) != (line.project_id, line.text):
                taken.append(line)
        try:
            insert(list(unwritten.values()))
            return taken
        except RequestIdTaken:
            continue
    raise RequestIdTaken


def find(request_ids: Iterable[UUID]) -> dict[UUID, Line]:
    """What the log holds under these ids. One query."""
    rows = ClassificationLog.objects.filter(request_id__in=list(request_ids))
    return {
        row[0]: Line(str(row[0]), *row[1:7], 0.0, *row[7:])
        for row in rows.values_list(*_LOGGED)
    }


def _asked(line: Line) -> Asked:
    return Asked(
        line.project_id,
        line.text,
        line.intents,
        line.confidence,
        line.margin,
        line.method,
        line.version,
        line.at,
        line.trace,
        line.is_conflict,
    )
