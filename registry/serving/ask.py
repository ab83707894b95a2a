"""A client's question from its text to its logged answer: what the API calls."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from django.utils import timezone

from labeling.models import ApiKey, Project
from registry.llm import fallback
from registry.rollout import live
from registry.serving import journal, measures
from registry.serving.engine import Answer, Target
from registry.serving.journal import Entry, RequestIdTaken
from registry.serving.runtime import runtime


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer that is in the log."""

    request_id: UUID
    answer: Answer

    def as_json(self) -> dict[str, Any]:
        """The REST answer."""
        return self.answer.as_json(self.request_id)


def ask(
    target: Target, texts: Sequence[str], *, top_k: int, client: ApiKey | None
) -> list[Answered]:
    """Answers texts and logs them, all or none.

    Cost: see `engine.classify` and `journal.record`.
    """
    ids = [uuid4() for _ in texts]
    return _answer(target, texts, ids, top_k=top_k, client=client)


def ask_once(
    target: Target, text: str, *, request_id: UUID, top_k: int, client: ApiKey | None
) -> Answered:
    """Answers a text under the client's own request id.

    The same id again, also at the same moment, gives the answer that is in the log and
    counts nothing twice.

    Raises:
        RequestIdTaken: The id is another project's or another text's.

    Cost: one query more than `ask`.
    """
    if (logged := _recall(target.project, text, request_id)) is not None:
        return logged
    try:
        return _answer(target, [text], [request_id], top_k=top_k, client=client)[0]
    except RequestIdTaken:
        # A request with the same id was faster.
        if (logged := _recall(target.project, text, request_id)) is not None:
            return logged
        raise


def _answer(
    target: Target,
    texts: Sequence[str],
    ids: Sequence[UUID],
    *,
    top_k: int,
    client: ApiKey | None,
) -> list[Answered]:
    at, started = timezone.now(), time.perf_counter()
    said = live.classify(target, texts, request_id=ids[0], top_k=top_k)
    said_ms = (time.perf_counter() - started) * 1000
    answers = fallback.improve(target, said)
    latency_ms = (time.perf_counter() - started) * 1000
    answered = [Answered(*pair) for pair in zip(ids, answers, strict=True)]
    journal.record(
        target.project,
        [Entry(one.request_id, one.answer, latency_ms) for one in answered],
        client=client,
        at=at,
    )
    _count(target, answers)
    # Versions are compared by what they say themselves.
    own = [Answered(*pair) for pair in zip(ids, said, strict=True)]
    live.observe(target, own, latency_ms=said_ms / len(texts))
    return answered


def _count(target: Target, answers: Sequence[Answer]) -> None:
    for answer in answers:
        measures.count(
            "answers",
            project=target.project.slug,
            version=answer.version,
            method=answer.method.value,
        )
        if answer.degraded:
            measures.count("degraded")


def _recall(project: Project, text: str, request_id: UUID) -> Answered | None:
    logged = journal.recall(project, request_id)
    if logged is None:
        return None
    if logged.text != text:
        raise RequestIdTaken
    book = runtime.rulebook(project.pk, project.serving_revision)
    return Answered(request_id, journal.answer_of(logged, book.names))
