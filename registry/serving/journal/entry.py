"""An answer on its way into the log, and how it is written down meanwhile."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from labeling.models import ApiKey, Project
from registry.serving.engine import Answer
from registry.serving.fusion import Method

_FORMAT = 1
"""Of `encode`; a later one must still read what an earlier release left behind."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One answered text."""

    request_id: UUID
    answer: Answer
    latency_ms: float


class Line(NamedTuple):
    """An answer with all that the log and the question keep of it.

    Its fields in their order are format 1; new ones go to the end, with a default.
    """

    request_id: str
    project_id: int
    client_id: int | None
    at: datetime
    text: str
    intents: list[dict[str, Any]]
    """[{code, confidence, sources}]."""
    confidence: float
    margin: float
    method: str
    version: str
    needs_review: bool
    degraded: bool
    truncated: bool
    latency_ms: float
    trace: dict[str, Any] | None = None
    is_conflict: bool = False
    scores: dict[str, Any] | None = None


_AT = Line._fields.index("at")


def line(
    project: Project, entry: Entry, *, client: ApiKey | None, at: datetime
) -> Line:
    """What is kept of an answer."""
    answer = entry.answer
    return Line(
        str(entry.request_id),
        project.pk,
        None if client is None else client.pk,
        at,
        answer.text,
        [
            {key: intent[key] for key in ("code", "confidence", "sources")}
            for intent in answer.intents
        ],
        answer.confidence,
        answer.margin,
        str(answer.method),
        answer.version,
        answer.needs_review,
        answer.degraded,
        answer.truncated,
        entry.latency_ms,
        answer.trace,
        answer.is_conflict,
        answer.scores,
    )


def encode(lines: Sequence[Line]) -> bytes:
    """The lines of one request as one record; about 1 KB a line."""
    rows = [tuple(line) for line in lines]  # orjson leaves named tuples to others
    return orjson.dumps((_FORMAT, rows), option=orjson.OPT_SERIALIZE_NUMPY)


def decode(payload: bytes) -> list[Line]:
    """The lines of a record.

    Raises:
        ValueError: It is not one, or one of a later release.
    """
    try:
        format_, rows = orjson.loads(payload)
        if format_ != _FORMAT:
            raise ValueError(f"records of format {format_} are not known")
        for row in rows:
            row[_AT] = datetime.fromisoformat(row[_AT])
        return [Line(*row) for row in rows]
    except TypeError as error:
        raise ValueError(f"not a record: {error}") from error


def answer_of(logged: Line, names: dict[str, str]) -> Answer:
    """The answer as it was given, but for names that have changed since.

    Args:
        logged: As it was written down.
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
