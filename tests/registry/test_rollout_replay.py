"""Replays: which answers would flip, who is right, and what outlives a dead worker."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from labeling.models import Project, Question
from registry import artifacts
from registry.models import ClassificationLog, Replay, Version
from registry.rollout import replaying
from tests.makers import make_intent, make_labelled, make_project, make_question
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
    """Takes "fast" for an order to ship."""
    words = {"pay": ["pay"], "ship": ["ship", "fast"]}
    return make_version(project, ["pay", "ship"], words=words, strength=9.0)


def asked(question: Question, n: int = 1) -> None:
    ClassificationLog.objects.bulk_create(
        ClassificationLog(
            project=question.project,
            question=question,
            text=question.text,
            intents=[],
            confidence=0.9,
            method="model",
            version="1",
            needs_review=False,
            latency_ms=1.0,
        )
        for _turn in range(n)
    )


def run(version: Version, *, requests: int = 1000) -> Replay:
    replay = replaying.request(version, requests=requests, by=None)
    assert replaying.execute(replay.pk)
    replay.refresh_from_db()
    return replay


def test_each_answer_that_would_flip_is_shown(
    project: Project, challenger: Version
) -> None:
    ship = project.intents.get(code="ship")
    asked(make_labelled(project, ship, "pay fast fast"), 3)
    asked(make_question(project, "pay fast and fast"))
    asked(make_question(project, "pay"), 6)
    replay = run(challenger)
    assert (replay.state, replay.texts, replay.done, replay.flipped) == (
        "done",
        3,
        3,
        2,
    )
    first, second = replay.flips.all()
    assert (first.text, first.requests) == ("pay fast fast", 3)
    assert (first.before, first.after, first.wanted) == (["pay"], ["ship"], ["ship"])
    assert second.wanted is None
    figures = replay.figures
    assert (figures["requests"], figures["flipped"]) == (10, 4)
    assert (figures["labelled"], figures["right_before"], figures["right_after"]) == (
        3,
        0,
        3,
    )
    assert figures["ms_after"] > 0


def test_only_the_newest_requests_are_replayed(
    project: Project, challenger: Version
) -> None:
    asked(make_question(project, "old"))
    asked(make_question(project, "pay"), 5)
    replay = run(challenger, requests=5)
    assert (replay.texts, replay.figures["requests"]) == (1, 5)


def test_against_rules_alone(project: Project) -> None:
    first = make_version(project, ["pay", "ship"])
    asked(make_question(project, "pay"))
    replay = run(first)
    (flip,) = replay.flips.all()
    assert (replay.baseline, flip.before, flip.after) == (None, [], ["pay"])


def test_the_fallback_is_right_where_the_label_says_no_intent(
    project: Project, active: Version, challenger: Version
) -> None:
    make_intent(project, "none", is_fallback=True)
    question = make_question(project, "hello", state=Question.State.LABELLED)
    asked(question)
    project.accept_threshold = 0.9
    project.save()
    assert run(challenger).figures["right_after"] == 1


def test_a_version_that_cannot_answer_fails_the_replay(
    project: Project, challenger: Version
) -> None:
    asked(make_question(project, "pay"))
    artifacts.remove(challenger)
    replay = run(challenger)
    assert replay.state == "failed"
    assert "v2" in replay.message


def test_what_makes_no_sense_is_refused(
    project: Project, active: Version, challenger: Version
) -> None:
    with pytest.raises(replaying.ReplayError, match="Nobody"):
        replaying.request(challenger, requests=10, by=None)
    asked(make_question(project, "pay"))
    with pytest.raises(replaying.ReplayError, match="active"):
        replaying.request(active, requests=10, by=None)
    one = replaying.request(challenger, requests=10, by=None)
    assert replaying.request(challenger, requests=10, by=None) == one


def test_a_dead_workers_replay_begins_anew(
    project: Project, challenger: Version, monkeypatch: Any
) -> None:
    asked(make_question(project, "pay fast fast"))
    replay = replaying.request(challenger, requests=10, by=None)
    enqueued: list[int] = []
    monkeypatch.setattr(replaying, "_put", lambda pk, _attempt: enqueued.append(pk))
    rows = Replay.objects.filter(pk=replay.pk)
    long_ago = timezone.now() - timedelta(minutes=5)
    # It died after its first flips were written.
    replay.flips.create(
        text="of a former life",
        requests=1,
        before=[],
        after=[],
        confidence_before=0,
        confidence_after=0,
    )
    rows.update(state="running", attempts=1, beat_at=timezone.now())
    assert replaying.sweep() == []
    assert not replaying.execute(replay.pk)
    rows.update(beat_at=long_ago)
    assert replaying.sweep() == enqueued == [replay.pk]
    assert replaying.execute(replay.pk)
    assert [flip.text for flip in replay.flips.all()] == ["pay fast fast"]
    rows.update(state="running", attempts=3, beat_at=long_ago)
    assert replaying.sweep() == []
    assert "3 times" in rows.get().message


def test_a_former_owner_writes_nothing_more(
    project: Project, challenger: Version, monkeypatch: Any
) -> None:
    asked(make_question(project, "pay fast fast"))
    replay = replaying.request(challenger, requests=10, by=None)
    wanted = replaying._wanted

    def and_meanwhile(*args: Any) -> Any:
        Replay.objects.filter(pk=replay.pk).update(attempts=7)
        return wanted(*args)

    monkeypatch.setattr(replaying, "_wanted", and_meanwhile)
    assert not replaying.execute(replay.pk)
    replay.refresh_from_db()
    assert (replay.state, replay.done, replay.flips.count()) == ("running", 0, 0)
