"""A real server with two processes: swaps, rules, lost connections, kill -9."""

import http.client
import itertools
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.db.models import Sum

from labeling.models import Project, Question
from labeling.rules import decisions
from registry import versions
from registry.models import Activation, ClassificationLog, Version
from tests.makers import make_key, make_project, make_rule
from tests.registry.makers import make_version
from tests.registry.server import Server, serve

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]

CLIENTS = 8


class Shop(NamedTuple):
    """A project with two versions, the first active, and a key."""

    project: Project
    pair: list[Version]
    secret: str


@pytest.fixture
def shop(transactional_db: None) -> Shop:
    project = make_project()
    pair = [make_version(project, ["pay", "ship"]) for _ in range(2)]
    versions.activate(pair[0], by=None)
    return Shop(project, pair, make_key(project)[1])


@pytest.fixture
def server(shop: Shop, process_env: Any, tmp_path: Path) -> Iterator[Server]:
    with serve(process_env, tmp_path / "web.log") as running:
        yield running


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def entries(server: Server, project: Project) -> list[dict[str, Any]]:
    return [row.serving.get(str(project.pk), {}) for row in server.rows()]


class Load:
    """Clients that ask without a pause; what they were answered, and when."""

    def __init__(self, server: Server, shop: Shop) -> None:
        self.answers: list[tuple[float, float, dict[str, Any], str]] = []
        self.refused: list[Any] = []
        self.broken = 0
        self._ending = threading.Event()
        self._numbers = itertools.count()
        self._threads = [
            threading.Thread(target=self._ask, args=(server, shop.secret))
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


def test_swaps_under_load(server: Server, shop: Shop) -> None:
    """No failed request; each answer is by a version that was active meanwhile."""
    spans: list[Span] = []
    first = Activation.objects.get().created_at.timestamp()
    current, since = "1", first
    with Load(server, shop) as load:
        for i in range(20):
            if i % 2:
                done = versions.roll_back(shop.project, by=None)
            else:
                done = versions.activate(
                    Version.objects.get(pk=shop.pair[1].pk), by=None
                )
            returned = time.time()
            spans.append(Span(current, since, returned))
            current, since = str(done.version.number), done.created_at.timestamp()
            # It was loaded everywhere before the switch.
            held = entries(server, shop.project)
            assert len(held) == 2
            assert all(done.version.number in entry["ready"] for entry in held)
            time.sleep(0.5)
    spans.append(Span(current, since, time.time()))
    assert load.refused == []
    assert load.broken == 0
    by = Counter(answer["version"] for _a, _b, answer, _text in load.answers)
    print(f"{len(load.answers)} answers, by version {dict(by)}")
    assert min(by["1"], by["2"]) > 100
    for asked, answered, answer, _text in load.answers:
        assert any(
            span.number == answer["version"]
            and span.start <= answered
            and asked <= span.end
            for span in spans
        ), (asked, answered, answer["version"], spans)
    assert not any(answer["degraded"] for _a, _b, answer, _text in load.answers)


def test_a_killed_process_loses_no_acknowledged_answer(
    server: Server, shop: Shop
) -> None:
    with Load(server, shop) as load:
        for _ in range(2):
            time.sleep(1.0)
            victim = server.rows()[0].pid
            os.kill(victim, signal.SIGKILL)
            assert within(45, lambda v=victim: _others(server, v) >= 2), "no respawn"
            answered = len(load.answers)
            assert within(30, lambda n=answered: len(load.answers) > n + 50)
    assert load.refused == []
    assert load.broken > 0  # the kills did hit requests
    acknowledged = {a["request_id"]: text for _s, _e, a, text in load.answers}
    assert len(acknowledged) == len(load.answers)
    logged = dict(
        ClassificationLog.objects.filter(request_id__in=acknowledged).values_list(
            "request_id", "text"
        )
    )
    print(f"{len(acknowledged)} acknowledged, {load.broken} broken off")
    assert {str(k): v for k, v in logged.items()} == acknowledged
    # And no question was counted without its log entry.
    counted = Question.objects.aggregate(n=Sum("occurrences"))["n"]
    assert counted == ClassificationLog.objects.count()


def _others(server: Server, pid: int) -> int:
    return sum(row.pid != pid for row in server.rows())


def test_rules_and_lost_connections(server: Server, shop: Shop) -> None:
    clients = [server.client(shop.secret) for _ in range(8)]  # both processes

    def answers() -> set[str]:
        return {
            client.post("classify", {"text": "打卡"})[1]["intents"][0]["code"]
            for client in clients
        }

    ship = shop.project.intents.get(code="ship")
    rule = make_rule(shop.project, "打卡", ship, state="candidate", boost=1.0)
    assert answers() == {"pay"}  # the model knows neither; the first by name
    decisions.approve([rule], by=None)
    assert answers() == {"ship"}

    def revisions() -> list[int]:
        return [entry.get("revision", 0) for entry in entries(server, shop.project)]

    def is_followed() -> bool:
        now = Project.objects.get(pk=shop.project.pk).serving_revision
        return revisions() == [now, now]

    # Every process takes it over by itself, also when no NOTIFY comes.
    assert within(2, is_followed)
    Project.objects.filter(pk=shop.project.pk).update(serving_revision=40)
    assert within(2.5, is_followed)

    # How often a rule spoke is counted across processes, and written down soon.
    rule.refresh_from_db()
    before = rule.hits
    answers()
    assert within(3, lambda: _hits(rule) >= before + 8)

    # All their connections gone: they come back, listening too.
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert answers() == {"ship"}
    decisions.disable([rule], by=None)
    assert within(5, is_followed)
    assert answers() == {"pay"}


def _hits(rule: Any) -> int:
    rule.refresh_from_db()
    return int(rule.hits)
