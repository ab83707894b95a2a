"""A real server with two processes: swaps, rules, lost connections, kill -9."""

import os
import signal
import socket
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.db import connection
from django.db.models import Sum

from labeling import access, revision
from labeling.models import ApiKey, Project, Question
from labeling.rules import decisions
from registry import artifacts, versions
from registry.models import ClassificationLog, Version
from tests.makers import make_key, make_project, make_rule
from tests.registry.load import Load, swap, unexplained
from tests.registry.makers import make_version
from tests.registry.server import Server, serve
from tests.waiting import within

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


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


def entries(server: Server, project: Project) -> list[dict[str, Any]]:
    return [row.serving.get(str(project.pk), {}) for row in server.rows()]


def test_swaps_under_load(server: Server, shop: Shop) -> None:
    """No failed request; each answer is by a version that was active meanwhile."""
    numbers = {version.number for version in shop.pair}
    with Load(server, shop.secret) as load:
        # Longer than a process may take to follow, or any version would explain.
        spans, _took = swap(shop.project, shop.pair[1], times=10, pause_s=2.0)
        # Both were loaded everywhere, so that a switch keeps nobody waiting.
        held = entries(server, shop.project)
        assert len(held) == 2
        assert all(numbers <= set(entry["ready"]) for entry in held)
    assert load.refused == []
    assert load.broken == 0
    by = Counter(answer["version"] for _a, _b, answer, _text in load.answers)
    print(f"{len(load.answers)} answers, by version {dict(by)}")
    assert min(by["1"], by["2"]) > 100
    assert unexplained(load, spans) == []
    assert not any(answer["degraded"] for _a, _b, answer, _text in load.answers)


def test_a_killed_process_loses_no_acknowledged_answer(
    server: Server, shop: Shop
) -> None:
    with Load(server, shop.secret) as load:
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
    in_log = ClassificationLog.objects.filter(request_id__in=acknowledged)
    # What a killed process left on disk is taken over by a living one.
    assert within(15, lambda: in_log.count() == len(acknowledged))
    logged = dict(in_log.values_list("request_id", "text"))
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
    assert within(1, lambda: answers() == {"ship"})

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


def test_what_changes_is_followed_within_a_second(server: Server, shop: Shop) -> None:
    key, secret = make_key(shop.project)
    clients = [server.client(secret) for _ in range(8)]  # both processes

    def statuses() -> set[int]:
        return {client.post("classify", {"text": "pay"})[0] for client in clients}

    def reviews() -> set[bool]:
        asked = [client.post("classify", {"text": "pay"})[1] for client in clients]
        return {answer["needs_review"] for answer in asked}

    # What refuses is imported behind the scenes; here it is to be there.
    assert {client.post("classify", {})[0] for client in clients} == {400}
    # A key that is younger than the last look at the keys works at once.
    assert statuses() == {200}
    assert reviews() == {False}
    Project.objects.filter(pk=shop.project.pk).update(low_confidence=1.0)
    assert within(1, lambda: reviews() == {True})
    assert within(3, lambda: ApiKey.objects.get(pk=key.pk).last_used_at is not None)
    access.revoke_key(key)
    assert within(1, lambda: statuses() == {401})
    # Nobody of those who called meanwhile asked the database.
    assert statuses() == {401}


def test_a_broken_version_never_takes_the_place_of_a_sound_one(
    server: Server, shop: Shop
) -> None:
    with Load(server, shop.secret) as load:
        broken = make_version(shop.project, ["pay", "ship"])
        # Behind the back of `activate`, which would refuse it.
        model = artifacts.open_verified(broken) / "model.onnx"
        model.write_bytes(b"\0" * model.stat().st_size)
        Version.objects.filter(pk=shop.pair[0].pk).update(state=Version.State.RETIRED)
        Version.objects.filter(pk=broken.pk).update(state=Version.State.ACTIVE)
        revision.bump(shop.project.pk)
        assert within(
            10, lambda: all(e.get("failed") for e in entries(server, shop.project))
        )
        time.sleep(1.0)
        assert {e["version"] for e in entries(server, shop.project)} == {"1"}
    assert load.refused == []
    assert {answer["version"] for _a, _b, answer, _text in load.answers} == {"1"}


@pytest.mark.parametrize("path", ["classify", "questions/1/label", "nothing/here"])
def test_who_is_refused_keeps_the_connection(
    server: Server, shop: Shop, path: str
) -> None:
    """Many clients send a body after its head; no refusal may cut them off in between.

    Else they would not see the refusal, but a broken connection.
    """
    client = server.client("tl_nobody")
    client.connect()
    for _ in range(3):
        client.begin(path, length=2)
        time.sleep(0.2)
        assert client.end(b"{}")[0] in (401, 404)
    # What is too long is not waited for.
    client.begin(path, length=100_000_000)
    assert client.answer()[0] in (401, 404)


def test_stopping_answers_who_is_there(server: Server, shop: Shop) -> None:
    """SIGTERM: a request that came is answered, and what was answered is logged."""
    body = b'{"text": "pay me, I was there before"}'
    head = (
        f"POST /api/v1/classify HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Authorization: Api-Key {shop.secret}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    with (
        Load(server, shop.secret) as load,
        socket.create_connection(("127.0.0.1", server.port), timeout=20) as late,
    ):
        late.sendall(head + body[:10])
        time.sleep(1.0)
        server.process.terminate()
        time.sleep(0.5)
        late.sendall(body[10:])
        assert late.recv(1000).startswith(b"HTTP/1.1 200 OK")
        assert server.process.wait(15) == 0
    assert len(load.answers) > 10
    assert load.refused == []
    acknowledged = [answer["request_id"] for _s, _e, answer, _text in load.answers]
    logged = ClassificationLog.objects.filter(request_id__in=acknowledged)
    assert logged.count() == len(acknowledged)


def _hits(rule: Any) -> int:
    rule.refresh_from_db()
    return int(rule.hits)
