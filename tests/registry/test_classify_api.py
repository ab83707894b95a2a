"""`POST /classify` as client apps see it: answers, problems, log, cost."""

import uuid
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from labeling import access
from labeling.models import Project, Question
from registry import artifacts
from registry.models import ClassificationLog
from tests.makers import make_intent, make_key, make_labelled, make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db
URL = "/api/v1/classify"


class Caller:
    """A client app with a key."""

    def __init__(self, project: Project, scope: str = "classify") -> None:
        self.key, self.secret = make_key(project, scope=scope)
        self.client = Client(raise_request_exception=False)

    def post(self, body: Any, url: str = URL, **headers: str) -> Any:
        return self.client.post(
            url,
            body,
            content_type="application/json",
            headers={"Authorization": f"Api-Key {self.secret}", **headers},
        )


@pytest.fixture
def project() -> Project:
    project = make_project()
    make_version(project, ["pay", "ship", "clock", "stock"], active=True)
    return project


@pytest.fixture
def caller(project: Project) -> Caller:
    return Caller(project)


def test_one_text(caller: Caller) -> None:
    response = caller.post({"text": "  pay  "})
    assert response.status_code == 200
    answer = response.json()
    assert set(answer) == {
        "request_id",
        "intents",
        "confidence",
        "method",
        "version",
        "needs_review",
        "degraded",
        "truncated",
    }
    assert [i["code"] for i in answer["intents"]] == ["pay", "clock", "ship"]
    assert set(answer["intents"][0]) == {"code", "name", "confidence", "sources"}
    assert answer["version"] == "1"
    logged = ClassificationLog.objects.get(request_id=answer["request_id"])
    assert (logged.text, logged.version, logged.method) == ("pay", "1", "model")
    assert logged.client == caller.key
    assert logged.latency_ms > 0
    assert logged.intents[0]["sources"] == answer["intents"][0]["sources"]
    question = Question.objects.get(pk=logged.question_id)
    assert (question.occurrences, question.predicted_by) == (1, "1")
    assert question.confidence == answer["confidence"]


def test_many_texts_are_answered_in_their_order(caller: Caller) -> None:
    texts = [
        f"{word} {i}" for i in range(64) for word in ("pay", "ship", "pay", "clock")
    ]
    results = caller.post({"texts": texts, "top_k": 1}).json()["results"]
    assert [r["intents"][0]["code"] for r in results] == [t.split()[0] for t in texts]
    assert {len(r["intents"]) for r in results} == {1}
    assert len({r["request_id"] for r in results}) == 256
    assert ClassificationLog.objects.count() == 256
    assert sorted(set(Question.objects.values_list("occurrences", flat=True))) == [1, 2]


def test_the_same_question_again_is_one_question(caller: Caller) -> None:
    for text in ("Pay!", "pay", "ＰＡＹ"):
        caller.post({"text": text})
    question = Question.objects.get()
    assert question.occurrences == 3
    assert ClassificationLog.objects.filter(question=question).count() == 3


def test_statements_of_a_request(project: Project, caller: Caller) -> None:
    caller.post({"text": "warm"})
    with CaptureQueriesContext(
        connection,
    ) as context:
        caller.post({"text": "pay"})
    statements = [
        q["sql"].split()[0]
        for q in context.captured_queries
        if "SAVEPOINT" not in q["sql"]
    ]
    # Key with project and version; gold labels; question; log.
    assert statements == ["SELECT", "SELECT", "WITH", "INSERT"]


def test_without_anything_the_answer_is_empty() -> None:
    answer = Caller(make_project()).post({"text": "hello"}).json()
    assert (answer["intents"], answer["method"]) == ([], "fallback")
    assert answer["needs_review"]


def test_a_broken_version_degrades_visibly(project: Project, caller: Caller) -> None:
    version = project.versions.get()
    artifacts.remove(version)
    answer = caller.post({"text": "pay"}).json()
    assert (answer["degraded"], answer["version"]) == (True, "")
    assert ClassificationLog.objects.get().degraded


