"""A rollout at live requests: who answers, who only listens, and what is kept of it."""

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest
from rest_framework.test import APIClient

from labeling.models import Project
from registry import artifacts, versions
from registry.models import ClassificationLog, Rollout, ShadowAnswer, Version
from registry.rollout import live, running, shadow
from registry.serving import engine
from registry.serving.ask import Answered
from registry.serving.engine import Target
from registry.serving.process import ROLE
from registry.serving.rollout import RolloutSpec
from registry.serving.runtime import runtime
from tests.makers import make_key, make_labelled, make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def active(project: Project) -> Version:
    return make_version(project, ["pay", "ship"], active=True)


@pytest.fixture
def challenger(project: Project, active: Version) -> Version:
    """Takes "fast" for an order to ship; the active version does not know the word."""
    words = {"pay": ["pay"], "ship": ["ship", "fast"]}
    return make_version(project, ["pay", "ship"], words=words, strength=9.0)


def target_of(project: Project) -> Target:
    """As a request finds it."""
    fresh = Project.objects.get(pk=project.pk)
    rollout = running.in_project(fresh)
    spec = None
    if rollout is not None:
        spec = RolloutSpec(
            rollout.pk,
            rollout.version_id,
            rollout.version.number,
            rollout.mode,
            rollout.share,
        )
    return replace(engine.target_of(fresh), rollout=spec)


def post(project: Project, *texts: str) -> list[dict[str, Any]]:
    client = APIClient()
    _key, secret = make_key(project)
    client.credentials(HTTP_AUTHORIZATION=f"Api-Key {secret}")
    response = client.post("/api/v1/classify", {"texts": texts}, format="json")
    assert response.status_code == 200, response.content
    results: list[dict[str, Any]] = response.json()["results"]
    return results


def test_a_version_in_shadow_answers_nobody_and_is_compared(
    project: Project, active: Version, challenger: Version
) -> None:
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    results = post(project, "pay now", "pay fast fast")
    assert {one["version"] for one in results} == {"1"}
    assert [one["intents"][0]["code"] for one in results] == ["pay", "pay"]
    logged = {row.text: row for row in rollout.answers.all()}
    assert logged["pay now"].agrees
    fast = logged["pay fast fast"]
    assert (fast.active_codes, fast.codes, fast.agrees) == (["pay"], ["ship"], False)
    assert fast.request_id == UUID(results[1]["request_id"])
    assert fast.confidence > 0.9
    assert fast.latency_ms > 0
    rollout.refresh_from_db()
    assert (rollout.compared, rollout.agreed) == (2, 1)
    assert set(ClassificationLog.objects.values_list("version", flat=True)) == {"1"}


def test_the_same_request_is_compared_once(
    project: Project, active: Version, challenger: Version
) -> None:
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    target, request_id = target_of(project), uuid4()
    (answer,) = engine.classify(target, ["pay"])
    for _turn in range(2):
        live.observe(target, [Answered(request_id, answer)], latency_ms=1.0)
    rollout.refresh_from_db()
    assert rollout.compared == rollout.answers.count() == 1


def test_gold_answers_say_nothing_of_versions(
    project: Project, active: Version, challenger: Version
) -> None:
    running.start(challenger, mode="shadow", share=1.0, by=None)
    make_labelled(project, project.intents.get(code="ship"), "pay me")
    assert post(project, "pay me")[0]["method"] == "gold"
    assert not ShadowAnswer.objects.exists()


def test_a_canary_answers_its_share_and_each_request_always_alike(
    project: Project, active: Version, challenger: Version
) -> None:
    running.start(challenger, mode="canary", share=0.25, by=None)
    target = target_of(project)
    ids = [UUID(int=n) for n in range(2000)]  # clients' ids need not be random
    chosen = {one: live.choose(target, one).number for one in ids}
    share = sum(number == 2 for number in chosen.values()) / len(ids)
    assert share == pytest.approx(0.25, abs=0.04)
    assert chosen == {one: live.choose(target, one).number for one in ids}
    taken = next(one for one, number in chosen.items() if number == 2)
    (answer,) = live.then(
        target,
        ["pay fast fast"],
        lambda answers: lambda: answers,
        request_id=taken,
        top_k=1,
    )
    assert (answer.version, answer.intents[0]["code"]) == ("2", "ship")


def test_another_canary_takes_other_requests(project: Project) -> None:
    one, other = (RolloutSpec(n, 1, 1, "canary", 0.5) for n in (1, 2))
    ids = [UUID(int=n) for n in range(400)]
    alike = sum(live.is_chosen(one, i) == live.is_chosen(other, i) for i in ids)
    assert 120 < alike < 280


def test_a_canary_that_cannot_be_loaded_answers_nobody(
    project: Project, active: Version, challenger: Version
) -> None:
    running.start(challenger, mode="canary", share=1.0, by=None)
    artifacts.remove(challenger)
    (one,) = post(project, "pay")
    assert (one["version"], one["degraded"]) == ("1", False)


def test_what_a_canary_fails_at_the_active_version_answers(
    project: Project, active: Version, challenger: Version, monkeypatch: Any
) -> None:
    rollout = running.start(challenger, mode="canary", share=1.0, by=None)
    bundle = runtime.bundle(challenger.pk)

    def fail(_texts: Any) -> Any:
        raise ArithmeticError

    monkeypatch.setattr(bundle._classifier, "run", fail)
    (one,) = post(project, "pay")
    assert (one["version"], one["degraded"]) == ("1", False)
    rollout.refresh_from_db()
    assert rollout.failed == 1


