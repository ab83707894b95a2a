"""Training's REST calls: batches, and measuring a version again."""

from collections.abc import Iterator
from typing import Any

import django_rq
import pytest
from django.test import Client

from labeling.models import Project
from registry.models import Evaluation
from tests.makers import make_key, make_project
from tests.registry.makers import make_version
from tests.training.makers import make_batch, make_trainable
from training import jobs
from training.batches import ownership
from training.models import Preset, TrainingBatch
from training.recipe import PRESETS

pytestmark = pytest.mark.django_db

BATCHES = "/api/v1/model-tuning/batches"


class Api:
    """A client app with a key."""

    def __init__(self, project: Project, scope: str = "manage") -> None:
        self.headers = {"Authorization": f"Api-Key {make_key(project, scope=scope)[1]}"}
        self.client = Client()

    def get(self, path: str) -> Any:
        return self.client.get(path, headers=self.headers)

    def post(self, path: str, body: object = None) -> Any:
        return self.client.post(
            path, body or {}, content_type="application/json", headers=self.headers
        )


@pytest.fixture(autouse=True)
def empty_queues() -> Iterator[None]:
    yield
    for name in ("default", "training"):
        django_rq.get_queue(name).empty()


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status, response.content
    assert response["Content-Type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert (problem["code"], problem["status"]) == (code, status)
    assert problem["detail"]
    return problem


def test_a_batch_is_asked_for_and_looked_at(base: str) -> None:
    project = make_trainable()
    api = Api(project)
    made = api.post(BATCHES, {"base": base, "overrides": {"epochs": 3, "seed": 5}})
    assert made.status_code == 201, made.content
    batch = made.json()
    assert batch["state"] == "queued"
    assert batch["recipe"]["epochs"] == 3
    assert batch["dataset"]["train"] == 84
    assert batch["version"] is None
    assert (batch["steps"], batch["log"]) == ([], "")
    row = TrainingBatch.objects.get()
    assert row.created_by is not None
    assert row.created_by.username.startswith("key:")

    assert api.get(f"{BATCHES}/{row.pk}").json() == batch
    (listed,) = api.get(BATCHES).json()["results"]
    assert listed["id"] == row.pk
    assert "log" not in listed


def test_a_teams_preset_is_trained_by(base: str) -> None:
    recipe = {**PRESETS["first"].to_dict(), "epochs": 9}
    Preset.objects.create(name="careful", built_on="first", recipe=recipe)
    body = {"preset": "careful", "base": base, "with_synthetic": True, "processes": 2}
    made = Api(make_trainable()).post(BATCHES, body)
    assert made.status_code == 201, made.content
    batch = made.json()
    assert (batch["preset"], batch["recipe"]["epochs"]) == ("careful", 9)
    assert (batch["with_synthetic"], batch["processes"]) == (True, 2)


def test_too_few_labels_say_how_many(base: str) -> None:
    project = make_trainable(questions=20, min_labels_first=100)
    api = Api(project)
    problem = assert_problem(
        api.post(BATCHES, {"base": base}), 409, "not_enough_labels"
    )
    assert problem["missing"] == 80
    assert api.post(BATCHES, {"base": base, "force": True}).status_code == 201


def test_a_second_batch_is_told_of_the_first(base: str) -> None:
    api = Api(make_trainable())
    first = api.post(BATCHES, {"base": base}).json()
    problem = assert_problem(api.post(BATCHES, {"base": base}), 409, "batch_running")
    assert problem["batch"] == first["id"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"preset": "nice"}, 422, "invalid_recipe"),
        ({"overrides": {"epochs": 0}}, 422, "invalid_recipe"),
        ({"overrides": {"epochs": [1]}}, 400, "invalid"),
        ({"overrides": 7}, 400, "invalid"),
        ({"base": "hub:"}, 422, "base_model_unknown"),
        ({"base": "path:/nowhere"}, 422, "base_model_unknown"),
        ({"version": 99}, 422, "version_unknown"),
        ({"version": 10**30}, 400, "malformed_json"),
        ({"preset": "incremental"}, 422, "base_model_unknown"),
        ({"force": "maybe"}, 400, "invalid"),
        ([], 400, "invalid"),
    ],
)
def test_bad_input_is_a_problem(base: str, body: Any, status: int, code: str) -> None:
    api = Api(make_trainable())
    asked = {"base": base, **body} if isinstance(body, dict) else [1]
    assert_problem(api.post(BATCHES, asked), status, code)
    assert not TrainingBatch.objects.exists()


