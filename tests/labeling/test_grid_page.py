"""The grid page: what it finds, what it tells before, what it does and takes back."""

import re

import pytest
from django.test import Client
from django.urls import reverse

from labeling.bulk import finding
from labeling.models import BulkAction, Question
from tests.labeling.pages import signed_in
from tests.labeling.vectors import by_first_letter, place, towards
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db

HTMX = {"HX-Request": "true"}


@pytest.fixture
def project():
    return make_project(name="Factory")


@pytest.fixture
def pay(project):
    return make_intent(project, "pay", name="Payment")


@pytest.fixture
def ann(project, pay):
    return signed_in("ann", project)


def open_question(project, text, **values):
    return make_question(project, text, **{"split": "train", **values})


def address(project, step=""):
    return reverse("labeling:grid", args=[project.slug]) + step


def body_of(client, project, **query):
    response = client.get(address(project), query, headers=HTMX)
    assert response.status_code == 200
    return response.content.decode()


def shown(html):
    return re.findall(r'class="tl-grid-text"[^>]*>([^<]*)<', html)


def checked(html):
    return len(re.findall(r'<input type="checkbox" name="id"[^>]*checked', html))


# --- What it finds --------------------------------------------------------------------


def test_open_questions_by_priority_without_test_questions(project, ann):
    open_question(project, "second", priority=1)
    open_question(project, "first", priority=2)
    make_question(project, "secret", split="test")
    make_labelled(project, project.intents.get(), "done", split="train")
    html = body_of(ann, project)
    assert shown(html) == ["first", "second"]
    assert checked(html) == 0
    assert "<html" not in html


def test_by_text_and_by_filter(project, ann):
    ship = make_intent(project, "ship")
    low = {"predicted": [{"code": "ship", "confidence": 0.4}], "confidence": 0.4}
    high = {"predicted": [{"code": "pay", "confidence": 0.9}], "confidence": 0.9}
    open_question(project, "订单什么时候发货", **low)
    open_question(project, "订单怎么付款", **high, is_conflict=True)
    make_labelled(project, ship, "订单在哪里", split="train")
    assert shown(body_of(ann, project, q="发货")) == ["订单什么时候发货"]
    assert len(shown(body_of(ann, project, q="订单"))) == 2
    assert len(shown(body_of(ann, project, q="订单", state="any"))) == 3
    assert shown(body_of(ann, project, predicted="pay")) == ["订单怎么付款"]
    assert shown(body_of(ann, project, below="50")) == ["订单什么时候发货"]
    assert shown(body_of(ann, project, conflict="1")) == ["订单怎么付款"]
    assert shown(body_of(ann, project, gold="ship", state="labelled")) == ["订单在哪里"]
    nothing = body_of(ann, project, q="发货", predicted="pay")
    assert shown(nothing) == []
    assert "No question found" in nothing


def test_mistyped_addresses_mean_nothing(project, ann):
    open_question(project, "only one")
    odd = {"state": "x", "like": "0x1", "below": "-3", "predicted": "gone", "q": "\0"}
    assert shown(body_of(ann, project, **odd)) == ["only one"]
    assert shown(body_of(ann, project, like="123456")) == []


def test_like_a_question_all_is_chosen_nearest_first(project, ann):
    source = place(open_question(project, "source"), towards(1))
    place(open_question(project, "near"), towards(1, turned=5))
    place(open_question(project, "nearer"), towards(1, turned=2))
    place(open_question(project, "far"), towards(50))
    place(make_question(project, "secret", split="test"), towards(1, turned=1))
    place(make_labelled(project, project.intents.get(), "done"), towards(1, turned=1))
    html = body_of(ann, project, like=source.pk)
    assert shown(html) == ["source", "nearer", "near"]
    assert checked(html) == 3


