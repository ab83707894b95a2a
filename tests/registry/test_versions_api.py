"""Versions over REST: listed, activated, rolled back, by keys that may."""

from typing import Any

import pytest

from labeling.models import Project
from registry import artifacts
from registry.models import Activation, Evaluation
from tests.makers import make_key, make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db
URL = "/api/v1/model-tuning/versions"


@pytest.fixture
def project() -> Project:
    return make_project()


@pytest.fixture
def call(project: Project, client: Any) -> Any:
    keys = {scope: make_key(project, scope=scope)[1] for scope in ("label", "manage")}

    def call(path: str = "", body: Any = None, scope: str = "manage") -> Any:
        headers = {"Authorization": f"Api-Key {keys[scope]}"}
        if body is None:
            return client.get(URL + path, headers=headers)
        return client.post(
            URL + path, body, content_type="application/json", headers=headers
        )

    return call


def active(project: Project) -> list[int]:
    return list(
        project.versions.filter(state="active").values_list("number", flat=True)
    )


def test_list(project: Project, call: Any, django_assert_max_num_queries: Any) -> None:
    first = make_version(project, active=True)
    second = make_version(project, parent=first, gate="refused")
    make_version(make_project())
    values = {"version": second, "n": 10, "metrics": {}}
    Evaluation.objects.create(kind="test", accuracy=0.5, macro_f1=0.4, **values)
    Evaluation.objects.create(kind="test", accuracy=0.9, macro_f1=0.8, **values)
    Evaluation.objects.create(kind="file", accuracy=0.1, macro_f1=0.1, **values)
    with django_assert_max_num_queries(4):
        listed = call().json()["versions"]
    assert [v["number"] for v in listed] == [2, 1]
    assert listed[0]["accuracy"] == 0.9
    assert (listed[0]["gate"], listed[0]["trained_from"]) == ("refused", 1)
    assert (listed[1]["state"], listed[1]["accuracy"]) == ("active", None)


def test_activate_and_roll_back(project: Project, call: Any) -> None:
    for _ in range(2):
        make_version(project)
    assert call("/1/activate", {}).status_code == 200
    done = call("/2/activate", {"reason": "better on pairs"}).json()
    assert (done["version"], done["previous"], done["kind"]) == (2, 1, "activate")
    assert active(project) == [2]
    back = call("/rollback", {"reason": "worse after all"}).json()
    assert (back["version"], back["kind"]) == (1, "rollback")
    assert active(project) == [1]
    row = Activation.objects.latest("id")
    assert row.reason == "worse after all"
    assert row.by is not None
    assert row.by.username.startswith("key:")


@pytest.mark.parametrize("gate", ["pending", "refused"])
def test_against_the_gate(project: Project, call: Any, gate: str) -> None:
    version = make_version(project, gate=gate)
    version.gate_reasons = [{"code": "accuracy", "passed": False, "values": {}}]
    version.save()
    refused = call("/1/activate", {})
    assert (refused.status_code, refused.json()["code"]) == (409, "gate_refused")
    assert refused.json()["gate_reasons"] == version.gate_reasons
    silent = call("/1/activate", {"force": True})
    assert (silent.status_code, silent.json()["code"]) == (400, "reason_missing")
    assert active(project) == []
    forced = call("/1/activate", {"force": True, "reason": "urgent"})
    assert forced.json()["forced"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/9/activate", {}, 404, "unknown_version"),
        ("/99999999999999999999/activate", {}, 404, "unknown_version"),
        ("/x/activate", {}, 404, "not_found"),
        ("/1/activate", {"force": "yes"}, 400, "invalid_force"),
        ("/1/activate", {"reason": 1}, 400, "invalid_reason"),
        ("/1/activate", {"reason": "x" * 2001}, 400, "invalid_reason"),
        ("/1/activate", [], 400, "not_an_object"),
        ("/rollback", {}, 409, "nothing_to_roll_back"),
    ],
)
def test_bad_input(
    project: Project, call: Any, path: str, body: Any, status: int, code: str
) -> None:
    make_version(project)
    response = call(path, body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert active(project) == []


def test_conflicts(project: Project, call: Any) -> None:
    make_version(project, active=True)
    again = call("/1/activate", {})
    assert (again.status_code, again.json()["code"]) == (409, "already_active")
    broken = make_version(project)
    artifacts.remove(broken)
    damaged = call("/2/activate", {})
    assert (damaged.status_code, damaged.json()["code"]) == (409, "artifact_damaged")


def test_a_smaller_key_may_not(project: Project, call: Any) -> None:
    make_version(project)
    for path, body in (("", None), ("/1/activate", {}), ("/rollback", {})):
        response = call(path, body, scope="label")
        assert (response.status_code, response.json()["code"]) == (
            403,
            "scope_too_small",
        )
    assert active(project) == []


def test_another_projects_version_is_unknown(project: Project, call: Any) -> None:
    make_version(project)
    other = make_project()
    make_version(other)
    make_version(other)
    assert call("/2/activate", {}).status_code == 404
    assert active(other) == []
