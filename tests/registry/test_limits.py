"""What is turned away: keys that ask too much, processes that have enough to do."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from labeling.models import Project
from registry.models import ClassificationLog
from registry.serving import limits
from registry.serving.limits import Busy, InFlight, RateLimited, Rates
from tests.makers import make_project
from tests.processes import go, outputs
from tests.registry.test_classify_api import Caller
from tests.registry.test_lane import Site


class Clock:
    """The machine's clock, which goes on when a test says so."""

    def __init__(self) -> None:
        self.now = 1e6

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: Any) -> Clock:
    clock = Clock()
    monkeypatch.setattr(limits.time, "monotonic", clock)
    return clock


def takes(rates: Rates, limit: int, n: int = 1, key: int = 1) -> int:
    """How many calls of `n` texts are let in before one is refused."""
    for done in range(10_000):
        try:
            rates.take(key, limit, n)
        except RateLimited:
            return done
    raise AssertionError("never refused")


def test_a_minutes_texts_and_then_as_they_come_back(clock: Clock) -> None:
    rates = Rates(None)
    assert takes(rates, 60) == 60
    clock.now += 1
    assert takes(rates, 60) == 1
    clock.now += 30.5
    assert takes(rates, 60) == 30
    clock.now += 3600
    assert takes(rates, 60) == 60
    assert takes(rates, 60, key=2) == 60  # another key's bucket is its own


def test_refused_calls_cost_nothing_and_say_when_to_come_back(clock: Clock) -> None:
    rates = Rates(None)
    rates.take(1, 60, 50)
    with pytest.raises(RateLimited) as refused:
        rates.take(1, 60, 20)
    assert (refused.value.limit, refused.value.retry_after_s) == (60, 10)
    clock.now += 9.5
    with pytest.raises(RateLimited):
        rates.take(1, 60, 20)
    clock.now += 0.5
    rates.take(1, 60, 20)


def test_a_call_larger_than_the_limit_waits_for_a_full_bucket(clock: Clock) -> None:
    rates = Rates(None)
    rates.take(1, 10, 25)
    with pytest.raises(RateLimited) as refused:
        rates.take(1, 10, 1)
    # 15 texts of debt and the one that is asked for, six seconds each.
    assert refused.value.retry_after_s == 96
    clock.now += 96
    rates.take(1, 10, 1)


def test_machines_share_a_limit(clock: Clock) -> None:
    rates = Rates(None)
    rates.machines = 3
    assert takes(rates, 60) == 20
    rates.machines = 100
    assert takes(rates, 60, key=2) == 1  # never none at all


def test_a_clock_that_began_again_locks_nobody_out(clock: Clock) -> None:
    rates = Rates(None)
    takes(rates, 60)
    clock.now = 5.0
    assert takes(rates, 60) == 60


_TAKES_ALL = """
import sys
from pathlib import Path
import django
django.setup()
from registry.serving.limits import RateLimited, Rates
print("ready", flush=True)
input()
rates, taken = Rates(Path(sys.argv[1])), 0
while taken < 10_000:
    try:
        rates.take(8195, 600, 1)
    except RateLimited:
        break
    taken += 1
print(taken)
"""


def test_processes_of_a_machine_share_a_bucket(
    process_env: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "run" / "limits"
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _TAKES_ALL, str(path)],
            env=process_env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    go(running)
    taken = [int(lines[-1]) for lines in outputs(running)]
    # Ten a second come back meanwhile.
    assert 600 <= sum(taken) < 660
    assert takes(Rates(path), 600, key=8195) < 60


def test_threads_take_no_text_twice() -> None:
    rates, taken = Rates(None), []
    threads = [
        threading.Thread(target=lambda: taken.append(takes(rates, 300)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 300 <= sum(taken) < 330


def test_without_a_folder_a_process_counts_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert takes(Rates(tmp_path / "file" / "limits"), 6) == 6


def test_texts_at_once() -> None:
    in_flight = InFlight(10)
    in_flight.enter(300)  # alone it is let in, whatever its size
    with pytest.raises(Busy):
        in_flight.enter(1)
    in_flight.leave(300)
    in_flight.enter(9)
    with pytest.raises(Busy):
        in_flight.enter(2)
    in_flight.enter(1)
    assert in_flight.n == 10


# --- As client apps see it --------------------------------------------------------


@pytest.fixture
def project(transactional_db: None) -> Project:
    return make_project()


@pytest.fixture(params=["lane", "django"])
def post(request: Any, project: Project) -> Iterator[Any]:
    if request.param == "lane":
        site = Site(project)
        yield site.key, lambda body: site.post(body)
        assert site.passed_on == 0
        return
    caller = Caller(project)

    def through_django(body: Any) -> Any:
        response = caller.post(body)
        return response.status_code, response.headers, response.json()

    yield caller.key, through_django


def test_a_keys_own_limit(post: Any) -> None:
    key, ask = post
    key.rate_limit = 5
    key.save()
    assert ask({"texts": ["a", "b", "c"]})[0] == 200
    status, headers, problem = ask({"texts": ["a", "b", "c"]})
    assert (status, problem["code"]) == (429, "rate_limited")
    assert problem["detail"] == "This key may have 5 texts a minute classified."
    assert headers["Retry-After"] == str(problem["retry_after_s"]) == "12"
    assert headers["Content-Type"] == "application/problem+json"
    assert ClassificationLog.objects.count() == 3
    assert [ask({"text": "d"})[0] for _ in range(3)] == [200, 200, 429]
    assert limits.in_flight.n == 0


def test_the_servers_limit_and_keys_without_one(post: Any, settings: Any) -> None:
    key, ask = post
    settings.RATE_LIMIT = 2
    assert [ask({"text": "d"})[0] for _ in range(3)] == [200, 200, 429]
    key.rate_limit = 0
    key.save()
    assert [ask({"text": "d"})[0] for _ in range(3)] == [200, 200, 200]


def test_a_busy_process(post: Any) -> None:
    _key, ask = post
    limits.in_flight.enter(limits.in_flight.bound)
    try:
        status, headers, problem = ask({"text": "a"})
    finally:
        limits.in_flight.leave(limits.in_flight.bound)
    assert (status, problem["code"]) == (503, "busy")
    assert headers["Retry-After"] == "1"
    assert ClassificationLog.objects.count() == 0
    assert ask({"text": "a"})[0] == 200
