"""The guard: when a version is rolled back by itself, and who hears of it."""

import json
import threading
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from uuid import uuid4

import pytest
from django.core import mail
from django.utils import timezone, translation

from labeling.models import Project, Question
from labeling.ranking.priority import RAISED
from registry import artifacts, versions
from registry.models import (
    Alarm,
    ClassificationLog,
    Guard,
    Rollout,
    Version,
)
from registry.rollout import alarms, disagreements, guard, running, tuning
from registry.rollout.guard import Rate
from tests.makers import make_person, make_project, make_question
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def pair(project: Project) -> tuple[Version, Version]:
    """Version 1 served, version 2 serves since now."""
    first, second = (make_version(project, ["pay", "ship"]) for _n in range(2))
    versions.activate(first, by=None)
    versions.activate(second, by=None)
    return first, second


def answers(
    by: Version, n: int, *, low: int = 0, ago_s: float = 0, **more: Any
) -> None:
    """Logs n answers, `low` of them of low confidence."""

    at = timezone.now() - timedelta(seconds=ago_s)
    ClassificationLog.objects.bulk_create(
        ClassificationLog(
            project=by.project,
            text="?",
            intents=[],
            confidence=0.2 if k < low else 0.95,
            needs_review=k < low,
            latency_ms=1.0,
            created_at=at,
            **{"method": "model", "version": str(by.number), **more},
        )
        for k in range(n)
    )


def before(by: Version, n: int, *, low: int = 0, **more: Any) -> None:
    """The same an hour ago: before the activation."""
    answers(by, n, low=low, ago_s=3600, **more)


def test_a_version_that_is_unsure_is_rolled_back_once(
    project: Project, pair: tuple[Version, Version]
) -> None:
    first, second = pair
    before(first, 200, low=10)
    answers(second, 60, low=40)
    (alarm,) = guard.check()
    assert versions.active(project) == first
    assert alarm.rollback is not None
    assert alarm.rollback.is_automatic
    assert alarm.rollback.by is None
    assert "66.7 %" in alarm.rollback.reason
    assert (alarm.activation, alarm.measure) == (
        project.activations.get(version=second, kind="activate"),
        "low_confidence",
    )
    assert (alarm.n_before, alarm.n_after) == (200, 60)
    assert guard.check() == []
    # Somebody insists: that is another activation.
    versions.activate(second, by=None)
    assert guard.check() == []
    answers(second, 60, low=40)
    assert len(guard.check()) == 1


def test_a_version_that_cannot_answer_is_rolled_back(
    project: Project, pair: tuple[Version, Version]
) -> None:
    first, second = pair
    before(first, 100)
    answers(second, 30)
    answers(second, 30, version="", degraded=True, method="rules")
    (alarm,) = guard.check()
    assert (alarm.measure, alarm.after) == ("degraded", 0.5)


@pytest.mark.parametrize(
    ("n_before", "low_before", "n_after", "low_after"),
    [
        (200, 10, 40, 40),  # too few after
        (40, 0, 200, 200),  # too few before
        (200, 20, 200, 38),  # nine points
        (60, 6, 60, 18),  # twenty points, which chance can do
        (200, 100, 200, 20),  # better
    ],
)
def test_nothing_happens_without_good_cause(
    pair: tuple[Version, Version],
    n_before: int,
    low_before: int,
    n_after: int,
    low_after: int,
) -> None:
    before(pair[0], n_before, low=low_before)
    answers(pair[1], n_after, low=low_after)
    assert guard.check() == []


def test_gold_answers_and_the_old_versions_last_requests_do_not_count(
    pair: tuple[Version, Version],
) -> None:
    first, second = pair
    before(first, 100)
    answers(second, 100, low=100, method="gold")
    answers(first, 100, low=100)
    assert guard.check() == []


def test_what_the_language_model_answers_is_unsure(
    pair: tuple[Version, Version],
) -> None:
    before(pair[0], 100)
    answers(pair[1], 60, method="llm")
    assert len(guard.check()) == 1


def test_bounds_are_the_projects_own(
    project: Project, pair: tuple[Version, Version]
) -> None:
    before(pair[0], 300)
    answers(pair[1], 300, low=45)
    own = Guard.objects.create(project=project, rise=0.2)
    assert guard.check() == []
    own.rise = 0.1
    own.is_on = False
    own.save()
    assert guard.check() == []
    own.is_on = True
    own.save()
    assert len(guard.check()) == 1


def test_other_thresholds_are_no_versions_fault(
    project: Project, pair: tuple[Version, Version]
) -> None:
    before(pair[0], 100)
    answers(pair[1], 100, low=100)
    now = tuning.current(project)
    tuning.apply(project, {**now, "low_confidence": 0.99}, expected=now, by=None)
    assert guard.check() == []


def test_a_first_version_has_nothing_to_go_back_to(project: Project) -> None:
    only = make_version(project, active=True)
    before(only, 100)
    answers(only, 100, low=100)
    assert guard.check() == []


def test_what_cannot_be_rolled_back_is_said_once(
    project: Project, pair: tuple[Version, Version]
) -> None:
    first, second = pair
    before(first, 100)
    answers(second, 100, low=100)
    artifacts.remove(first)
    (alarm,) = guard.check()
    assert alarm.rollback is None
    assert alarm.problem
    assert versions.active(project) == second
    assert guard.check() == []
    assert alarm.problem in alarms.what_happened(alarm)


