"""Classification goes on without PostgreSQL and Valkey, and loses nothing by it."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.db.models import Sum

from labeling.models import Project, Question
from registry import versions
from registry.models import ClassificationLog
from tests.makers import make_key, make_project
from tests.registry.load import Load
from tests.registry.makers import make_version
from tests.registry.outages import frozen, kill, stopped
from tests.registry.server import Server, serve
from tests.waiting import within

HOME = settings.HOME
AWAY_S = 3.0

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        str(HOME) not in os.environ["DATABASE_URL"].replace("%2F", "/"),
        reason="the database is somebody's own server",
    ),
]


@pytest.fixture
def project(transactional_db: None) -> Iterator[Project]:
    project = make_project()
    versions.activate(make_version(project, ["pay", "ship"]), by=None)
    yield project
    connection.close()  # an outage may have ended it


@pytest.fixture
def secret(project: Project) -> str:
    return make_key(project)[1]


@pytest.fixture
def server(project: Project, process_env: Any, tmp_path: Path) -> Iterator[Server]:
    with serve(process_env, tmp_path / "web.log") as running:
        yield running


def is_whole(server: Server, *, without: int) -> bool:
    """Whether both processes serve, as they say in the database."""
    try:
        serving = {row.pid for row in server.rows()}
    except (OperationalError, InterfaceError):
        connection.close()  # the server was killed
        return False
    pids = server.pids()
    return len(pids) == 2 and without not in pids and serving >= set(pids)


def assert_logged_once(load: Load) -> None:
    """Each acknowledged answer is in the log, once, and counted on its question."""
    acknowledged = {a["request_id"]: text for _s, _e, a, text in load.answers}
    assert len(acknowledged) == len(load.answers)
    in_log = ClassificationLog.objects.filter(request_id__in=acknowledged)
    connection.close()
    assert within(20, lambda: in_log.count() == len(acknowledged))
    logged = {str(k): v for k, v in in_log.values_list("request_id", "text")}
    assert logged == acknowledged
    # The index that keeps them unique was not lost with the server, either.
    ids = ClassificationLog.objects.values_list("request_id", flat=True)
    assert set(Counter(ids).values()) == {1}
    counted = Question.objects.aggregate(n=Sum("occurrences"))["n"]
    assert counted == ClassificationLog.objects.count()


OUTAGES: dict[str, Callable[[], AbstractContextManager[None]]] = {
    "postgres stopped": lambda: stopped(HOME, "postgres"),
    "postgres frozen": lambda: frozen(HOME, "postgres"),
    "postgres killed": lambda: stopped(HOME, "postgres", sig=signal.SIGKILL),
    "valkey stopped": lambda: stopped(HOME, "valkey", sig=signal.SIGTERM),
}


def test_no_classification_fails_while_a_service_is_away(
    server: Server, secret: str
) -> None:
    during = {}
    with Load(server, secret) as load:
        time.sleep(1)
        for name, outage in OUTAGES.items():
            with outage():
                time.sleep(0.5)
                before = len(load.answers)
                time.sleep(AWAY_S)
                during[name] = len(load.answers) - before
            time.sleep(1.5)
    print(f"{len(load.answers)} acknowledged; answers while away: {during}")
    assert (load.refused[:3], load.broken) == ([], 0)
    # They were answered, rather than waited for.
    assert min(during.values()) > 100
    assert_logged_once(load)


def test_a_full_journal_is_said_and_clients_go_on_when_there_is_room(
    project: Project, secret: str, process_env: Any, tmp_path: Path
) -> None:
    env = {**process_env, "TUNELOOP_JOURNAL_MB": "1"}
    with serve(env, tmp_path / "web.log") as server, Load(server, secret) as load:
        with frozen(HOME, "postgres"):
            assert within(30, lambda: len(load.refused) > 20)
        refused = len(load.refused)
        time.sleep(1)  # those that were on their way
        again = len(load.answers)
        assert within(20, lambda: len(load.answers) > again + 200)
    assert load.broken == 0
    assert {(status, answer["code"]) for status, answer in load.refused} == {
        (503, "journal_full")
    }
    assert {answer["retry_after_s"] for _status, answer in load.refused} == {5}
    print(f"{len(load.answers)} acknowledged, {refused} refused")
    assert_logged_once(load)


def test_kills_of_everything_in_a_loop_lose_nothing(
    server: Server, secret: str
) -> None:
    with Load(server, secret) as load:
        for n in range(3):
            # The oldest is the victim, and not too soon: granian takes a process that
            # ends within 5.5 s of its start for one that will never live.
            time.sleep(2.8)
            if n % 2:
                kill(HOME, "postgres")
            victim = server.pids()[0]
            os.kill(victim, signal.SIGKILL)
            assert within(45, lambda v=victim: is_whole(server, without=v))
    print(f"{len(load.answers)} acknowledged, {load.broken} broken off")
    assert load.refused[:3] == []
    assert load.broken > 0  # the kills did hit requests
    assert_logged_once(load)


def test_a_server_that_ends_leaves_nothing_behind(
    project: Project, secret: str, process_env: Any, tmp_path: Path
) -> None:
    """SIGTERM: what is acknowledged is in the log when the processes have ended."""
    with (
        serve(process_env, tmp_path / "web.log") as server,
        Load(server, secret) as load,
    ):
        time.sleep(1)
    ids = [answer["request_id"] for _s, _e, answer, _text in load.answers]
    assert ids
    assert ClassificationLog.objects.filter(request_id__in=ids).count() == len(ids)
    assert [p.name for p in (HOME / "journal").iterdir()] == []


def test_a_server_that_ends_in_an_outage_is_drained_by_the_next(
    project: Project, secret: str, process_env: Any, tmp_path: Path
) -> None:
    with serve(process_env, tmp_path / "web.log") as server:
        pids = [server.process.pid, *server.pids()]
        with frozen(HOME, "postgres"):
            with Load(server, secret) as load:
                time.sleep(1)
            for pid in pids:
                os.kill(pid, signal.SIGKILL)
    assert load.answers
    with serve(process_env, tmp_path / "web.log"):
        assert_logged_once(load)


def test_an_id_is_idempotent_also_while_the_database_is_away(
    server: Server, secret: str
) -> None:
    client = server.client(secret)
    ids = [str(uuid4()) for _ in range(3)]
    first = client.post("classify", {"text": "pay", "request_id": ids[0]})
    with frozen(HOME, "postgres"):
        asked = [
            client.post("classify", {"text": "pay", "request_id": id_})
            for id_ in (ids[0], ids[1], ids[1], ids[2])
        ]
        status, problem = client.post(
            "classify", {"text": "ship", "request_id": ids[2]}
        )
    assert [status for status, _answer in asked] == [200] * 4
    assert asked[0] == first
    assert asked[1] == asked[2]
    assert (status, problem["code"]) == (409, "request_id_taken")
    in_log = ClassificationLog.objects.filter(request_id__in=ids)
    assert within(10, lambda: in_log.count() == 3)
    assert Question.objects.get(text="pay").occurrences == 3
    assert not Question.objects.filter(text="ship").exists()


def test_feedback_at_once_finds_its_answer(server: Server, secret: str) -> None:
    """Also where another process than the one that answered is asked."""
    clients = [server.client(secret) for _ in range(6)]
    for asking in clients:
        for telling in clients:
            answer = asking.post("classify", {"text": "pay"})[1]
            given = {"request_id": answer["request_id"], "verdict": "right"}
            assert telling.post("feedback", given)[0] == 200
