"""Rollouts and the guard in real web processes: who answers, within which time."""

import time
from collections import Counter
from pathlib import Path

import pytest

from labeling.models import Project
from registry import versions
from registry.models import Activation, Alarm, Rollout
from registry.rollout import running, watch
from tests.makers import make_key, make_project
from tests.registry.makers import make_version
from tests.registry.server import Server, serve
from tests.waiting import within

pytestmark = [pytest.mark.slow, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def project() -> Project:
    return make_project()


def ask(server: Server, secret: str, n: int, *, of: str = "pay fast") -> Counter[str]:
    """By which version n requests are answered, over connections to all processes."""
    answered: Counter[str] = Counter()
    for part in range(4):
        client = server.client(secret)
        for k in range(n // 4):
            text = f"{of} {part} {k} {time.monotonic_ns()}"
            status, answer = client.post("classify", {"text": text})
            assert status == 200, answer
            assert not answer["degraded"]
            answered[answer["version"]] += 1
    return answered


def test_shadow_then_canary_then_the_end(
    project: Project, process_env: dict[str, str], tmp_path: Path
) -> None:
    make_version(project, ["pay", "ship"], active=True)
    words = {"pay": ["pay"], "ship": ["ship", "fast"]}
    candidate = make_version(project, ["pay", "ship"], words=words, strength=9.0)
    _key, secret = make_key(project)
    with serve(process_env, tmp_path / "web.log") as server:
        shadow = running.start(candidate, mode="shadow", share=1.0, by=None)
        rows = Rollout.objects.filter(pk=shadow.pk)

        def compared() -> int:
            return rows.get().compared

        def is_everywhere() -> bool:
            before = compared()
            assert ask(server, secret, 20) == {"1": 20}
            return within(2, lambda: compared() == before + 20)

        assert within(10, is_everywhere)
        before = compared()
        assert ask(server, secret, 80) == {"1": 80}
        assert within(10, lambda: compared() == before + 80)
        running.end(shadow, by=None)
        canary = running.start(candidate, mode="canary", share=0.5, by=None)

        def is_shared() -> bool:
            answered = ask(server, secret, 40)
            return 8 <= answered["2"] <= 32

        assert within(10, is_shared)
        running.end(canary, by=None)
        assert within(10, lambda: ask(server, secret, 80) == {"1": 80})


def test_a_planted_bad_version_is_rolled_back_within_a_minute(
    project: Project, process_env: dict[str, str], tmp_path: Path
) -> None:
    make_version(project, ["pay", "ship"], active=True)
    bad = make_version(project, ["pay", "ship"], strength=0.1)
    _key, secret = make_key(project)
    with serve(process_env, tmp_path / "web.log", processes=1) as server:
        client = server.client(secret)
        for n in range(80):
            client.post("classify", {"text": f"pay {n}"})
        versions.activate(bad, by=None)
        began = time.monotonic()
        n = 0
        while not Alarm.objects.exists():
            assert time.monotonic() - began < 60
            n += 1
            status, answer = client.post("classify", {"text": f"pay again {n}"})
            assert status == 200, answer
            time.sleep(0.05)
        seconds = time.monotonic() - began
        while client.post("classify", {"text": f"pay {n}"})[1]["version"] != "1":
            assert time.monotonic() - began < 60
    print(f"rolled back after {seconds:.1f} s")
    (switch,) = Activation.objects.filter(is_automatic=True)
    assert switch.version.number == 1
    assert not watch.watch._pid