def test_a_question_that_was_not_compared_yet(project, ann):
    question = open_question(project, "new")
    labelled = make_labelled(project, project.intents.get(), "new too", split="train")
    assert shown(body_of(ann, project, like=question.pk)) == ["new"]
    assert "Not compared" in body_of(ann, project, like=labelled.pk)


def test_a_cluster(project, ann):
    leader = open_question(project, "leader")
    open_question(project, "member", cluster=leader)
    open_question(project, "done", cluster=leader, state="labelled")
    html = body_of(ann, project, cluster=leader.pk)
    assert shown(html) == ["leader", "member"]
    assert checked(html) == 2
    assert "1 more in another state" in html
    other = make_project()
    make_person("ann", other)
    assert shown(body_of(ann, other, cluster=leader.pk)) == [], "of another project"


def test_by_meaning(project, ann, settings):
    settings.LABELING_ENCODER = f"{by_first_letter.__module__}.by_first_letter"
    for text in ("apple", "banana", "avocado"):
        question = open_question(project, text)
        place(question, by_first_letter([text])[0])
    html = body_of(ann, project, q="aubergine", by="meaning")
    assert set(shown(html)[:2]) == {"apple", "avocado"}
    assert checked(html) == 0


def test_without_an_encoder_it_says_what_to_do(project, ann, settings, monkeypatch):
    def missing(texts):
        raise finding.similar.EncoderMissing("Run this and that.")

    monkeypatch.setattr(finding.similar, "encode", missing)
    open_question(project, "apple")
    html = body_of(ann, project, q="fruit", by="meaning")
    assert "Run this and that." in html


def test_empty_states(project, ann):
    assert "no questions yet" in body_of(ann, project)
    make_labelled(project, project.intents.get(), split="train")
    assert "Nothing is open" in body_of(ann, project)


def test_more_than_fit(project, ann, monkeypatch):
    monkeypatch.setattr(finding, "SHOWN", 2)
    for n in range(4):
        open_question(project, f"question {n}")
    html = body_of(ann, project, q="question")
    assert len(shown(html)) == 2
    assert "Label all 4 matches" in html
    assert f"{address(project, '/all')}?q=question" in html


# --- What it does ---------------------------------------------------------------------


def test_preview_label_and_undo(project, ann, pay):
    questions = [open_question(project, f"question {n}") for n in range(3)]
    chosen = {"id": [question.pk for question in questions[:2]], "intent": "pay"}
    html = ann.post(address(project, "/preview"), chosen).content.decode()
    assert "Label 2 questions" in html
    assert "2</b> open questions get this label" in html
    assert not BulkAction.objects.exists()

    html = ann.post(address(project, "/label"), chosen).content.decode()
    assert "2</b> questions labelled" in html
    assert shown(html) == ["question 2"]
    action = BulkAction.objects.get()
    assert (action.kind, action.count) == ("selection", 2)
    assert pay.gold_labels.count() == 2

    step = address(project, "/undo")
    html = ann.post(step, {"action": action.pk}).content.decode()
    assert "Taken back" in html
    assert len(shown(html)) == 3
    assert "undone by ann" in html
    again = ann.post(step, {"action": action.pk})
    assert again.status_code == 409
    assert "already" in again.content.decode()


def test_the_preview_tells_what_changes_and_what_is_left_out(project, pay):
    rex = signed_in("rex", project)
    ship = make_intent(project, "ship")
    changed = make_labelled(project, ship, split="train")
    same = make_labelled(project, pay, split="train")
    secret = make_question(project, split="test")
    chosen = {"id": [changed.pk, same.pk, secret.pk], "intent": "pay"}
    html = rex.post(address(project, "/preview"), chosen).content.decode()
    assert "Label 1 question" in html
    assert re.search(r"1</b> changed from\s*<span class=\"tl-code\">ship", html)
    assert "1 has this label already" in html
    assert "1 left out: a test question" in html
    ann = signed_in("ann", project)
    html = ann.post(address(project, "/preview"), chosen).content.decode()
    assert "Nothing to label" in html
    assert "only reviewers change" in html
    # Too late: the dialog says so instead of the page.
    response = ann.post(address(project, "/label"), chosen)
    assert response["HX-Retarget"] == "#grid-dialog-content"
    assert not BulkAction.objects.exists()


