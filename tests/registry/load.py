"""Clients that keep asking while versions come and go, and what must be true then."""

import http.client
import itertools
import threading
import time
from typing import Any, NamedTuple

from labeling.models import Project
from registry import versions
from registry.models import Activation, Version
from tests.registry.server import Server

CLIENTS = 8
FOLLOWS_S = 1.0
"""How long after an activation a process may still answer with the version before."""


class Load:
    """Clients that ask without a pause; what they were answered, and when."""

    def __init__(self, server: Server, secret: str) -> None:
        self.answers: list[tuple[float, float, dict[str, Any], str]] = []
        self.refused: list[Any] = []
        self.broken = 0
        self._ending = threading.Event()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._ask, args=(server, secret))
            for _ in range(CLIENTS)
        ]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, server: Server, secret: str) -> None:
        client = server.client(secret)
        while not self._ending.is_set():
            # Some texts are asked again and again, at the same time by many.
            text = f"pay {next(self._numbers) // 3}"
            started = time.time()
            try:
                status, answer = client.post("classify", {"text": text})
            except (OSError, http.client.HTTPException):
                self.broken += 1
                time.sleep(0.02)
                continue
            if status == 200:
                self.answers.append((started, time.time(), answer, text))
            else:
                self.refused.append((status, answer))


class Span(NamedTuple):
    """When a version may have been active: from its audit row, written just before the
    commit, to the end of the call that put another in its place."""

    number: str
    start: float
    end: float


def swap(
    project: Project, other: Version, *, times: int, pause_s: float
) -> tuple[list[Span], list[float]]:
    """Activates `other` and rolls back, in turn.

    Returns:
        When which version was active, and how many seconds each switch took.
    """
    latest = Activation.objects.filter(project=project).latest("id")
    current, since = str(latest.version.number), latest.created_at.timestamp()
    spans: list[Span] = []
    took: list[float] = []
    for i in range(times):
        began = time.monotonic()
        if i % 2:
            done = versions.roll_back(project, by=None)
        else:
            done = versions.activate(Version.objects.get(pk=other.pk), by=None)
        took.append(time.monotonic() - began)
        spans.append(Span(current, since, time.time()))
        current, since = str(done.version.number), done.created_at.timestamp()
        time.sleep(pause_s)
    return [*spans, Span(current, since, time.time() + 3600)], took


def unexplained(load: Load, spans: list[Span]) -> list[tuple[float, float, str]]:
    """Answers by a version that was not active while their request was in flight, nor
    so shortly before that its process need not know."""
    return [
        (asked, answered, answer["version"])
        for asked, answered, answer, _text in load.answers
        if not any(
            span.number == answer["version"]
            and span.start <= answered
            and asked <= span.end + FOLLOWS_S
            for span in spans
        )
    ]
