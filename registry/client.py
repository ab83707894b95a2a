"""A client of the REST API for Python apps; needs nothing but httpx.

from registry.client import Client

client = Client("http://localhost:8000", key)
answer = client.classify("忘记打卡了怎么办")
print(answer.intent, answer.confidence, answer.needs_review)
client.feedback(answer, right=True)
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import Any
from uuid import UUID, uuid4

import httpx

MAX_TEXTS = 256
"""Texts that the server takes at once."""
_FIRST_WAIT_S = 0.1
_LONGEST_WAIT_S = 5.0
_AGAIN = {
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}
_NOTHING_DONE = {HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}
"""The server turned the call away before it did anything."""


class Problem(Exception):
    """The server refused, or did not answer in time.

    Branch on `code`; the error table says what each means.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        request_id: str = "",
        members: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.status = status
        """HTTP status; 0 where no answer came."""
        self.code = code
        """Of the problem object; `unreachable` or `not_json` where there is none."""
        self.detail = detail
        self.request_id = request_id
        """The answer's `X-Request-Id`: what the server's log lines carry."""
        self.members = members or {}
        """The whole problem object."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent of an answer."""

    code: str
    name: str
    confidence: float
    """0 to 1."""
    sources: dict[str, float]
    """What `gold`, `rule` and `model` each say, where they say something."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to one text."""

    request_id: UUID
    """What feedback names."""
    intents: tuple[Intent, ...]
    """Single-intent project: the answer, then the next best. Multi-intent: the answer
    alone. Empty where nothing was sure enough and there is no fallback intent."""
    confidence: float
    method: str
    """`gold`, `model`, `rules`, `fused`, `llm` or `fallback`."""
    version: str
    """Number of the version; "" for rules alone."""
    needs_review: bool
    degraded: bool
    """The active version could not answer; rules alone did."""
    truncated: bool
    """The text was longer than what the model reads."""

    @property
    def intent(self) -> str | None:
        """The code of the answer's first intent."""
        return self.intents[0].code if self.intents else None


