"""Keys and projects in a web process's memory: followed, never asked for again."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labeling import access
from labeling.models import ApiKey, Project
from registry.models import Version
from registry.rollout import running
from registry.serving import keys, listener, lookup
from registry.serving.keys import Memory
from registry.serving.listener import Listener, NotLoaded
from registry.serving.lookup import Away
from registry.serving.process import ROLE
from registry.serving.runtime import Runtime
from tests.makers import make_key, make_project
from tests.registry.makers import make_version
from tests.waiting import within

pytestmark = pytest.mark.django_db(transaction=True)


class Web:
    """What a web process holds, and the threads that follow the database."""

    def __init__(self) -> None:
        self.memory = Memory()
        self.runtime = Runtime(capacity=4)
        self.listener = Listener(self.runtime, self.memory)

    def served(self, project: Project) -> tuple[int | None, int | None, int]:
        """Version, rollout's version and revision that requests get now."""
        target = self.memory.target(project.pk)
        assert target is not None
        spec = target.rollout
        revision = target.project.serving_revision
        return target.number, spec.number if spec else None, revision


@pytest.fixture
def web(monkeypatch: Any) -> Iterator[Web]:
    monkeypatch.setattr(listener, "_TICK_S", 0.1)
    monkeypatch.setattr(lookup, "_PROBE_S", 0.05)
    web = Web()
    yield web
    web.listener.stop()
    web.memory._unknown.stop()


def start(web: Web) -> None:
    web.listener.start()
    assert within(10, web.listener.is_ready)


def test_who_calls_is_known_without_a_query(web: Web) -> None:
    project = make_project()
    make_version(project, active=True)
    key, _secret = make_key(project)
    start(web)
    with CaptureQueriesContext(connection) as asked:
        caller = web.memory.find(key.hash)
    assert len(asked) == 0
    assert caller is not None
    assert (caller.key, caller.target.project) == (key, project)
    assert (caller.target.number, caller.key.scope) == (1, "classify")


def test_it_says_what_every_other_process_reads(web: Web) -> None:
    project = make_project(low_confidence=0.9)
    active, candidate = make_version(project, active=True), make_version(project)
    running.start(candidate, mode="canary", share=0.5, by=None)
    key, _secret = make_key(project)
    start(web)
    assert within(5, lambda: web.served(project)[1] == candidate.number)
    here, there = web.memory.find(key.hash), keys.find(key.hash)
    assert here is not None
    assert there is not None
    assert here.key.__dict__ | {"_state": None} == there.key.__dict__ | {"_state": None}
    assert here.target.rollout == there.target.rollout
    assert here.target.version_id == there.target.version_id == active.pk
    for name in ("low_confidence", "llm_budget", "serving_revision", "slug"):
        ours = getattr(here.target.project, name)
        assert ours == getattr(there.target.project, name)


def test_a_key_that_is_not_known_yet_is_looked_up_once(web: Web) -> None:
    start(web)
    project = make_project()
    key, _secret = make_key(project)
    found = web.memory.find(key.hash)
    assert found is not None
    assert found.target.project == project
    assert web.memory.find("no such key") is None
    # Refused from memory for a moment: a flood of wrong keys reads nothing.
    web.memory._unknown.stop()
    assert web.memory.find("no such key") is None
    assert web.memory._unknown._pid == 0


def test_what_ends_a_key_ends_it_here(web: Web) -> None:
    project = make_project()
    held = [make_key(project, name=f"k{n}")[0] for n in range(3)]
    start(web)
    assert all(web.memory.find(key.hash) for key in held)
    access.revoke_key(held[0])
    person = held[1].user
    person.is_active = False
    person.save()
    assert within(1, lambda: web.memory.find(held[0].hash) is None)
    assert within(1, lambda: web.memory.find(held[1].hash) is None)
    assert web.memory.find(held[2].hash) is not None
    project.delete()
    assert within(1, lambda: web.memory.find(held[2].hash) is None)


def test_a_limit_that_changes_is_followed(web: Web) -> None:
    key, _secret = make_key(make_project())
    start(web)

    def limit() -> int | None:
        caller = web.memory.find(key.hash)
        return caller.key.rate_limit if caller else None

    assert limit() is None
    ApiKey.objects.update(rate_limit=7)
    assert within(1, lambda: limit() == 7)