def test_a_cluster_is_remembered_as_one(project, ann):
    leader = open_question(project, "leader")
    data = {"id": leader.pk, "intent": "pay", "cluster": leader.pk}
    ann.post(address(project, "/label"), data)
    action = BulkAction.objects.get()
    assert action.kind == "cluster"
    assert str(leader.pk) in action.description


@pytest.mark.parametrize("step", ["/preview", "/label"])
def test_without_a_right_intent_nothing_happens(ann, step):
    project = make_project(is_multi_intent=True)
    make_person("ann", project)
    question = open_question(project, "question")
    for intent in ([], ["nope"]):
        data = {"id": question.pk, "intent": intent}
        response = ann.post(address(project, step), data)
        assert response.status_code == 422
    question.refresh_from_db()
    assert question.state == Question.State.OPEN


def test_all_matches_of_a_filter(project, ann, monkeypatch):
    monkeypatch.setattr(finding, "SHOWN", 2)
    for n in range(5):
        open_question(project, f"pay bill {n}")
    other = open_question(project, "something else")
    page = ann.get(address(project, "/all"), {"q": "bill"}).content.decode()
    assert "5 matches" in page
    newest = re.search(r'name="newest" value="(\d+)"', page).group(1)
    late = open_question(project, "pay bill later")
    data = {"q": "bill", "all": "1", "newest": newest, "intent": "pay"}
    html = ann.post(address(project, "/preview"), data).content.decode()
    assert "Label 5 questions" in html
    response = ann.post(address(project, "/label"), data)
    assert response.status_code == 204
    action = BulkAction.objects.get()
    assert (action.kind, action.count) == ("filter", 5)
    assert "bill" in action.description
    states = Question.objects.filter(pk__in=[other.pk, late.pk])
    assert {question.state for question in states} == {"open"}
    landed = ann.get(response["HX-Redirect"]).content.decode()
    assert "5</b> questions labelled" in landed
    assert "<html" in landed
    assert ann.get(address(project, "/all"), {"like": "1"}).status_code == 302


# --- Who may --------------------------------------------------------------------------


def test_only_members_get_in(project, pay):
    out = signed_in("out")
    question = open_question(project, "question")
    data = {"id": question.pk, "intent": "pay"}
    for step in ("", "/all"):
        assert out.get(address(project, step)).status_code == 404
        assert Client().get(address(project, step)).status_code == 302
    for step in ("/preview", "/label", "/undo"):
        assert out.post(address(project, step), data).status_code == 404
    assert not BulkAction.objects.exists()


def test_only_reviewers_undo_what_others_did(project, ann):
    question = open_question(project, "question")
    data = {"id": question.pk, "intent": "pay"}
    ann.post(address(project, "/label"), data)
    action = BulkAction.objects.get()
    make_person("bob", project)
    bob = signed_in("bob")
    assert "hx-confirm" not in body_of(bob, project)
    step = address(project, "/undo")
    assert bob.post(step, {"action": action.pk}).status_code == 403
    assert bob.post(step, {"action": "x"}).status_code == 404
    elsewhere = make_project()
    rex = signed_in("rex", project, elsewhere)
    assert "hx-confirm" in body_of(rex, project)
    assert (
        rex.post(address(elsewhere, "/undo"), {"action": action.pk}).status_code == 404
    )
    assert rex.post(step, {"action": action.pk}).status_code == 200


def test_the_page_costs_the_same_for_a_hundred(
    project, ann, django_assert_max_num_queries
):
    for n in range(60):
        open_question(project, f"question {n}")
    with django_assert_max_num_queries(20):
        ann.get(address(project))