class Client:
    """One key's way to one server; may be shared by threads.

    A call that the server turns away for now (429, 503) or that gets lost on the way is
    repeated until `patience_s` is over, after the server's `Retry-After` or else after
    growing pauses. Repeating is safe: `classify` sends a request id, under which the
    server answers and counts a question once; `classify_many`, which has none, is
    repeated only where nothing was done.
    """

    def __init__(
        self,
        address: str,
        key: str,
        *,
        timeout_s: float = 10.0,
        patience_s: float = 30.0,
        language: str = "en",
        http: httpx.Client | None = None,
    ) -> None:
        """Opens no connection yet.

        Args:
            address: Such as `https://tuneloop.example`.
            key: An API key of the project.
            timeout_s: Longest wait for one answer.
            patience_s: Longest time for a call with all its repetitions; 0: none.
            language: Of the problems' details: `en` or `zh-hans`.
            http: Your own, such as one with a proxy or a certificate; it stays yours.
        """
        self._address = address.rstrip("/") + "/api/v1"
        self._headers = {"Authorization": f"Api-Key {key}", "Accept-Language": language}
        self._timeout_s = timeout_s
        self._patience_s = patience_s
        self._http = http or httpx.Client()
        self._is_ours = http is None

    def classify(
        self, text: str, *, top_k: int = 3, request_id: UUID | None = None
    ) -> Answer:
        """Classifies one text.

        Args:
            text: At most 2,000 characters.
            top_k: Most intents that a single-intent project's answer lists.
            request_id: Yours, if the same question may be asked again by another call
                or another process: it gets the same answer.

        Raises:
            Problem: The server refused, or could not be reached in time.
        """
        body = {
            "text": text,
            "top_k": top_k,
            "request_id": str(request_id or uuid4()),
        }
        return _answer(self._post("classify", body, is_repeatable=True))

    def classify_many(self, texts: Sequence[str], *, top_k: int = 3) -> list[Answer]:
        """Classifies texts, in their order; 256 a call.

        Raises:
            Problem: As `classify`. Texts of calls before the one that failed have been
                answered and counted.
        """
        answers: list[Answer] = []
        for part in _parts(texts):
            body = {"texts": part, "top_k": top_k}
            given = self._post("classify", body, is_repeatable=False)
            answers += [_answer(one) for one in given["results"]]
        return answers

    def feedback(
        self,
        answer: Answer | UUID,
        *,
        right: bool,
        intent: str | None = None,
    ) -> None:
        """Says that an answer was right or wrong; a later word replaces the earlier.

        Args:
            answer: Or its request id.
            right: Whether it was.
            intent: The code that would have been right, where you know it.

        Raises:
            Problem: As `classify`; `unknown_request`, `unknown_intent`.
        """
        request_id = answer.request_id if isinstance(answer, Answer) else answer
        body: dict[str, Any] = {
            "request_id": str(request_id),
            "verdict": "right" if right else "wrong",
        }
        if intent is not None:
            body["intent"] = intent
        self._post("feedback", body, is_repeatable=True)

    def close(self) -> None:
        """Closes its connections."""
        if self._is_ours:
            self._http.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _post(self, path: str, body: Any, *, is_repeatable: bool) -> Any:
        until = time.monotonic() + self._patience_s
        for pause_s in _pauses():
            try:
                return self._send(path, body)
            except Problem as problem:
                if not _may_repeat(problem, is_repeatable):
                    raise
                wait_s = max(pause_s, problem.members.get("retry_after_s", 0.0))
                if time.monotonic() + wait_s >= until:
                    raise
                time.sleep(wait_s)
        raise AssertionError("pauses never end")

    def _send(self, path: str, body: Any) -> Any:
        try:
            response = self._http.post(
                f"{self._address}/{path}",
                json=body,
                headers=self._headers,
                timeout=self._timeout_s,
            )
        except httpx.TransportError as error:
            # Refused: nobody heard the question. Else it may have been answered.
            was_heard = not isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
            raise Problem(
                0,
                "unreachable",
                str(error) or type(error).__name__,
                members={"was_heard": was_heard},
            ) from error
        if response.status_code < HTTPStatus.MULTIPLE_CHOICES:
            return response.json()
        raise _problem(response)


def _problem(response: httpx.Response) -> Problem:
    try:
        members = response.json()
    except ValueError:
        members = None
    if not isinstance(members, dict):
        # Not ours: a proxy's page.
        members = {"code": "not_json", "detail": response.text[:200]}
    wait = response.headers.get("Retry-After", "")
    if wait.isdigit():
        members["retry_after_s"] = float(wait)
    return Problem(
        response.status_code,
        str(members.get("code", "")),
        str(members.get("detail", "")),
        request_id=response.headers.get("X-Request-Id", ""),
        members=members,
    )


def _may_repeat(problem: Problem, is_repeatable: bool) -> bool:
    if problem.status == 0:
        return is_repeatable or not problem.members["was_heard"]
    return problem.status in (_AGAIN if is_repeatable else _NOTHING_DONE)


def _pauses() -> Iterator[float]:
    """Longer and longer, and never the same for two clients that failed together."""
    pause_s = _FIRST_WAIT_S
    while True:
        yield pause_s * random.uniform(0.5, 1.0)  # noqa: S311  # no secret
        pause_s = min(2 * pause_s, _LONGEST_WAIT_S)


def _parts(texts: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(texts), MAX_TEXTS):
        yield list(texts[start : start + MAX_TEXTS])


def _answer(given: dict[str, Any]) -> Answer:
    """Members that a later server may add are left out."""
    return Answer(
        request_id=UUID(given["request_id"]),
        intents=tuple(
            Intent(one["code"], one["name"], one["confidence"], dict(one["sources"]))
            for one in given["intents"]
        ),
        confidence=given["confidence"],
        method=given["method"],
        version=given["version"],
        needs_review=given["needs_review"],
        degraded=given["degraded"],
        truncated=given["truncated"],
    )