def test_only_what_is_loaded_is_served(web: Web, monkeypatch: Any) -> None:
    project = make_project()
    first, second = make_version(project, active=True), make_version(project)
    start(web)
    assert web.served(project)[0] == first.number
    load, slow = web.runtime.bundle, []

    def bundle(version_id: int) -> Any:
        slow.append(web.served(project)[0])
        return load(version_id)

    monkeypatch.setattr(web.runtime, "bundle", bundle)
    # Behind the back of `activate`, which has it loaded before.
    Version.objects.filter(pk=first.pk).update(state="retired")
    Version.objects.filter(pk=second.pk).update(state="active")
    assert within(3, lambda: web.served(project)[0] == second.number)
    assert slow[0] == first.number
    candidate = make_version(project)
    running.start(candidate, mode="shadow", share=1.0, by=None)
    assert within(3, lambda: web.served(project)[1] == candidate.number)
    running.end(project.rollouts.get(), by=None, reason="enough")
    assert within(3, lambda: web.served(project)[1] is None)


def test_a_project_that_is_not_in_memory_is_loaded_aside(
    web: Web, monkeypatch: Any
) -> None:
    web.runtime.capacity = 1
    cold, warm = make_project(), make_project()
    make_version(cold, active=True)
    make_version(warm, active=True)
    start(web)
    target = web.memory.target(cold.pk)
    assert target is not None
    assert not web.runtime.holds(target.version_id or 0)
    with CaptureQueriesContext(connection) as asked:
        web.listener.prepare(target)
    assert len(asked) == 0  # this thread asked nobody
    assert web.runtime.holds(target.version_id or 0)
    assert web.runtime.holds_rules(cold.pk, target.project.serving_revision)

    def away(version_id: int) -> Any:
        raise OSError("no database")

    monkeypatch.setattr(web.runtime, "bundle", away)
    other = web.memory.target(warm.pk)
    assert other is not None
    assert not web.runtime.holds(other.version_id or 0)
    with pytest.raises(NotLoaded):
        web.listener.prepare(other)


def test_uses_are_written_down_once_a_minute(web: Web) -> None:
    key, _secret = make_key(make_project())

    def last() -> Any:
        return ApiKey.objects.get(pk=key.pk).last_used_at

    start(web)
    assert last() is None
    began = timezone.now()
    web.memory.find(key.hash)
    assert within(2, lambda: last() is not None)
    assert last() >= began
    first = last()
    web.memory.find(key.hash)
    assert not within(0.6, lambda: last() != first)


def test_without_the_database_the_last_word_stands(web: Web, monkeypatch: Any) -> None:
    project = make_project()
    make_version(project, active=True)
    key, _secret = make_key(project)
    start(web)

    def away(*args: Any) -> Any:
        raise OSError("no database")

    monkeypatch.setattr(keys, "targets", away)
    monkeypatch.setattr(Memory, "refresh", away)
    web.memory._unknown._read = away
    assert not within(0.5, lambda: web.memory.find(key.hash) is None)
    with pytest.raises(Away):
        web.memory.find(uuid.uuid4().hex)
    monkeypatch.undo()
    web.memory._unknown._read = keys._callers
    access.revoke_key(key)
    assert within(2, lambda: web.memory.find(key.hash) is None)


def test_a_call_of_a_web_process_asks_nothing_itself(
    web: Web, monkeypatch: Any
) -> None:
    from registry.serving import gold, journal
    from tests.registry.test_lane import Site

    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    site = Site(project)
    monkeypatch.setenv(ROLE, "web")
    monkeypatch.setattr(keys, "memory", web.memory)
    monkeypatch.setattr(listener, "listener", web.listener)
    monkeypatch.setattr("registry.serving.engine.runtime", web.runtime)
    start(web)
    try:
        with CaptureQueriesContext(connection) as asked:
            answered = site.post({"texts": ["pay", "ship"]})
        assert answered.status == 200
        assert [q["sql"] for q in asked.captured_queries] == []
        assert answered.json["results"][0]["intents"][0]["code"] == "pay"
        assert journal.flush(5)
        assert project.questions.count() == 2
    finally:
        journal.close()
        gold._lookup.stop()
