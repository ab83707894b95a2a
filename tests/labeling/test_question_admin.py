"""The questions' admin pages: search, near-duplicates, history, trace."""

import pytest
from django.urls import reverse

from labeling.labels import annotations
from labeling.models import GoldLabel, LabelChange, Question
from labeling.search import substrings
from tests.labeling.pages import list_url, page_url, signed_in
from tests.makers import make_intent, make_labelled, make_project, make_question

pytestmark = pytest.mark.django_db

TRACE = {
    "model": [{"code": "ship", "confidence": 0.61}],
    "rules": [{"code": "pay", "pattern": "付款", "confidence": 0.9}],
    "llm": "other",
}


@pytest.fixture
def project():
    return make_project()


def texts(response):
    return {question.text for question in response.context["cl"].queryset}


def found(client, **query):
    return texts(client.get(list_url(Question), query))


def test_search_finds_any_part_within_ones_projects(project):
    make_question(project, "怎么修改登录密码")
    make_question(project, "Where is my ORDER")
    make_question(make_project(), "another password 密码")
    rex = signed_in("rex", project)
    assert found(rex, q="密码") == {"怎么修改登录密码"}
    assert found(rex, q="order") == {"Where is my ORDER"}
    assert found(rex, q="order", state__exact="labelled") == set()
    assert found(rex, q="order", project=str(project.pk + 1000)) == set()


def test_a_search_that_stops_early_says_so(project, monkeypatch):
    monkeypatch.setattr(substrings, "MOST", 2)
    for n in range(3):
        make_question(project, f"order {n}")
    response = signed_in("rex", project).get(list_url(Question), {"q": "order"})
    assert len(texts(response)) == 2
    assert "only the newest 2 were taken" in response.content.decode()


def test_the_filter_for_near_duplicates(project):
    leader = make_question(project, "leader")
    make_question(project, "member", cluster=leader)
    make_question(project, "alone")
    rex = signed_in("rex", project)
    assert found(rex, duplicates="leader") == {"leader"}
    assert found(rex, duplicates="member") == {"member"}
    assert found(rex, duplicates="none") == {"alone"}
    html = rex.get(page_url(leader)).content.decode()
    assert f"/grid?cluster={leader.pk}" in html


def test_questions_like_this_leads_to_the_grid(project):
    question = make_question(project)
    ann = signed_in("ann", project)
    link = reverse("admin:labeling_question_like_this", args=[question.pk])
    html = ann.get(page_url(question)).content.decode()
    assert link in html
    assert "/relabel" not in html
    assert (
        "/relabel" in signed_in("rex", project).get(page_url(question)).content.decode()
    )
    target = ann.get(link)
    assert target.status_code == 302
    assert f"/grid?like={question.pk}" in target["Location"]
    assert signed_in("out").get(link).status_code in (302, 403, 404)


def test_history_and_trace(project):
    pay, ship = make_intent(project, "pay"), make_intent(project, "ship")
    question = make_labelled(project, pay, split="train", trace=TRACE)
    rex = signed_in("rex", project)
    person = rex.get(page_url(question)).context["user"]
    annotations.set_gold(
        question, [ship], source=GoldLabel.Source.ADJUDICATION, by=person
    )
    if not question.changes.exists():
        LabelChange.objects.create(
            question=question,
            kind="adjudication",
            before={"state": "labelled", "codes": ["pay"]},
            after=["ship"],
            by=person,
            at=question.last_seen,
        )
    for name in ("ann", "rex"):
        html = signed_in(name, project).get(page_url(question)).content.decode()
        assert "adjudication" in html.lower()
        assert "61" in html
        assert "付款" in html


def test_what_is_still_to_be_judged_blind_shows_nothing(project):
    question = make_question(project, split="test", trace=TRACE)
    LabelChange.objects.create(
        question=question,
        kind="undo",
        before={"state": "labelled", "codes": ["pay"]},
        comment="told so",
        at=question.last_seen,
    )
    html = signed_in("ann", project).get(page_url(question)).content.decode()
    assert "hidden until it is labelled" in html
    assert "told so" not in html
    assert (
        "told so" in signed_in("rex", project).get(page_url(question)).content.decode()
    )


def test_the_list_costs_the_same_for_many(project, django_assert_max_num_queries):
    intent = make_intent(project)
    rex = signed_in("rex", project)
    rex.get(list_url(Question))
    for n in range(30):
        make_labelled(project, intent, f"order {n}")
    for query in ({}, {"q": "order"}, {"duplicates": "leader"}):
        with django_assert_max_num_queries(15):
            rex.get(list_url(Question), query)
