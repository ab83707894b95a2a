"""The admin's first page: right numbers, few queries, and always a next step."""

import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.cache import cache
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling import access
from labeling.models import Annotation, Dataset, Project
from registry.models import Activation, ClassificationLog, Evaluation, Version
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
    make_rule,
)
from training.models import TrainingBatch
from tuneloop import traffic
from tuneloop.dashboard import Standing

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours", min_labels_first=10, min_labels_next=20)


def signed_in(name: str, *projects: Project) -> Client:
    person = make_person(name)
    for project in projects:
        make_person(name, project)
    client = Client()
    client.force_login(person)
    return client


def dashboard(client: Client, **params: Any) -> Any:
    page = client.get(reverse("admin:index"), params)
    assert page.status_code == 200
    return page


def standing(project: Project, role: str = "manager") -> Standing:
    return Standing(project, role, 0)


def log(project: Project, at: datetime, method: str = "model", **values: Any) -> None:
    ClassificationLog.objects.create(
        request_id=uuid.uuid4(),
        project=project,
        text="x",
        intents=[],
        confidence=0.5,
        method=method,
        latency_ms=1,
        **{"needs_review": False, "created_at": at, **values},
    )


def version(project: Project, number: int, **values: Any) -> Version:
    made = {"artifact": "x", "manifest": {}, "label_set": [], **values}
    return Version.objects.create(project=project, number=number, **made)


def activate(made: Version, accuracy: float = 0.9) -> Activation:
    Version.objects.filter(pk=made.pk).update(state="active")
    Evaluation.objects.create(
        version=made, kind="test", n=9, accuracy=accuracy, macro_f1=0.8, metrics={}
    )
    return Activation.objects.create(
        project=made.project, version=made, kind="activate"
    )