def test_a_person_who_is_faster_is_not_undone(
    project: Project, pair: tuple[Version, Version], monkeypatch: Any
) -> None:
    """Rolling back twice would lead to a version that nobody meant."""
    third = make_version(project, ["pay", "ship"])
    versions.activate(third, by=None)
    before(pair[1], 100)
    answers(third, 100, low=100)
    after = guard._after_activation

    def and_meanwhile(*args: Any) -> Any:
        finding = after(*args)
        versions.roll_back(project, by=None)
        return finding

    monkeypatch.setattr(guard, "_after_activation", and_meanwhile)
    assert guard.check() == []
    assert versions.active(project) == pair[1]


def test_a_bad_canary_is_ended(project: Project) -> None:
    first = make_version(project, ["pay", "ship"], active=True)
    second = make_version(project, ["pay", "ship"])
    rollout = running.start(second, mode="canary", share=0.3, by=None)
    answers(first, 200, low=10)
    answers(second, 80, low=60)
    (alarm,) = guard.check()
    rollout.refresh_from_db()
    assert rollout.ended_at is not None
    assert rollout.end_reason == alarms.why(alarm)
    with translation.override("zh-hans"):
        assert alarms.reason(rollout) == alarms.why(alarm) != rollout.end_reason
    assert versions.active(project) == first
    assert guard.check() == []


def test_a_canary_that_fails_at_questions_is_ended(project: Project) -> None:
    first = make_version(project, ["pay", "ship"], active=True)
    second = make_version(project, ["pay", "ship"])
    rollout = running.start(second, mode="canary", share=0.3, by=None)
    answers(first, 200)
    Rollout.objects.filter(pk=rollout.pk).update(failed=60)
    (alarm,) = guard.check()
    assert (alarm.measure, alarm.n_after) == ("degraded", 60)


def test_the_statistic_is_the_pooled_two_proportion_z() -> None:
    # By hand: p = 35/150, se = sqrt(p (1-p) (1/100 + 1/50)).
    assert guard.z_score(Rate(10, 100), Rate(25, 50)) == pytest.approx(5.4611, abs=1e-3)
    assert guard.z_score(Rate(0, 50), Rate(0, 50)) == 0


# --- Who hears of it ----------------------------------------------------------------


class _Heard(BaseHTTPRequestHandler):
    bodies: list[dict[str, Any]] = []

    def do_POST(self) -> None:
        length = int(self.headers["Content-Length"])
        self.bodies.append(json.loads(self.rfile.read(length)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


@pytest.fixture
def webhook(settings: Any) -> Any:
    server = HTTPServer(("127.0.0.1", 0), _Heard)
    _Heard.bodies = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    settings.ALERT_WEBHOOK = f"http://127.0.0.1:{server.server_port}/hook"
    yield _Heard.bodies
    server.shutdown()
    thread.join()
    server.server_close()


def rolled_back(pair: tuple[Version, Version]) -> Alarm:
    before(pair[0], 100)
    answers(pair[1], 100, low=100)
    (alarm,) = guard.check()
    return alarm


def test_managers_and_the_web_address_hear_of_it_once(
    project: Project, pair: tuple[Version, Version], webhook: list[dict[str, Any]]
) -> None:
    for name in ("mia", "ann"):
        person = make_person(name, project)
        person.email = f"{name}@example.org"
        person.save()
    rolled_back(pair)
    assert alarms.send_due() == 1
    assert alarms.send_due() == 0
    (letter,) = mail.outbox
    assert letter.to == ["mia@example.org"]
    assert f"v2 of {project} was rolled back to v1" in letter.subject
    (body,) = webhook
    assert (body["event"], body["version"], body["rolled_back_to"]) == (
        "rolled_back",
        2,
        1,
    )
    assert "100.0 %" in body["text"]


def test_a_web_address_that_is_away_stops_nothing(
    pair: tuple[Version, Version], settings: Any
) -> None:
    settings.ALERT_WEBHOOK = "http://127.0.0.1:9/"
    rolled_back(pair)
    assert alarms.send_due() == 1


# --- Disagreements --------------------------------------------------------------------


def disagree(rollout: Rollout, text: str, *, agrees: bool = False) -> None:
    rollout.answers.create(
        request_id=uuid4(),
        text=text,
        active_codes=["pay"],
        active_confidence=0.9,
        active_latency_ms=1.0,
        codes=["pay"] if agrees else ["ship"],
        confidence=0.9,
        method="model",
        latency_ms=1.0,
        agrees=agrees,
    )


def test_disagreements_go_to_the_head_of_the_queue(
    project: Project, monkeypatch: Any
) -> None:
    make_version(project, ["pay", "ship"], active=True)
    second = make_version(project, ["pay", "ship"])
    rollout = running.start(second, mode="shadow", share=1.0, by=None)
    for text in ("one", "two", "three", "four"):
        make_question(project, text, split="train")
    make_question(project, "held out", split="test")
    make_question(project, "done", state=Question.State.LABELLED, split="train")
    for text in ("One?", "held out", "done", "not logged yet"):
        disagree(rollout, text)
    disagree(rollout, "two", agrees=True)
    assert disagreements.raise_priorities() == 1
    raised = Question.objects.filter(priority__gte=RAISED)
    assert [q.text for q in raised] == ["one"]
    # No more than people can look at.
    monkeypatch.setattr(disagreements, "MOST_RAISED", 2)
    disagree(rollout, "three")
    disagree(rollout, "four")
    assert disagreements.raise_priorities() == 1
    running.end(rollout, by=None, reason="")
    assert disagreements.raise_priorities() == 0