def test_one_rollout_a_project_and_never_the_active_version(
    project: Project, active: Version, challenger: Version
) -> None:
    with pytest.raises(running.RolloutError, match="active already"):
        running.start(active, mode="shadow", share=1.0, by=None)
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    with pytest.raises(running.RolloutError, match="runs in"):
        running.start(challenger, mode="canary", share=0.1, by=None)
    assert running.end(rollout, by=None, reason="enough")
    assert not running.end(rollout, by=None, reason="again")
    running.start(challenger, mode="canary", share=0.1, by=None)
    rollout.refresh_from_db()
    assert rollout.end_reason == "enough"


def test_users_get_no_answers_that_the_gate_has_not_passed(
    project: Project, active: Version
) -> None:
    refused = make_version(project, ["pay", "ship"], gate="refused")
    with pytest.raises(running.RolloutError, match="gate"):
        running.start(refused, mode="canary", share=0.1, by=None)
    running.start(refused, mode="shadow", share=0.1, by=None)


def test_a_switch_ends_the_rollout(
    project: Project, active: Version, challenger: Version
) -> None:
    rollout = running.start(challenger, mode="canary", share=0.1, by=None)
    before = Project.objects.get(pk=project.pk).serving_revision
    versions.activate(challenger, by=None)
    rollout.refresh_from_db()
    assert rollout.ended_at is not None
    assert "v2" in rollout.end_reason
    assert Project.objects.get(pk=project.pk).serving_revision > before


# --- The thread of a web process ----------------------------------------------------


@pytest.fixture
def thread(monkeypatch: Any) -> Iterator[Callable[..., shadow.Shadow]]:
    started: list[shadow.Shadow] = []

    def make(capacity: int = shadow.CAPACITY) -> shadow.Shadow:
        one = shadow.Shadow(capacity=capacity)
        started.append(one)
        monkeypatch.setattr(live, "shadow", one)
        monkeypatch.setenv(ROLE, "web")
        return one

    yield make
    for one in started:
        one.stop()


def answered(target: Target, *texts: str) -> list[Any]:
    answers = engine.classify(replace(target, rollout=None), texts, use_gold=False)
    return [Answered(uuid4(), answer) for answer in answers]


@pytest.mark.django_db(transaction=True)
def test_the_thread_compares_behind_the_requests(
    project: Project, active: Version, challenger: Version, thread: Any
) -> None:
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    target = target_of(project)
    ready = answered(target, *[f"pay {n}" for n in range(300)])
    one = thread()
    live.observe(target, ready, latency_ms=1.0)
    one.stop()
    rollout.refresh_from_db()
    assert (rollout.compared, rollout.agreed, rollout.dropped) == (300, 300, 0)


@pytest.mark.django_db(transaction=True)
def test_what_finds_no_room_is_left_out_and_counted(
    project: Project,
    active: Version,
    challenger: Version,
    thread: Any,
    monkeypatch: Any,
) -> None:
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    target = target_of(project)
    ready = answered(target, *[f"pay {n}" for n in range(45)])
    compare, is_busy, may_go_on = shadow.compare, threading.Event(), threading.Event()

    def slow(notes: Any) -> Any:
        is_busy.set()
        assert may_go_on.wait(10)
        return compare(notes)

    monkeypatch.setattr(shadow, "compare", slow)
    one = thread(capacity=10)
    live.observe(target, ready[:5], latency_ms=1.0)
    assert is_busy.wait(10)
    live.observe(target, ready[5:], latency_ms=1.0)
    assert one._dropped == {rollout.pk: 30}
    may_go_on.set()
    one.stop()
    rollout.refresh_from_db()
    assert (rollout.compared, rollout.dropped) == (15, 30)


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_asked_is_counted(
    project: Project,
    active: Version,
    challenger: Version,
    thread: Any,
    monkeypatch: Any,
) -> None:
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    target = target_of(project)
    ready = answered(target, "pay", "ship")
    monkeypatch.setattr(shadow, "_AGAIN_S", 0.05)

    def away(*args: Any, **more: Any) -> Any:
        raise OSError("away")

    one = thread()
    with monkeypatch.context() as patched:
        patched.setattr(engine, "classify", away)
        live.observe(target, ready[:1], latency_ms=1.0)
        deadline = time.monotonic() + 5
        while not Rollout.objects.filter(dropped=1).exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
    live.observe(target, ready[1:], latency_ms=1.0)
    one.stop()
    rollout.refresh_from_db()
    assert (rollout.compared, rollout.dropped) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_what_could_not_be_written_is_written_later(
    project: Project,
    active: Version,
    challenger: Version,
    thread: Any,
    monkeypatch: Any,
) -> None:
    rollout = running.start(challenger, mode="shadow", share=1.0, by=None)
    target = target_of(project)
    ready = answered(target, "pay", "ship")
    one, insert, tries = thread(), shadow._insert, []
    monkeypatch.setattr(shadow, "_AGAIN_S", 0.05)

    def fail_once(*args: Any) -> Any:
        tries.append(1)
        if len(tries) == 1:
            raise OSError("away")
        return insert(*args)

    monkeypatch.setattr(shadow, "_insert", fail_once)
    live.observe(target, ready, latency_ms=1.0)
    deadline = time.monotonic() + 5
    while not Rollout.objects.filter(compared=2).exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    one.stop()
    assert rollout.answers.count() == 2