class TestTraffic:
    def test_days_and_methods_in_the_servers_time_zone(self, project: Project) -> None:
        now = timezone.localtime()
        midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
        log(project, midnight, "gold")
        log(project, midnight - timedelta(seconds=1), "model", needs_review=True)
        log(project, midnight - timedelta(days=13), "rules")
        log(project, midnight - timedelta(days=13, seconds=1), "too old")
        log(make_project(), midnight, "not ours")
        shown = traffic.of(project)
        assert [day.day for day in shown.days][-1] == now.date()
        assert len(shown.days) == 14
        assert shown.days[13].by_method == {"gold": 1}
        assert shown.days[12].by_method == {"model": 1}
        assert shown.days[0].by_method == {"rules": 1}
        assert [method for method, _name, _n in shown.legend] == [
            *("gold", "model", "rules"),
        ]
        assert shown.asked == 2
        assert shown.low_rate == pytest.approx(0.5)

    def test_bars_are_stacked_to_the_busiest_day(self, project: Project) -> None:
        today = timezone.localtime()
        for method in ("model", "model", "gold", "rules"):
            log(project, today, method)
        log(project, today - timedelta(days=1), "model")
        days = traffic.of(project).days
        assert [(b.method, b.y, b.height) for b in days[-1].bars] == [
            ("gold", 75.0, 25.0),
            ("model", 25.0, 50.0),
            ("rules", 0.0, 25.0),
        ]
        assert [(b.y, b.height) for b in days[-2].bars] == [(75.0, 25.0)]

    def test_nothing_asked(self, project: Project) -> None:
        shown = traffic.of(project)
        assert (shown.asked, shown.low_rate, shown.most, shown.legend) == (
            0,
            None,
            0,
            [],
        )

    def test_past_days_of_a_busy_project_are_remembered_today_is_not(
        self, project: Project, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        now = timezone.localtime()
        monkeypatch.setattr(traffic, "_REMEMBER_ABOVE", 0)
        log(project, now)
        log(project, now - timedelta(days=1))
        assert traffic.of(project).asked == 2
        log(project, now)
        log(project, now - timedelta(days=1))
        assert traffic.of(project).asked == 3
        cache.clear()
        assert traffic.of(project).asked == 4

    def test_a_quiet_project_is_counted_anew(self, project: Project) -> None:
        yesterday = timezone.localtime() - timedelta(days=1)
        log(project, yesterday)
        assert traffic.of(project).asked == 1
        log(project, yesterday)
        assert traffic.of(project).asked == 2


class TestNumbers:
    def test_states_and_low_confidence(self, project: Project) -> None:
        intent = make_intent(project)
        make_question(project, confidence=0.69)
        make_question(project, confidence=0.7)
        make_question(project)
        make_labelled(project, intent, confidence=0.1)
        make_question(make_project(), confidence=0.1)
        shown = standing(project)
        assert shown.states == {"open": 3, "labelled": 1, "skipped": 0, "disputed": 0}
        assert shown.low_confidence == 1
        assert shown.questions == 4

    def test_progress_to_the_first_and_the_next_training(
        self, project: Project
    ) -> None:
        intent = make_intent(project)
        for _ in range(4):
            make_labelled(project, intent, split="train")
        shown = standing(project)
        assert (shown.missing_labels, shown.needed_labels) == (6, 10)
        assert shown.label_progress == pytest.approx(0.4)
        project.questions.update(trained_in="1")
        activate(version(project, 1))
        for _ in range(5):
            make_labelled(project, intent, split="train")
        shown = standing(project)
        assert (shown.missing_labels, shown.needed_labels) == (15, 20)
        assert shown.label_progress == pytest.approx(0.25)

    def test_active_version_with_its_newest_measurement(self, project: Project) -> None:
        active = version(project, 1)
        activation = activate(active, accuracy=0.8)
        Evaluation.objects.create(
            version=active, kind="test", n=9, accuracy=0.85, metrics={}
        )
        Evaluation.objects.create(
            version=active, kind="file", n=9, accuracy=0.1, metrics={}
        )
        version(project, 2)
        shown = standing(project)
        assert shown.active.number == 1
        assert shown.active.accuracy == 0.85
        assert shown.active.since == activation.created_at
        assert shown.newest_version.number == 2

    def test_own_labels_are_own_and_of_this_project(self, project: Project) -> None:
        ann, rex = make_person("ann", project), make_person("rex", project)
        for person, where in ((ann, project), (rex, project), (ann, make_project())):
            Annotation.objects.create(
                question=make_question(where), annotator=person, verdict="label"
            )
        old = Annotation.objects.create(
            question=make_question(project), annotator=ann, verdict="label"
        )
        Annotation.objects.filter(pk=old.pk).update(
            updated_at=timezone.now() - timedelta(days=8)
        )
        own = Standing(project, "annotator", ann.pk).own_labels
        assert own == {"today": 1, "week": 1, "total": 2}


class TestNextStep:
    def test_goes_round_the_loop(self, project: Project) -> None:
        assert standing(project).next_step == "intents"
        intent = make_intent(project)
        assert standing(project).next_step == "import"
        make_question(project)
        assert standing(project).next_step == "label"
        for _ in range(10):
            make_labelled(project, intent, split="train")
        assert standing(project).next_step == "train"
        batch = TrainingBatch.objects.create(
            project=project,
            preset="first",
            recipe={},
            base="x",
            dataset=Dataset.objects.create(
                project=project,
                digest="d",
                label_set=[],
                train_count=1,
                validation_count=0,
            ),
        )
        assert standing(project).next_step == "batch"
        TrainingBatch.objects.filter(pk=batch.pk).update(
            state="succeeded", finished_at=timezone.now()
        )
        first = version(project, 1, gate="passed")
        assert standing(project).next_step == "activate"
        Version.objects.filter(pk=first.pk).update(gate="refused")
        assert standing(project).next_step == "look"
        activate(first)
        project.questions.filter(state="labelled").update(trained_in="1")
        assert standing(project).next_step == "label"
        second = version(project, 2, gate="refused")
        # Something serves: a refused version is a remark, no longer the next step.
        assert standing(project).next_step == "label"
        assert standing(project).refused == second
        project.questions.filter(state="open").update(state="skipped")
        assert standing(project).next_step == "rest"

    def test_an_annotator_labels(self, project: Project) -> None:
        assert standing(project, "annotator").next_step == "wait"
        make_intent(project)
        make_question(project)
        assert standing(project, "annotator").next_step == "label"
        project.questions.update(state="skipped")
        assert standing(project, "annotator").next_step == "rest"


class TestPage:
    def test_without_a_project(self) -> None:
        out = make_person("out")
        out.is_staff = True
        out.save()
        client = Client()
        client.force_login(out)
        assert "not a member of any project" in dashboard(client).content.decode()
        client.force_login(User.objects.create_superuser("root", password="root"))
        body = dashboard(client).content.decode()
        assert "no project yet" in body
        assert "up --demo" in body

    @pytest.mark.parametrize("language", ["en", "zh-hans"])
    @pytest.mark.parametrize("name", ["ann", "rex", "mia"])
    def test_opens_for_every_role_empty_and_full(
        self, name: str, language: str, project: Project
    ) -> None:
        client = signed_in(name, project)
        client.cookies["django_language"] = language
        dashboard(client)
        make_question(project, confidence=0.1)
        make_rule(project, "x", make_intent(project), state="candidate")
        log(project, timezone.now(), "model")
        log(project, timezone.now(), "something new")
        activate(version(project, 1))
        body = dashboard(client).content.decode()
        assert ("<svg" in body) == (name == "mia")

    def test_annotators_see_no_versions_or_traffic(self, project: Project) -> None:
        log(project, timezone.now())
        activate(version(project, 1))
        body = dashboard(signed_in("ann", project)).content.decode()
        assert reverse("admin:registry_activation_changelist") not in body
        assert "Traffic" not in body

    def test_the_choice_is_remembered_and_bounded_by_membership(
        self, project: Project
    ) -> None:
        second, foreign = make_project(name="Second"), make_project(name="Foreign")
        client = signed_in("mia", project, second)
        assert dashboard(client).context["standing"].project == project
        chosen = dashboard(client, project=second.slug)
        assert chosen.context["standing"].project == second
        assert dashboard(client).context["standing"].project == second
        tried = dashboard(client, project=foreign.slug)
        assert tried.context["standing"].project == second
        assert "Foreign" not in tried.content.decode()

    def test_the_role_is_the_one_in_the_chosen_project(self, project: Project) -> None:
        second = make_project(name="Second")
        mia = make_person("mia", project)
        access.add_member(second, mia, role="annotator")
        client = Client()
        client.force_login(mia)
        assert dashboard(client).context["standing"].is_manager
        page = dashboard(client, project=second.slug)
        assert not page.context["standing"].is_manager

    def test_few_queries(
        self, project: Project, django_assert_max_num_queries: Any
    ) -> None:
        intent = make_intent(project)
        for number in range(1, 9):
            make_question(project)
            make_labelled(project, intent)
            activation = version(project, number)
            Activation.objects.create(
                project=project, version=activation, kind="activate"
            )
        client = signed_in("mia", project)
        with django_assert_max_num_queries(21):
            dashboard(client)


class TestReview:
    def test_production_accuracy_with_its_worst_intents(self, project: Project) -> None:
        for code, right in (("good", 20), ("bad", 6)):
            intent = make_intent(project, code)
            for number in range(20):
                question = make_labelled(
                    project,
                    intent,
                    split="test",
                    occurrences=1,
                    predicted=[
                        {"code": code if number < right else "x", "confidence": 0.9}
                    ],
                )
                question.gold_labels.update(source="annotation")
        shown = standing(project)
        assert shown.accuracy.overall.share == pytest.approx(26 / 40)
        assert [code for code, _one in shown.worst_intents] == ["bad", "good"]
        body = dashboard(signed_in("mia", project)).content.decode()
        assert "Right in production" in body
        assert body.count("tl-interval-range") == 3
        assert (
            "Right in production"
            not in dashboard(signed_in("rex", project)).content.decode()
        )

    def test_production_accuracy_is_that_of_what_serves(self, project: Project) -> None:
        intent = make_intent(project, "a")
        for by, said, times in (("", "a", 10), ("1", "x", 11), ("2", "a", 12)):
            for _ in range(times):
                question = make_labelled(
                    project,
                    intent,
                    split="test",
                    occurrences=1,
                    predicted=[{"code": said, "confidence": 0.9}],
                    predicted_by=by,
                )
                question.gold_labels.update(source="annotation")
        rules_alone = standing(project).accuracy.overall
        assert (rules_alone.n, rules_alone.share) == (10, 1.0)
        activate(version(project, 1))
        version(project, 2)
        first = standing(project).accuracy.overall
        assert (first.n, first.share) == (11, 0.0)

    def test_says_how_many_blind_labels_are_missing(self, project: Project) -> None:
        body = dashboard(signed_in("mia", project)).content.decode()
        assert "10 more blind labels" in body

    def test_what_reviewers_have_to_settle(self, project: Project) -> None:
        make_question(project, state="disputed")
        make_labelled(project, make_intent(project), suspicion=0.9)
        make_question(make_project(), state="disputed")
        shown = standing(project, "reviewer")
        assert (shown.disputed.shown, shown.suspect.shown) == (1, 1)
        assert "queue=disputed" in dashboard(signed_in("rex", project)).content.decode()
        assert "To review" not in dashboard(signed_in("ann", project)).content.decode()