def test_run_starts_a_failed_batch_again(base: str) -> None:
    project = make_trainable()
    batch = make_batch(project, base)
    api = Api(project)
    assert api.post(f"{BATCHES}/{batch.pk}/run").json()["state"] == "queued"
    assert ownership.claim(batch.pk)
    assert_problem(api.post(f"{BATCHES}/{batch.pk}/run"), 409, "batch_running")
    assert ownership.fail(batch.pk, 1, error="x")
    started = api.post(f"{BATCHES}/{batch.pk}/run")
    assert started.status_code == 202
    assert started.json()["state"] == "queued"


def test_a_key_sees_its_own_project_only(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    foreign = Api(make_project())
    assert_problem(foreign.get(f"{BATCHES}/{batch.pk}"), 404, "not_found")
    assert_problem(foreign.post(f"{BATCHES}/{batch.pk}/run"), 404, "not_found")
    assert foreign.get(BATCHES).json() == {"results": []}
    assert_problem(foreign.get(f"{BATCHES}/{10**30}"), 404, "not_found")


@pytest.mark.parametrize("scope", ["classify", "label"])
def test_training_takes_the_scope_manage(scope: str) -> None:
    api = Api(make_project(), scope=scope)
    for answer in (
        api.get(BATCHES),
        api.post(BATCHES),
        api.get(f"{BATCHES}/1"),
        api.post(f"{BATCHES}/1/run"),
        api.post("/api/v1/model-tuning/versions/1/evaluate"),
    ):
        assert_problem(answer, 403, "scope_too_small")


def test_batches_are_paged_from_the_newest_back(base: str) -> None:
    project = make_trainable()
    made = [make_batch(project, base).pk for _i in range(3)]
    api = Api(project)
    first = api.get(f"{BATCHES}?limit=2").json()["results"]
    assert [b["id"] for b in first] == made[:0:-1]
    rest = api.get(f"{BATCHES}?limit=2&before={made[1]}").json()["results"]
    assert [b["id"] for b in rest] == made[:1]
    for bad in ("limit=x", "limit=0", "before=-1", f"before={10**40}"):
        assert_problem(api.get(f"{BATCHES}?{bad}"), 400, "invalid")


def test_a_worker_measures_a_version_again() -> None:
    project = make_trainable(questions=40)
    version = make_version(project, ["stock", "payment"], gate="pending")
    api = Api(project)
    path = f"/api/v1/model-tuning/versions/{version.number}/evaluate"
    assert_problem(api.get(path), 404, "not_found")
    accepted = api.post(path)
    assert accepted.status_code == 202, accepted.content
    assert accepted.json() == {"version": version.number, "state": "queued"}
    assert api.post(path).status_code == 202  # asked twice, done once
    (job,) = django_rq.get_queue("default").jobs
    assert (job.func_name, list(job.args)) == ("training.jobs.evaluate", [version.pk])

    jobs.evaluate(version.pk)
    measured = api.get(path).json()
    assert measured["n"] == project.questions.filter(split="test").count()
    assert measured["metrics"]["unknown"] == {"attendance": 2, "shipping": 2}
    version.refresh_from_db()
    assert version.gate != "pending"
    assert Evaluation.objects.count() == 1
    assert_problem(api.post(path.replace("/1/", "/9/")), 404, "not_found")


def test_an_unreachable_queue_is_503(monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.exceptions import ConnectionError as NoQueue

    def gone(*args: object, **kwargs: object) -> None:
        raise NoQueue

    project = make_project()
    make_version(project)
    monkeypatch.setattr("training.batches.queueing.evaluate", gone)
    path = "/api/v1/model-tuning/versions/1/evaluate"
    assert_problem(Api(project).post(path), 503, "unavailable")


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_kept_when_the_queue_is_away(
    base: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redis.exceptions import ConnectionError as NoQueue

    def gone(*args: object, **kwargs: object) -> None:
        raise NoQueue

    monkeypatch.setattr("django_rq.queues.DjangoRQ.enqueue", gone)
    made = Api(make_trainable()).post(BATCHES, {"base": base})
    assert made.status_code == 201
    assert made.json()["state"] == "queued"
    assert TrainingBatch.objects.get().state == TrainingBatch.State.QUEUED
