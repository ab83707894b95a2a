"""Real web processes go on, whatever the language model or the database does."""

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from labeling.models import Project
from registry import versions
from registry.models import LlmDay
from tests.makers import make_intent, make_key, make_project
from tests.registry.llm.speaker import Speaker
from tests.registry.makers import make_version
from tests.registry.outages import frozen
from tests.registry.server import HttpClient, Server, serve
from tests.waiting import crowd, within

TIMEOUT_S = 2.0

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def project(transactional_db: None) -> Iterator[Project]:
    """It knows "pay" and "ship", and is unsure of everything else."""
    project = make_project(llm_fallback=True, accept_threshold=0.6)
    make_intent(project, "none", is_fallback=True)
    versions.activate(make_version(project, ["pay", "ship"]), by=None)
    yield project
    connection.close()  # an outage may have ended it


@pytest.fixture
def server(
    project: Project, process_env: Any, speaker: Speaker, tmp_path: Path
) -> Iterator[Server]:
    env = {
        **process_env,
        "TUNELOOP_LLM_URL": speaker.url,
        "TUNELOOP_LLM_MODEL": "tiny",
        "TUNELOOP_LLM_TIMEOUT_S": str(TIMEOUT_S),
    }
    with serve(env, tmp_path / "web.log") as running:
        yield running


class Asked:
    """One answer and how long it took."""

    def __init__(self, client: HttpClient, text: str) -> None:
        started = time.monotonic()
        self.status, answer = client.post("classify", {"text": text})
        self.method = answer.get("method")
        self.took_s = time.monotonic() - started


def is_answered_by_it(client: HttpClient, text: str) -> bool:
    return Asked(client, text).method == "llm"


def test_a_frozen_database_means_no_calls_and_no_waiting(
    server: Server, project: Project, speaker: Speaker
) -> None:
    if str(settings.HOME) not in os.environ["DATABASE_URL"].replace("%2F", "/"):
        pytest.skip("the database is somebody's own server")
    client = server.client(make_key(project)[1])
    # The first call of each process loads the client's library.
    assert within(20, lambda: is_answered_by_it(client, "hello"))
    n = len(speaker.asked)
    with frozen(settings.HOME, "postgres"):
        during = [Asked(client, f"hello number {n}") for n in range(10)]
    print([round(one.took_s, 2) for one in during])
    assert {(one.status, one.method) for one in during} == {(200, "fallback")}
    assert len(speaker.asked) == n
    # Once or twice somebody waited until the bound; then nobody any more.
    assert sum(one.took_s for one in during) < 5 * crowd()
    assert within(20, lambda: is_answered_by_it(client, "hello again"))
    assert LlmDay.objects.get().calls == len(speaker.asked)


def test_one_that_hangs_holds_nobody_up_who_is_sure(
    server: Server, project: Project, speaker: Speaker
) -> None:
    secret = make_key(project)[1]
    assert within(20, lambda: is_answered_by_it(server.client(secret), "hello"))
    woken, over = threading.Event(), threading.Event()
    speaker.say = lambda question: str(woken.wait(60))
    unsure: list[Asked] = []

    def ask(worker: int) -> None:
        client, n = server.client(secret), 0
        while not over.is_set():
            unsure.append(Asked(client, f"hello {worker} {n}"))
            n += 1

    threads = [threading.Thread(target=ask, args=[n]) for n in range(24)]
    for thread in threads:
        thread.start()
    client = server.client(secret)
    sure = []
    ends_at = time.monotonic() + 2 * TIMEOUT_S
    while time.monotonic() < ends_at:
        sure.append(Asked(client, "pay"))
    over.set()
    woken.set()
    for thread in threads:
        thread.join()
    slowest = sorted(one.took_s for one in sure)[-3:]
    print(f"{len(sure)} sure, slowest {slowest}; {len(unsure)} unsure")
    assert {(one.status, one.method) for one in sure} == {(200, "model")}
    assert {one.status for one in unsure} == {200}
    assert {one.method for one in unsure} <= {"fallback", "llm"}
    assert max(one.took_s for one in unsure) < TIMEOUT_S + 3 * crowd()
    # Many more than its calls could hold: they did not wait for it.
    assert len(unsure) > 10 * len(speaker.asked)
    assert slowest[0] < TIMEOUT_S / 2
