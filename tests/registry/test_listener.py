"""The listener: loads ahead, reports, and says when the process may be asked."""

import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from labeling import revision
from labeling.models import Project
from registry import artifacts, versions
from registry.models import ServingProcess
from registry.serving import announce, listener
from registry.serving.keys import Memory
from registry.serving.listener import Listener
from registry.serving.process import ROLE
from registry.serving.runtime import Runtime
from tests.makers import make_project
from tests.registry.makers import make_version
from tests.waiting import within

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: Any) -> None:
    monkeypatch.setattr(listener, "_TICK_S", 0.2)


@pytest.fixture
def start() -> Iterator[Callable[..., Listener]]:
    running: list[Listener] = []

    def start(capacity: int = 4) -> Listener:
        running.append(Listener(Runtime(capacity=capacity), Memory()))
        running[-1].start()
        return running[-1]

    yield start
    for one in running:
        one.stop()
    assert not ServingProcess.objects.exists()


def entry(project: Project) -> dict[str, Any]:
    row = ServingProcess.objects.first()
    return row.serving.get(str(project.pk), {}) if row else {}


def test_ready_once_the_active_versions_are_loaded(start: Any) -> None:
    project = make_project()
    make_version(project)
    versions.activate(make_version(project), by=None)
    one = start()
    assert within(10, one.is_ready)
    assert within(3, lambda: entry(project).get("version") == "2")
    assert entry(project)["ready"] == [2]
    assert entry(project)["revision"] == 1
    assert ServingProcess.objects.get().rss_mb > 10


def test_a_version_that_cannot_be_loaded_keeps_nobody_waiting(start: Any) -> None:
    broken, sound = make_project(), make_project()
    for project in (broken, sound):
        versions.activate(make_version(project), by=None)
    artifacts.remove(broken.versions.get())
    one = start()
    assert within(10, one.is_ready)
    assert within(3, lambda: entry(broken).get("failed") == [1])
    assert "has no file" in entry(broken)["error"]
    assert entry(sound)["ready"] == [1]


def test_a_version_whose_files_come_back_serves_again(
    start: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(listener, "_TICK_S", 0.02)
    monkeypatch.setattr("registry.serving.runtime._RETRY_AFTER_S", 0.0)
    project = make_project()
    version = make_version(project)
    versions.activate(version, by=None)
    path = artifacts.open_verified(version) / "model.onnx"
    path.rename(path.with_name("away"))
    start()
    assert within(10, lambda: entry(project).get("failed") == [1])
    path.with_name("away").rename(path)
    assert within(10, lambda: entry(project).get("ready") == [1])
    assert entry(project)["failed"] == []


def test_only_what_fits_is_loaded_ahead(start: Any) -> None:
    projects = [make_project() for _ in range(3)]
    for project in projects:
        versions.activate(make_version(project), by=None)
    one = start(capacity=2)
    assert within(10, one.is_ready)
    assert within(3, lambda: entry(projects[2]).get("ready") == [1])
    assert entry(projects[0]) == {}


def test_an_activation_waits_until_the_version_is_loaded(start: Any) -> None:
    project = make_project()
    version = make_version(project)
    one = start()
    assert within(10, one.is_ready)
    assert within(3, lambda: ServingProcess.objects.exists())
    announce.prepare(version)
    assert entry(project)["ready"] == [1]
    assert versions.active(project) is None


def test_an_activation_waits_neither_for_the_dead_nor_for_ever(
    monkeypatch: Any,
) -> None:
    now = timezone.now()
    version = make_version(make_project())
    values = {"host": "far", "started_at": now}
    ServingProcess.objects.create(
        id="00000000-0000-0000-0000-000000000001",
        pid=1,
        seen_at=now - timedelta(seconds=4),
        **values,
    )
    monkeypatch.setattr(announce, "_WAIT_S", 60.0)
    started = time.monotonic()
    announce.prepare(version)
    assert time.monotonic() - started < 30
    monkeypatch.setattr(announce, "_WAIT_S", 0.5)
    ServingProcess.objects.create(
        id="00000000-0000-0000-0000-000000000002", pid=2, seen_at=now, **values
    )
    started = time.monotonic()
    announce.prepare(version)
    assert 0.5 <= time.monotonic() - started < 30
    ServingProcess.objects.all().delete()


def test_a_change_of_rules_is_loaded_ahead_where_they_are_held(start: Any) -> None:
    project = make_project()
    versions.activate(make_version(project), by=None)
    assert within(10, start().is_ready)
    revision.bump(project.pk)
    assert within(1, lambda: entry(project).get("revision", 0) < 2)
    assert within(3, lambda: entry(project).get("revision") == 2)


def test_rows_of_processes_that_ended_are_taken_away(start: Any) -> None:
    old = timezone.now() - timedelta(minutes=2)
    ServingProcess.objects.create(
        id="00000000-0000-0000-0000-000000000003",
        host="gone",
        pid=3,
        started_at=old,
        seen_at=old,
    )
    assert within(10, start().is_ready)
    assert within(3, lambda: not ServingProcess.objects.filter(host="gone").exists())


def test_a_deleted_projects_rules_are_forgotten(start: Any) -> None:
    project = make_project()
    one = start()
    one._runtime.rulebook(project.pk, 0)
    assert within(3, lambda: str(project.pk) in _served())
    project.delete()
    assert within(3, lambda: str(project.pk) not in _served())


def _served() -> dict[str, Any]:
    row = ServingProcess.objects.first()
    return row.serving if row else {}


def test_only_web_processes_listen(monkeypatch: Any) -> None:
    monkeypatch.setenv(ROLE, "worker")
    listener.start()
    assert listener.listener._pid == 0
    assert listener.is_ready()
    monkeypatch.setenv(ROLE, "web")
    assert not listener.is_ready()


def test_probes(client: Any, monkeypatch: Any, django_assert_num_queries: Any) -> None:
    with django_assert_num_queries(0):
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}
        monkeypatch.setattr(listener, "is_ready", lambda: False)
        response = client.get("/readyz")
    assert (response.status_code, response.json()) == (503, {"status": "loading"})
