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


def insert_new(lines: Sequence[Line], *, may_be_there: bool) -> list[Line]:
    """Like `insert`, but leaves out what is in the log already.

    Args:
        lines: Answers, of which one may stand there twice.
        may_be_there: Look first; otherwise only where an insert fails.

    Returns:
        Lines whose request id belongs to another answer: those are written nowhere.

    Cost: as `insert`, and one query to look.
    """
    if not may_be_there:
        try:
            insert(lines)
            return []
        except RequestIdTaken:
            pass
    # What another process writes between query and insert, the next round finds.
    for _attempt in range(_ATTEMPTS):
        known = _known(lines)
        new: list[Line] = []
        taken: list[Line] = []
        for line in lines:
            same = (line.project_id, line.text)
            there = known.setdefault(UUID(line.request_id), same)
            if there is same:
                new.append(line)
            elif there != same:
                taken.append(line)
        try:
            insert(new)
            return taken
        except RequestIdTaken:
            continue
    raise RequestIdTaken


def _known(lines: Iterable[Line]) -> dict[UUID, tuple[int, str]]:
    ids = [UUID(line.request_id) for line in lines]
    rows = ClassificationLog.objects.filter(request_id__in=ids)
    return {
        request_id: (project_id, text)
        for request_id, project_id, text in rows.values_list(
            "request_id", "project_id", "text"
        )
    }


def find(request_ids: Iterable[UUID]) -> dict[UUID, Line]:
    """What the log holds under these ids, but for what questions keep. One query."""
    rows = ClassificationLog.objects.filter(request_id__in=list(request_ids))
    return {row.request_id: _line(row) for row in rows.defer("scores")}


def _line(row: ClassificationLog) -> Line:
    return Line(
        request_id=str(row.request_id),
        project_id=row.project_id,
        client_id=row.client_id,
        at=row.created_at,
        text=row.text,
        intents=row.intents,
        confidence=row.confidence,
        margin=0.0,
        method=row.method,
        version=row.version,
        needs_review=row.needs_review,
        degraded=row.degraded,
        truncated=row.truncated,
        latency_ms=row.latency_ms,
    )


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
