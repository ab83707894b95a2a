"""The labeling calls of the REST API."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from labeling import queue
from labeling.models import Annotation, KeywordRule, Lease, Question
from tests.makers import (
    make_intent,
    make_key,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db
BASE = "/api/v1/model-tuning"


@pytest.fixture
def project():
    return make_project(test_share=0)  # nothing for the audit


@pytest.fixture
def key(project):
    return make_key(project, scope="label")[0]


@pytest.fixture
def api(key):
    """A client with a new secret for the same key."""
    from labeling import access

    secret = "tl_a-secret-of-this-test"
    key.hash = access.hash_key(secret)
    key.save()
    return Client(headers={"Authorization": f"Api-Key {secret}"})


def label(api, question, **body):
    return api.post(
        f"{BASE}/questions/{question.pk}/label", body, content_type="application/json"
    )


def problem(response, status, code):
    assert response.status_code == status, response.content
    body = response.json()
    assert body["code"] == code
    return body


def test_the_round_trip(api, key, project):
    pay = make_intent(project, "pay")
    make_question(project, priority=0.5)
    question = make_question(
        project,
        "怎么付款？",
        priority=2,
        confidence=0.25,
        predicted=[{"code": "pay", "confidence": 0.25}],
        predicted_by="3",
        occurrences=4,
    )
    results = api.get(f"{BASE}/questions/unlabeled?limit=2").json()["results"]
    assert len(results) == 2
    first = results[0]
    assert (first["id"], first["text"]) == (question.pk, "怎么付款？")
    assert first["predicted"] == [{"code": "pay", "confidence": 0.25}]
    assert (first["confidence"], first["version"]) == (0.25, "3")
    assert first["occurrences"] == 4
    response = label(
        api, question, intent="pay", token=first["token"], comment="ok", time_spent_ms=9
    )
    assert response.status_code == 200, response.content
    assert response.json() == {
        "id": question.pk,
        "state": "labelled",
        "intents": ["pay"],
    }
    annotation = Annotation.objects.get()
    assert annotation.annotator == key.user
    assert (annotation.comment, annotation.time_spent_ms) == ("ok", 9)
    assert question.gold_labels.get().intent == pay


def test_asking_again_gives_the_same_questions(api, project):
    for _n in range(3):
        make_question(project)
    first = api.get(f"{BASE}/questions/unlabeled?limit=2").json()["results"]
    again = api.get(f"{BASE}/questions/unlabeled?limit=2").json()["results"]
    assert [q["token"] for q in again] == [q["token"] for q in first]


def test_two_keys_get_different_questions(api, project):
    for _n in range(4):
        make_question(project)
    _key, secret = make_key(project, scope="label")
    other = Client(headers={"Authorization": f"Api-Key {secret}"})
    ids = [
        {
            q["id"]
            for q in c.get(f"{BASE}/questions/unlabeled?limit=2").json()["results"]
        }
        for c in (api, other)
    ]
    assert len(ids[0] | ids[1]) == 4


def test_nothing_left(api):
    assert api.get(f"{BASE}/questions/unlabeled").json() == {"results": []}


@pytest.mark.parametrize("limit", ["0", "51", "-1", "x", "1.5", "9" * 30])
def test_a_limit_that_cannot_be(api, limit):
    response = api.get(f"{BASE}/questions/unlabeled?limit={limit}")
    assert "limit" in problem(response, 400, "invalid")["errors"]


def test_a_stale_token(api, key, project):
    make_intent(project, "pay")
    question = make_question(project)
    [held] = queue.claim(project, key.user)
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    queue.claim(project, make_person("ann", project))
    response = label(api, question, intent="pay", token=held.token)
    problem(response, 409, "stale_lease")
    assert not Annotation.objects.exists()


def test_an_unknown_intent(api, key, project):
    make_intent(make_project(), "foreign")
    question = make_question(project)
    [held] = queue.claim(project, key.user)
    response = label(api, question, intent="foreign", token=held.token)
    assert problem(response, 422, "unknown_intent")["intents"] == ["foreign"]


def test_several_intents(api, key, project):
    make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    [held] = queue.claim(project, key.user)
    codes = ["pay", "stock"]
    response = label(api, question, intents=codes, token=held.token)
    problem(response, 422, "wrong_number_of_intents")
    type(project).objects.update(is_multi_intent=True)
    response = label(api, question, intents=codes, token=held.token)
    assert sorted(response.json()["intents"]) == codes


def test_with_overlap_the_question_stays_open(api, key, project):
    type(project).objects.update(overlap=2)
    project.refresh_from_db()
    make_intent(project, "pay")
    question = make_question(project)
    [held] = queue.claim(project, key.user)
    response = label(api, question, intent="pay", token=held.token)
    assert response.json()["state"] == "open"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "token"),
        ({"token": 1}, "non_field_errors"),
        ({"token": 1, "intent": "a", "intents": ["a"]}, "non_field_errors"),
        ({"token": "x", "intent": "a"}, "token"),
        ({"token": 0, "intent": "a"}, "token"),
        ({"token": 1, "intent": ""}, "intent"),
        ({"token": 1, "intent": "x" * 101}, "intent"),
        ({"token": 1, "intents": "a"}, "intents"),
        ({"token": 1, "intents": ["a"] * 51}, "intents"),
        ({"token": 1, "intents": [{"a": 1}]}, "intents"),
        ({"token": 1, "intent": "a", "comment": "x" * 2001}, "comment"),
        ({"token": 1, "intent": "a", "time_spent_ms": -1}, "time_spent_ms"),
        ({"token": 1, "intent": "a", "time_spent_ms": 2**31}, "time_spent_ms"),
    ],
)
def test_a_body_that_cannot_be(api, project, body, field):
    errors = problem(label(api, make_question(project), **body), 400, "invalid")
    assert field in errors["errors"]


def test_another_projects_question_is_not_there(api, project):
    make_intent(project, "pay")
    other = make_project()
    question = make_question(other)
    [held] = queue.claim(other, make_person("ann", other))
    response = label(api, question, intent="pay", token=held.token)
    problem(response, 404, "not_found")
    question.refresh_from_db()
    assert question.state == "open"


@pytest.mark.parametrize("pk", ["0", "9" * 18, "9" * 40, "9" * 5000, "x", "-1"])
def test_a_question_that_is_not_there(api, pk):
    response = api.post(
        f"{BASE}/questions/{pk}/label",
        {"token": 1, "intent": "a"},
        content_type="application/json",
    )
    problem(response, 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "stats", "classify"),
        ("get", "questions/unlabeled", "classify"),
        ("post", "questions/1/label", "classify"),
        ("post", "keywords/extract", "label"),
    ],
)
def test_a_smaller_scope_is_not_enough(project, method, path, scope):
    _key, secret = make_key(project, scope=scope)
    client = Client(headers={"Authorization": f"Api-Key {secret}"})
    response = getattr(client, method)(f"{BASE}/{path}")
    problem(response, 403, "scope_too_small")
    problem(getattr(Client(), method)(f"{BASE}/{path}"), 401, "key_missing")


def test_stats_count_this_project_alone(api, project):
    pay = make_intent(project, "pay")
    make_question(project), make_question(project)
    make_question(project, state=Question.State.SKIPPED)
    make_labelled(project, pay)
    make_question(make_project())
    body = api.get(f"{BASE}/stats").json()
    assert body == {
        "project": project.slug,
        "questions": {
            "open": 2,
            "labelled": 1,
            "skipped": 1,
            "disputed": 0,
            "total": 4,
        },
        "labels_until_training": 99,
    }


def test_keywords_are_mined_and_wait_for_approval(project):
    pay = make_intent(project, "pay")
    for n in range(4):
        make_labelled(project, pay, f"invoice of {n} weeks", split="train")
    for n in range(8):
        make_labelled(
            project, make_intent(project), f"other thing {n * 7}", split="train"
        )
    _key, secret = make_key(project, scope="manage")
    client = Client(headers={"Authorization": f"Api-Key {secret}"})
    path = f"{BASE}/keywords/extract"
    response = client.post(path, {"min_support": 3}, content_type="application/json")
    assert response.status_code == 200, response.content
    [invoice] = [r for r in response.json()["results"] if r["pattern"] == "invoice"]
    assert (invoice["intent"], invoice["support"]) == ("pay", 4)
    assert invoice["state"] == "candidate"
    assert KeywordRule.objects.get(pk=invoice["id"]).state == "candidate"
    assert client.post(path, content_type="application/json").status_code == 200
    response = client.post(path, {"min_support": 0}, content_type="application/json")
    problem(response, 400, "invalid")


def test_the_schema_describes_the_calls():
    headers = {"Accept": "application/json"}
    paths = Client().get("/api/v1/schema/", headers=headers).json()["paths"]
    call = paths["/api/v1/model-tuning/questions/{question_id}/label"]["post"]
    own = {"200", "400", "401", "403", "404", "409", "422"}
    # Any call with a body may be answered with these, too.
    assert set(call["responses"]) == own | {"406", "413", "415", "503"}
    assert "application/problem+json" in call["responses"]["409"]["content"]
    assert call["security"] == [{"ApiKey": []}]
