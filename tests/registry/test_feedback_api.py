"""`POST /feedback`: what clients say of answers, and what it does to the queue."""

import uuid
from typing import Any

import pytest

from labeling.models import IntentAlias, Project, Question
from registry.models import Feedback
from tests.makers import make_key, make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    project = make_project()
    make_version(project, ["pay", "ship"], active=True)
    return project


@pytest.fixture
def post(project: Project, client: Any) -> Any:
    _key, secret = make_key(project)

    def post(path: str, body: dict[str, Any], secret: str = secret) -> Any:
        return client.post(
            f"/api/v1/{path}",
            body,
            content_type="application/json",
            headers={"Authorization": f"Api-Key {secret}"},
        )

    return post


def priority_of(text: str) -> float:
    return Question.objects.get(text=text).priority


def test_a_wrong_answer_goes_to_the_head_of_the_queue(project: Any, post: Any) -> None:
    unsure = post("classify", {"text": "hello"}).json()
    sure = post("classify", {"text": "pay"}).json()
    assert unsure["confidence"] < sure["confidence"]
    assert priority_of("pay") < priority_of("hello")
    response = post(
        "feedback",
        {"request_id": sure["request_id"], "verdict": "wrong", "intent": "ship"},
    )
    assert response.status_code == 200
    assert response.json() == {
        "request_id": sure["request_id"],
        "verdict": "wrong",
        "intent": "ship",
    }
    assert priority_of("pay") > priority_of("hello")
    assert Feedback.objects.get().intent == project.intents.get(code="ship")
    # Asked again, the model is as sure as before; the question stays where it is.
    post("classify", {"text": "pay"})
    assert priority_of("pay") > priority_of("hello")


def test_right_changes_no_priority(post: Any) -> None:
    answer = post("classify", {"text": "pay"}).json()
    before = priority_of("pay")
    post("feedback", {"request_id": answer["request_id"], "verdict": "right"})
    assert priority_of("pay") == before
    assert Feedback.objects.get().verdict == "right"


def test_a_later_word_replaces_the_earlier(post: Any) -> None:
    request_id = post("classify", {"text": "pay"}).json()["request_id"]
    for verdict in ("right", "wrong", "wrong"):
        body = {"request_id": request_id, "verdict": verdict}
        assert post("feedback", body).status_code == 200
    assert Feedback.objects.get().verdict == "wrong"


def test_an_old_code_names_its_intent(project: Project, post: Any) -> None:
    ship = project.intents.get(code="ship")
    IntentAlias.objects.create(project=project, code="deliver", intent=ship)
    request_id = post("classify", {"text": "pay"}).json()["request_id"]
    body = {"request_id": request_id, "verdict": "wrong", "intent": "deliver"}
    assert post("feedback", body).json()["intent"] == "ship"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"request_id": str(uuid.uuid4())}, 404, "unknown_request"),
        ({"request_id": "x"}, 400, "invalid_request_id"),
        ({"request_id": None}, 400, "request_id_missing"),
        ({"verdict": "maybe"}, 400, "invalid_verdict"),
        ({"verdict": ["right"]}, 400, "invalid_verdict"),
        ({"intent": "nothing like it"}, 400, "unknown_intent"),
        ({"intent": 7}, 400, "invalid_intent"),
    ],
)
def test_bad_input(post: Any, change: dict[str, Any], status: int, code: str) -> None:
    request_id = post("classify", {"text": "pay"}).json()["request_id"]
    body = {"request_id": request_id, "verdict": "wrong", **change}
    response = post("feedback", body)
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert not Feedback.objects.exists()


def test_another_projects_answer_cannot_be_judged(post: Any) -> None:
    request_id = post("classify", {"text": "pay"}).json()["request_id"]
    _key, secret = make_key(make_project())
    body = {"request_id": request_id, "verdict": "right"}
    response = post("feedback", body, secret=secret)
    assert (response.status_code, response.json()["code"]) == (404, "unknown_request")
