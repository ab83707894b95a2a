"""Pages of rollouts, replays, re-tuning and alarms: what they show, do and refuse."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from labeling.models import GoldLabel, Project, Question
from registry import versions
from registry.models import (
    Alarm,
    ClassificationLog,
    Guard,
    Replay,
    Rollout,
    Tuning,
    Version,
)
from registry.rollout import guard, replaying, running, tuning
from tests.makers import make_labelled, make_person, make_project, make_question
from tests.registry.makers import make_version
from tests.registry.test_rollout_guard import answers, before

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours")


@pytest.fixture
def active(project: Project) -> Version:
    return make_version(project, ["pay", "ship"], active=True)


@pytest.fixture
def candidate(project: Project, active: Version) -> Version:
    words = {"pay": ["pay"], "ship": ["ship", "fast"]}
    return make_version(project, ["pay", "ship"], words=words, strength=9.0)


def client_of(name: str, project: Project) -> Client:
    client = Client()
    client.force_login(make_person(name, project))
    return client


def url(name: str, *args: Any) -> str:
    return reverse(f"admin:registry_{name}", args=args)


def body(response: Any) -> str:
    assert response.status_code == 200, response
    text: str = response.content.decode()
    return text


def log(project: Project, text: str, **more: Any) -> ClassificationLog:
    question = Question.objects.filter(project=project, text=text).first()
    return ClassificationLog.objects.create(
        **{
            "project": project,
            "question": question or make_question(project, text),
            "text": text,
            "intents": [],
            "confidence": 0.9,
            "method": "model",
            "version": "1",
            "needs_review": False,
            "latency_ms": 4.0,
            "scores": {"model": {"pay": 0.9, "ship": 0.1}, "rules": {}},
            **more,
        }
    )


class TestRollouts:
    def test_start_compare_and_end(
        self, project: Project, active: Version, candidate: Version
    ) -> None:
        mia = client_of("mia", project)
        page = body(mia.get(url("version_change", candidate.pk)))
        assert url("rollout_start", candidate.pk) in page
        assert "Shadow" in body(mia.get(url("rollout_start", candidate.pk)))
        data = {"mode": "shadow", "percent": "50"}
        mia.post(url("rollout_start", candidate.pk), data)
        rollout = Rollout.objects.get()
        assert (rollout.mode, rollout.share) == ("shadow", 0.5)
        assert rollout.started_by is not None
        assert (rollout.started_by.username, rollout.baseline) == ("mia", active)
        page = body(mia.get(url("rollout_change", rollout.pk)))
        assert "Nothing to compare yet" in page
        assert url("rollout_live", rollout.pk) in page
        answer = {
            "active_codes": ["pay"],
            "active_confidence": 0.9,
            "active_latency_ms": 4.0,
            "method": "model",
            "latency_ms": 2.0,
            "confidence": 0.4,
        }
        logged = [log(project, text) for text in ("pay", "pay fast fast")]
        for one, codes in zip(logged, (["pay"], ["ship"]), strict=True):
            rollout.answers.create(
                request_id=one.request_id,
                text=one.text,
                codes=codes,
                agrees=codes == ["pay"],
                **answer,
            )
        Rollout.objects.update(compared=2, agreed=1, dropped=7)
        question = project.questions.get(text="pay fast fast")
        question.state = Question.State.LABELLED
        question.save()
        GoldLabel.objects.create(
            question=question,
            intent=project.intents.get(code="ship"),
            source=GoldLabel.Source.IMPORT,
            set_at=question.last_seen,
        )
        live = body(mia.get(url("rollout_live", rollout.pk)))
        for shown in ("50.0 %", "pay fast fast", "1 : 0", "100.0 %", "2.0 ms"):
            assert shown in live
        mia.post(url("rollout_end", rollout.pk), {"reason": "seen enough"})
        rollout.refresh_from_db()
        assert rollout.ended_at is not None
        page = body(mia.get(url("rollout_change", rollout.pk)))
        assert "seen enough" in page
        assert url("rollout_live", rollout.pk) not in page

    def test_a_canary_is_compared_by_what_was_logged(
        self, project: Project, candidate: Version
    ) -> None:
        rollout = running.start(candidate, mode="canary", share=0.05, by=None)
        for text in ("a", "b", "c"):
            log(project, text)
        log(project, "d", version="2", confidence=0.1, latency_ms=9.0)
        log(project, "e", version="2", method="gold")
        page = body(client_of("mia", project).get(url("rollout_change", rollout.pk)))
        assert "5.0 %" in page
        comparison = (
            client_of("mia", project)
            .get(url("rollout_change", rollout.pk))
            .context["comparison"]
        )
        assert (comparison.active.n, comparison.candidate.n) == (3, 1)
        assert (comparison.candidate.low, comparison.candidate.p50_ms) == (1.0, 9.0)

    def test_what_cannot_be_started_is_said(
        self, project: Project, active: Version, candidate: Version
    ) -> None:
        mia = client_of("mia", project)
        data = {"mode": "canary", "percent": "5"}
        refused = body(mia.post(url("rollout_start", active.pk), data))
        assert "active already" in refused
        running.start(candidate, mode="shadow", share=1, by=None)
        assert "runs in" in body(mia.post(url("rollout_start", candidate.pk), data))
        for percent in ("0", "101", "x"):
            data["percent"] = percent
            body(mia.post(url("rollout_start", candidate.pk), data))
        data["percent"] = "51"
        page = body(mia.post(url("rollout_start", candidate.pk), data))
        assert "activate it" in page
        assert Rollout.objects.count() == 1

    def test_the_guards_bounds(self, project: Project) -> None:
        mia = client_of("mia", project)
        assert "10" in body(mia.get(url("rollout_guard", project.slug)))
        data = {"is_on": "on", "percent": "25", "least": "100"}
        mia.post(url("rollout_guard", project.slug), data)
        own = Guard.objects.get()
        assert (own.project, own.rise, own.least) == (project, 0.25, 100)
        mia.post(url("rollout_guard", project.slug), {**data, "is_on": ""})
        assert not guard.guard_of(project.pk).is_on


class TestReplays:
    def test_start_watch_and_read(self, project: Project, candidate: Version) -> None:
        mia = client_of("mia", project)
        data = {"requests": "1000"}
        assert "Nobody has asked" in body(
            mia.post(url("replay_start", candidate.pk), data)
        )
        ship = project.intents.get(code="ship")
        make_labelled(project, ship, "pay fast fast")
        for text in ("pay fast fast", "fast pay fast", "pay"):
            log(project, text)
        mia.post(url("replay_start", candidate.pk), data)
        replay = Replay.objects.get()
        page = body(mia.get(url("replay_change", replay.pk)))
        assert url("replay_live", replay.pk) in page
        assert "HX-Refresh" not in mia.get(url("replay_live", replay.pk)).headers
        assert replaying.execute(replay.pk)
        assert mia.get(url("replay_live", replay.pk)).headers["HX-Refresh"] == "true"
        page = body(mia.get(url("replay_change", replay.pk)))
        assert "2 of 3 questions" in page
        assert "right now" in page
        assert "fast pay fast" in page
        better = body(mia.get(url("replay_change", replay.pk) + "?show=better"))
        assert "pay fast fast" in better
        assert "fast pay fast" not in better
        other = body(mia.get(url("replay_change", replay.pk) + "?show=unlabelled"))
        assert "fast pay fast" in other
        assert "pay fast fast" not in other
        worse = body(mia.get(url("replay_change", replay.pk) + "?show=worse&page=9"))
        assert "No answer is like that" in worse


class TestTuning:
    def form(self, project: Project, **changed: Any) -> dict[str, Any]:
        now = tuning.current(project)
        seen = {f"seen_{name}": value for name, value in now.items()}
        return {**now, **seen, **changed}

    def test_preview_apply_and_undo(self, project: Project, active: Version) -> None:
        mia = client_of("mia", project)
        make_labelled(project, project.intents.get(code="ship"), "ship it")
        for text in ("pay me", "ship it"):
            log(project, text)
        address = url("tuning_tune", project.slug)
        assert "newest 2 logged answers" in body(mia.get(address))
        data = self.form(project, accept_threshold=0.95, reason="surer")
        page = body(mia.post(address, {**data, "preview": ""}))
        assert "2 of 2 answers would change" in page
        assert not Tuning.objects.exists()
        mia.post(address, {**data, "apply": ""})
        done = Tuning.objects.get()
        project.refresh_from_db()
        assert (project.accept_threshold, done.reason) == (0.95, "surer")
        assert done.preview["changed"] == 2
        page = body(mia.get(url("tuning_change", done.pk)))
        assert "0.95" in page
        assert "Undo this change" in page
        assert mia.get(url("tuning_undo", done.pk)).status_code == 302
        project.refresh_from_db()
        assert project.accept_threshold == 0.95
        mia.post(url("tuning_undo", done.pk))
        project.refresh_from_db()
        assert project.accept_threshold == 0.3
        assert "undone by #2" in body(mia.get(url("tuning_change", done.pk)))
        assert "Undoes #1" in body(mia.get(url("tuning_changelist")))

    def test_nobody_overwrites_what_they_have_not_seen(self, project: Project) -> None:
        mia = client_of("mia", project)
        data = self.form(project, accept_threshold=0.95, apply="")
        Project.objects.update(low_confidence=0.6)
        page = body(mia.post(url("tuning_tune", project.slug), data))
        assert "changed these values meanwhile" in page
        assert not Tuning.objects.exists()

    def test_values_lie_between_0_and_1(self, project: Project) -> None:
        mia = client_of("mia", project)
        for value in ("1.1", "-1", "nan", "x", ""):
            data = self.form(project, rule_weight=value, apply="")
            body(mia.post(url("tuning_tune", project.slug), data))
        assert not Tuning.objects.exists()

    def test_values_are_proposed_where_labels_allow(
        self, project: Project, active: Version
    ) -> None:
        mia = client_of("mia", project)
        address = url("tuning_tune", project.slug) + "?propose=1"
        assert "Nothing can be proposed" in body(mia.get(address))
        pay = project.intents.get(code="pay")
        scores = {"model": {"pay": 0.7, "ship": 0.3}, "rules": {"ship": 1.0}}
        Project.objects.update(rule_weight=0.9, model_weight=0.1)
        for n in range(40):
            make_labelled(project, pay, f"pay {n}")
            log(project, f"pay {n}", scores=scores)
        page = body(mia.get(address))
        assert "40 of 40 answers would change" in page
        assert "right now" in page


class TestAlarms:
    def test_managers_see_it_until_one_has_read_it(self, project: Project) -> None:
        first, second = (make_version(project, ["pay", "ship"]) for _n in range(2))
        versions.activate(first, by=None)
        versions.activate(second, by=None)
        before(first, 100)
        answers(second, 100, low=100)
        (alarm,) = guard.check()
        mia = client_of("mia", project)
        places = [reverse("admin:index"), url("version_changelist")]
        for place in [*places, url("rollout_changelist")]:
            assert "v2 of Ours was rolled back to v1." in body(mia.get(place))
        ann = client_of("ann", project)
        assert "rolled back" not in body(ann.get(places[0]))
        assert ann.post(url("alarm_read", alarm.pk)).status_code in (403, 404)
        pages = [url("activation_changelist"), url("version_change", first.pk)]
        for language, word in (("en", "low confidence rose"), ("zh-hans", "低置信度")):
            mia.cookies["django_language"] = language
            for page in pages:
                assert word in body(mia.get(page))
        mia.cookies["django_language"] = "en"
        assert "Rolled back by itself" in body(mia.get(pages[0]))
        mia.get(url("alarm_read", alarm.pk))
        assert Alarm.objects.get().read_at is None
        mia.post(url("alarm_read", alarm.pk))
        assert Alarm.objects.get().read_by == make_person("mia")
        assert "rolled back to" not in body(mia.get(places[0]))
        assert "rolled back to v1" in body(mia.get(url("alarm_changelist")))


@pytest.mark.parametrize("who", ["ann", "rex", "out", "stranger"])
def test_only_managers_of_the_project_may(
    who: str, project: Project, active: Version, candidate: Version
) -> None:
    theirs = make_project(name="Theirs")
    client = client_of("mia", theirs) if who == "stranger" else client_of(who, project)
    rollout = running.start(candidate, mode="shadow", share=1, by=None)
    log(project, "pay")
    replay = replaying.request(candidate, requests=10, by=None)
    now = tuning.current(project)
    done = tuning.apply(project, {**now, "rule_weight": 0.5}, expected=now, by=None)
    pages = [
        url("rollout_change", rollout.pk),
        url("rollout_live", rollout.pk),
        url("rollout_end", rollout.pk),
        url("rollout_start", candidate.pk),
        url("rollout_guard", project.slug),
        url("replay_change", replay.pk),
        url("replay_live", replay.pk),
        url("replay_start", candidate.pk),
        url("tuning_change", done.pk),
        url("tuning_tune", project.slug),
        url("tuning_undo", done.pk),
    ]
    for page in pages:
        for response in (client.get(page), client.post(page, {"requests": "1000"})):
            # To the sign-in page, for who may not open the admin at all.
            refused = response.status_code in (403, 404)
            assert refused or "/login/" in response.headers.get("Location", ""), page
    rollout.refresh_from_db()
    assert rollout.ended_at is None
    assert Replay.objects.count() == Tuning.objects.count() == 1
    assert not Guard.objects.exists()


@pytest.mark.parametrize("language", ["en", "zh-hans"])
def test_empty_lists_say_what_they_are_for(language: str, project: Project) -> None:
    mia = client_of("mia", project)
    mia.cookies["django_language"] = language
    for name in ("rollout", "replay", "tuning", "alarm"):
        body(mia.get(url(f"{name}_changelist")))


def test_a_menu_leads_to_each_projects_pages(project: Project) -> None:
    mia = client_of("mia", project)
    others = [make_project() for _ in range(12)]
    for other in others:
        make_person("mia", other)
    unknown = make_project()
    for menu, page in (("tuning", "tuning_tune"), ("rollout", "rollout_guard")):
        shown = body(mia.get(url(f"{menu}_changelist")))
        for one in (project, *others):
            assert url(page, one.slug) in shown
        assert url(page, unknown.slug) not in shown