BAD = [
    ({}, "text_missing"),
    ({"text": None}, "text_missing"),
    ({"texts": []}, "text_missing"),
    ({"text": ""}, "text_empty"),
    ({"text": " \n\t　"}, "text_empty"),
    ({"text": 7}, "text_not_a_string"),
    ({"text": {"a": 1}}, "text_not_a_string"),
    ({"text": "x" * 2001}, "text_too_long"),
    ({"text": "x" * 100_000}, "text_too_long"),
    ({"texts": "pay"}, "texts_not_a_list"),
    ({"texts": ["pay", ""]}, "text_empty"),
    ({"texts": ["pay", None]}, "text_not_a_string"),
    ({"texts": ["pay"] * 257}, "too_many_texts"),
    ({"text": "a", "texts": ["b"]}, "both_text_and_texts"),
    ({"text": "a", "top_k": 0}, "invalid_top_k"),
    ({"text": "a", "top_k": 21}, "invalid_top_k"),
    ({"text": "a", "top_k": "3"}, "invalid_top_k"),
    ({"text": "a", "top_k": True}, "invalid_top_k"),
    ({"text": "a", "top_k": None}, "invalid_top_k"),
    ({"text": "a", "request_id": "7"}, "invalid_request_id"),
    ({"text": "a", "request_id": 7}, "invalid_request_id"),
    ({"texts": ["a"], "request_id": str(uuid.uuid4())}, "request_id_with_texts"),
    ([], "not_an_object"),
    ("pay", "not_an_object"),
    ('"pay"', "not_an_object"),
    ("null", "not_an_object"),
    ("{", "malformed_json"),
    ("", "text_missing"),
    (b"\xff\xfe\x00p", "malformed_json"),
    ('{"text": "面条"}'.encode("gb18030"), "malformed_json"),
    ("[" * 100_000, "malformed_json"),
    ('{"text": "\\u0000"}', "malformed_json"),
    ('{"text": "half \\ud83d"}', "malformed_json"),
    ('{"text": "a", "top_k": NaN}', "malformed_json"),
    ('{"text": "a", "top_k": 1e999}', "malformed_json"),
]


@pytest.mark.parametrize(("body", "code"), BAD)
def test_bad_input_is_a_problem(caller: Caller, body: Any, code: str) -> None:
    if body == "pay":
        body = '["pay"]'
    response = caller.post(body)
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert (response.status_code, problem["code"]) == (400, code)
    assert problem["status"] == 400
    assert problem["detail"]
    assert ClassificationLog.objects.count() == 0
    assert Question.objects.count() == 0


def test_the_longest_text_is_taken(caller: Caller) -> None:
    assert caller.post({"text": " " * 50 + "长" * 2000}).status_code == 200


def test_a_huge_body_is_refused_unread(caller: Caller) -> None:
    response = caller.post(b'{"text": "' + b"x" * 5_000_000 + b'"}')
    assert (response.status_code, response.json()["code"]) == (413, "body_too_large")


def test_other_content_types_and_methods(caller: Caller) -> None:
    headers = {"Authorization": f"Api-Key {caller.secret}"}
    form = caller.client.post(URL, {"text": "pay"}, headers=headers)
    assert (form.status_code, form.json()["code"]) == (415, "unsupported_media_type")
    get = caller.client.get(URL, headers=headers)
    assert (get.status_code, get.json()["code"]) == (405, "method_not_allowed")


def test_keys(project: Project, caller: Caller) -> None:
    stranger = Client().post(URL, {"text": "a"}, content_type="application/json")
    assert (stranger.status_code, stranger.json()["code"]) == (401, "key_missing")
    forged = Caller(project)
    forged.secret += "x"
    assert forged.post({"text": "a"}).json()["code"] == "invalid_key"
    access.revoke_key(caller.key)
    assert caller.post({"text": "a"}).status_code == 401
    assert Caller(project, "manage").post({"text": "a"}).status_code == 200


def test_a_key_sees_its_own_project_only(caller: Caller) -> None:
    other = make_project()
    make_labelled(other, make_intent(other, "secret"), "pay")
    answer = caller.post({"text": "pay"}).json()
    assert answer["method"] == "model"


class TestRequestIds:
    def test_the_same_id_gets_the_same_answer_counted_once(
        self, project: Project, caller: Caller
    ) -> None:
        body = {"text": "pay", "request_id": str(uuid.uuid4()), "top_k": 2}
        first = caller.post(body)
        make_version(project, ["pay", "ship"], active=True)
        again = caller.post(body)
        assert first.status_code == again.status_code == 200
        assert first.json() == again.json()
        assert first.json()["request_id"] == body["request_id"]
        assert ClassificationLog.objects.count() == 1
        assert Question.objects.get().occurrences == 1

    def test_an_id_belongs_to_one_question(self, caller: Caller) -> None:
        body = {"text": "pay", "request_id": str(uuid.uuid4())}
        caller.post(body)
        response = caller.post({**body, "text": "ship"})
        assert (response.status_code, response.json()["code"]) == (
            409,
            "request_id_taken",
        )

    def test_another_projects_answer_is_never_shown(self, caller: Caller) -> None:
        body = {"text": "pay", "request_id": str(uuid.uuid4())}
        caller.post(body)
        response = Caller(make_project()).post(body)
        assert response.json()["code"] == "request_id_taken"
        assert "intents" not in response.json()


@pytest.mark.django_db(transaction=True)
def test_one_id_many_times_at_once_is_one_answer(caller: Caller) -> None:
    import threading

    body = {"text": "pay", "request_id": str(uuid.uuid4())}
    barrier, got = threading.Barrier(8), []

    def send() -> None:
        barrier.wait()
        try:
            got.append(Caller.post(caller, body).json())
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    assert all(answer == got[0] for answer in got)
    assert ClassificationLog.objects.count() == 1
    assert Question.objects.get().occurrences == 1
