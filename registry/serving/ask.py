"""A client's question from its text to its logged answer: what the API calls."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
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


class _Round(NamedTuple):
    """What rules and model say to a request."""

    said: list[Answer]
    ms: float
    """Since the request came."""
    is_written: bool
    """Whether that is the answer, and in the log; else a language model is asked."""


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

    def elapsed_ms() -> float:
        return (time.perf_counter() - started) * 1000

    def write(answers: Sequence[Answer]) -> Callable[[], None]:
        latency_ms = elapsed_ms()
        entries = [Entry(*pair, latency_ms) for pair in zip(ids, answers, strict=True)]
        return journal.begin(target.project, entries, client=client, at=at)

    def begin(said: list[Answer]) -> Callable[[], _Round]:
        one = _Round(said, elapsed_ms(), not fallback.is_needed(target, said))
        written = write(said) if one.is_written else lambda: None

        def end() -> _Round:
            written()
            return one

        return end

    first = live.then(target, texts, begin, request_id=ids[0], top_k=top_k)
    answers: Sequence[Answer] = first.said
    if not first.is_written:
        answers = fallback.improve(target, first.said)
        write(answers)()
    _count(target, answers)
    # Versions are compared by what they say themselves.
    own = [Answered(*pair) for pair in zip(ids, first.said, strict=True)]
    live.observe(target, own, latency_ms=first.ms / len(texts))
    return [Answered(*pair) for pair in zip(ids, answers, strict=True)]


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
