"""Answers are written down before they are given: none lost, none doubled."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from psycopg.types.json import Jsonb

from labeling.intake import log_question
from labeling.models import ApiKey, Project
from labeling.normalise import text_hash
from registry.models import ClassificationLog
from registry.serving import hits
from registry.serving.engine import Answer
from registry.serving.fusion import Method

# By hand: with each question, and the ORM takes longer to write it than it runs.
_COLUMNS = (
    *("request_id", "project_id", "question_id", "text", "intents", "confidence"),
    *("method", "version", "needs_review", "degraded", "truncated", "latency_ms"),
    *("client_id", "created_at"),
)
_INSERT = f"INSERT INTO registry_classificationlog ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608
_VALUES = f"({', '.join(['%s'] * len(_COLUMNS))})"


class RequestIdTaken(Exception):
    """The client's request id is that of an earlier request."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered text."""

    request_id: UUID
    answer: Answer
    latency_ms: float


def record(
    project: Project,
    entries: Sequence[Entry],
    *,
    client: ApiKey | None,
    at: datetime,
) -> None:
    """Logs answers and counts their questions, all or none; durable when it returns.

    Args:
        project: Whose questions they are.
        entries: One a text.
        client: The key that asked.
        at: When the request came.

    Raises:
        RequestIdTaken: A request id is in the log already; nothing was written.

    Cost: one statement a text, one for all log rows, one commit.
    """
    try:
        with transaction.atomic():
            question_ids = {}
            # In one order for all: no two requests wait for each other's questions.
            for entry in sorted(entries, key=lambda e: text_hash(e.answer.text)):
                question_ids[entry.request_id] = _count(project.pk, entry.answer, at)
            with connection.cursor() as cursor:
                cursor.execute(
                    _INSERT + ", ".join([_VALUES] * len(entries)),
                    [
                        value
                        for entry in entries
                        for value in _row(
                            project, entry, question_ids[entry.request_id], client, at
                        )
                    ],
                )
    except IntegrityError as error:
        if "request_id" in str(error):
            raise RequestIdTaken from error
        raise
    for entry in entries:
        hits.count(entry.answer.rule_ids)


def recall(project: Project, request_id: UUID) -> ClassificationLog | None:
    """The log entry of an earlier request. One query.

    Raises:
        RequestIdTaken: It belongs to another project.
    """
    logged = ClassificationLog.objects.filter(request_id=request_id).first()
    if logged is not None and logged.project_id != project.pk:
        raise RequestIdTaken
    return logged


def answer_of(logged: ClassificationLog, names: dict[str, str]) -> Answer:
    """The answer as it was given, but for names that have changed since.

    Args:
        logged: The entry.
        names: Today's names of the intents, by code.
    """
    return Answer(
        text=logged.text,
        intents=[
            {
                "code": intent["code"],
                "name": names.get(intent["code"], ""),
                "confidence": intent["confidence"],
                "sources": intent["sources"],
            }
            for intent in logged.intents
        ],
        confidence=logged.confidence,
        margin=0.0,
        method=Method(logged.method),
        version=logged.version,
        needs_review=logged.needs_review,
        degraded=logged.degraded,
        truncated=logged.truncated,
    )


def _count(project_id: int, answer: Answer, at: datetime) -> int:
    return log_question(
        project_id,
        answer.text,
        intents=[
            {"code": i["code"], "confidence": i["confidence"]} for i in answer.intents
        ],
        confidence=answer.confidence,
        margin=answer.margin,
        method=str(answer.method),
        version=answer.version,
        at=at,
        trace=answer.trace,
        is_conflict=answer.is_conflict,
    )


def _row(
    project: Project,
    entry: Entry,
    question_id: int,
    client: ApiKey | None,
    at: datetime,
) -> tuple[Any, ...]:
    answer = entry.answer
    return (
        entry.request_id,
        project.pk,
        question_id,
        answer.text,
        Jsonb([_logged(intent) for intent in answer.intents]),
        answer.confidence,
        str(answer.method),
        answer.version,
        answer.needs_review,
        answer.degraded,
        answer.truncated,
        entry.latency_ms,
        None if client is None else client.pk,
        at,
    )


def _logged(intent: dict[str, Any]) -> dict[str, Any]:
    return {key: intent[key] for key in ("code", "confidence", "sources")}
