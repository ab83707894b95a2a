"""The queue page and its steps, as a browser sends them."""

import re
from datetime import timedelta

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from labeling import queue
from labeling.models import Annotation, IntentAlias, Lease, Question
from labeling.ranking.suggestions import suggest
from labeling.reports import progress
from labeling.taxonomy import labelset
from labeling.views import guidelines
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db

SCRIPT = {"X-Tuneloop": "queue"}
STEPS = ["submit", "adjudicate", "skip", "undo", "renew", "leave"]
READS = ["next", "queues", "history", "guideline", "intents"]


@pytest.fixture
def project():
    return make_project(
        name="Factory", guidelines="**Mind** the *time*.", audit_share=0.0
    )


@pytest.fixture
def ann(project):
    return make_person("ann", project)


@pytest.fixture
def browser(ann):
    return sign_in(ann)


@pytest.fixture
def pay(project):
    return make_intent(project, "pay", name="Payment")


def sign_in(person, **options):
    client = Client(**options)
    client.force_login(person)
    return client


def address(project, step=""):
    return reverse("labeling:queue", args=[project.slug]) + step


def open_question(project, text=None, **values):
    return make_question(project, text, **{"split": "train", **values})


def cards(response):
    """Question and token of each card in an answer, in their order."""
    html = response.content.decode()
    return re.findall(r'data-card data-question="(\d+)" data-token="(\d+)"', html)


def card(response):
    """What the form of the first card names."""
    question, token = cards(response)[0]
    return {"question": question, "token": token}


def send(browser, project, step, **fields):
    return browser.post(address(project, step), fields, headers=SCRIPT)


def get(browser, project, step="", **query):
    return browser.get(address(project, step), query, headers=SCRIPT)


# --- The page ---------------------------------------------------------------------


def test_the_page_shows_a_question_with_all_there_is_to_know(browser, project, pay):
    stock = make_intent(project, "stock", name="库存")
    open_question(
        project,
        "<b>怎么付款 PAY</b>",
        occurrences=1234,
        predicted=[{"code": "pay", "confidence": 0.42}],
        confidence=0.42,
        predicted_by="7",
        method="fused",
        is_conflict=True,
        trace={
            "model": [
                {"code": "pay", "confidence": 0.61},
                {"code": "stock", "confidence": 0.3},
                {"code": "vanished", "confidence": 0.09},
            ],
            "rules": [{"code": "stock", "pattern": "付款", "confidence": 0.9}],
            "llm": "stock",
        },
    )
    html = browser.get(address(project)).content.decode()
    assert "&lt;b&gt;怎么<mark>付款</mark> PAY&lt;/b&gt;" in html
    assert "<b>怎么" not in html
    assert "1,234 times" in html
    assert "version 7 says" in html
    assert "42 %" in html
    assert "tl-bar-low" in html
    assert "<strong>Mind</strong>" in html
    assert 'data-code="pay" data-key="1"' in html
    assert f'data-code="{stock.code}" data-key="2"' in html
    assert "rules against model" in html
    assert "Model, version 7" in html
    assert "61 %" in html
    assert "LLM" in html
    assert "vanished" not in html
    assert 'id="queue-intents"' in html
    assert 'id="nav-sidebar"' in html or "sidebar" in html


def test_the_page_holds_the_next_two_hidden(browser, project, pay):
    for n in range(5):
        open_question(project, f"question {n}", priority=9 - n)
    response = browser.get(address(project))
    html = response.content.decode()
    assert [f"question {n}" in html for n in range(5)] == [True] * 3 + [False] * 2
    assert len(re.findall(r"data-card [^>]*hidden>", html)) == 3
    assert Lease.objects.count() == 3
    assert cards(browser.get(address(project))) == cards(response)


def test_next_gives_what_the_page_has_not(browser, project, pay):
    made = [open_question(project, priority=9 - n).pk for n in range(5)]
    first = cards(browser.get(address(project)))
    response = get(browser, project, "next", n=4, have=f"{made[0]},{made[1]},x")
    assert [int(pk) for pk, _token in cards(response)] == [made[2], made[3]]
    assert cards(response)[0] == first[2]
    html = response.content.decode()
    assert html.strip().startswith("<div data-hand")
    assert "<html" not in html
    assert re.search(r"\bapp;dur=\d+\.\d$", response["Server-Timing"])


def test_nobody_caches_a_page_with_a_lease(browser, project):
    assert "no-store" in browser.get(address(project))["Cache-Control"]


@pytest.mark.parametrize("step", ["", *STEPS, *READS])
def test_who_has_no_business_here(project, step):
    method = "post" if step in STEPS else "get"
    stranger, elsewhere = make_person("out"), make_person("bob", make_project())
    for client, status in (
        (sign_in(stranger), 404),
        (sign_in(elsewhere), 404),
        (Client(), 302),
    ):
        assert getattr(client, method)(address(project, step)).status_code == status
    assert Client().get("/label/").status_code == 302


def test_a_script_without_a_session_is_told_and_not_sent_to_the_login_page(project):
    response = Client().post(address(project, "submit"), headers=SCRIPT)
    assert response.status_code == 401
    assert b"signed out" in response.content


def test_a_step_without_a_csrf_token_is_refused(ann, project):
    client = sign_in(ann, enforce_csrf_checks=True)
    assert client.get(address(project)).cookies["csrftoken"].value
    assert client.post(address(project, "undo")).status_code == 403
    token = client.cookies["csrftoken"].value
    headers = {"X-CSRFToken": token, **SCRIPT}
    assert client.post(address(project, "undo"), headers=headers).status_code == 409
    # A beacon can't set a header.
    form = {"csrfmiddlewaretoken": token}
    assert client.post(address(project, "leave"), form).status_code == 204


@pytest.mark.parametrize("step", STEPS)
def test_a_step_is_a_post(browser, project, step):
    assert browser.get(address(project, step)).status_code == 405


# --- Answering --------------------------------------------------------------------


def test_submit_saves(browser, ann, project, pay):
    first = open_question(project, "first", priority=2)
    fields = card(browser.get(address(project)))
    response = send(
        browser,
        project,
        "submit",
        **fields,
        intent="pay",
        comment=" sure ",
        time_spent_ms="1500",
    )
    assert response.status_code == 204
    assert "app;dur=" in response["Server-Timing"]
    annotation = Annotation.objects.get()
    assert (annotation.question, annotation.annotator) == (first, ann)
    assert (annotation.comment, annotation.time_spent_ms) == ("sure", 1500)
    assert (annotation.queue, annotation.is_blind) == ("priority", False)


def test_nothing_left_is_an_empty_hand(browser, project, pay):
    open_question(project)
    page = browser.get(address(project))
    assert b"data-empty" not in page.content
    send(browser, project, "submit", **card(page), intent="pay")
    assert b"All questions are answered" in get(browser, project, "next").content


def test_a_lost_lease_answers_409_with_what_to_do(browser, project, pay):
    open_question(project)
    fields = card(browser.get(address(project)))
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    queue.claim(project, make_person("rex", project))
    for step in ("submit", "skip"):
        response = send(browser, project, step, **fields, intent="pay")
        assert response.status_code == 409
        assert b"Somebody else has taken" in response.content
        assert b'data-action="next"' in response.content
    assert not Annotation.objects.exists()


def test_an_intent_that_retired_meanwhile(browser, project, pay):
    open_question(project)
    fields = card(browser.get(address(project)))
    type(pay).objects.update(retired_at=timezone.now())
    response = send(browser, project, "submit", **fields, intent="pay")
    assert response.status_code == 422
    assert Lease.objects.exists()


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"question": "1"},
        {"question": "x", "token": "1"},
        {"question": "1", "token": "-1"},
        {"question": "9" * 30, "token": "9" * 30},
        {"question": "１", "token": "²"},
    ],
)
def test_a_form_that_no_card_sends(browser, project, fields):
    for step in ("submit", "skip"):
        assert send(browser, project, step, **fields).status_code == 400


@pytest.mark.parametrize("held", ["x", "1", "1:", ":1", "1:2:3x", ["1:1"] * 1 + ["y"]])
def test_a_heartbeat_that_no_page_sends(browser, project, held):
    for step in ("renew", "leave"):
        assert send(browser, project, step, held=held).status_code in (400, 204)
        assert send(browser, project, step, held=["1:1", held[0]]).status_code == 400


def test_another_projects_question_is_refused_even_with_its_token(
    browser, ann, project, pay
):
    other = make_project(audit_share=0.0)
    make_intent(other, "pay")
    question = open_question(other)
    [held] = queue.claim(other, ann)
    fields = {"question": question.pk, "token": held.token, "intent": "pay"}
    for step in ("submit", "skip"):
        assert send(browser, project, step, **fields).status_code == 400
    pair = f"{question.pk}:{held.token}"
    for step in ("renew", "leave"):
        assert send(browser, project, step, held=pair).status_code == 400
    assert not Annotation.objects.exists()


def test_what_is_typed_is_cut_and_cleaned(browser, project, pay):
    open_question(project)
    fields = card(browser.get(address(project)))
    text = "a\0b" + "x" * 3000
    send(browser, project, "submit", **fields, intent="pay", comment=text)
    assert Annotation.objects.get().comment == ("ab" + "x" * 3000)[:2000]


def test_skip_with_a_reason(browser, project, pay):
    question = open_question(project)
    fields = card(browser.get(address(project)))
    assert send(browser, project, "skip", **fields, reason="no").status_code == 204
    assert Annotation.objects.get().comment == "no"
    question.refresh_from_db()
    assert question.state == "skipped"


def test_undo_brings_the_question_back_with_its_comment(browser, project, pay):
    question = open_question(project)
    fields = card(browser.get(address(project)))
    send(browser, project, "submit", **fields, intent="pay", comment="hm")
    response = send(browser, project, "undo")
    assert card(response)["question"] == str(question.pk)
    assert b">hm</textarea>" in response.content
    assert not Annotation.objects.exists()
    response = send(browser, project, "undo")
    assert response.status_code == 409
    assert b"nothing to take back" in response.content


def test_one_heartbeat_renews_all_and_says_what_is_held(browser, ann, project, pay):
    for _n in range(3):
        open_question(project)
    held = cards(browser.get(address(project)))
    soon = timezone.now() + timedelta(seconds=3)
    Lease.objects.update(expires_at=soon)
    Lease.objects.filter(question=held[1][0]).delete()
    pairs = [f"{pk}:{token}" for pk, token in held]
    answer = send(browser, project, "renew", held=pairs).json()
    assert answer["held"] == sorted([int(held[0][0]), int(held[2][0])])
    assert (answer["done"], answer["open"], answer["more"]) == (0, 3, False)
    assert Lease.objects.filter(expires_at__gt=soon).count() == 2
    send(browser, project, "leave", held=pairs)
    assert not Lease.objects.filter(
        expires_at__gt=timezone.now() + timedelta(seconds=20)
    ).exists()


def test_several_intents(browser, project, pay):
    make_intent(project, "stock")
    type(project).objects.update(is_multi_intent=True)
    open_question(project, priority=2), open_question(project)
    page = browser.get(address(project))
    (first, token), (second, other) = cards(page)
    fields = {"question": first, "token": token}
    assert send(browser, project, "submit", **fields).status_code == 422
    send(browser, project, "submit", **fields, intent=["pay", "stock"])
    assert Annotation.objects.get().intents.count() == 2
    send(browser, project, "submit", question=second, token=other, none="1")
    assert Annotation.objects.latest("id").intents.count() == 0


# --- Empty and chooser ------------------------------------------------------------


def test_empty_pages_say_what_to_do(project):
    mia, ann = make_person("mia", project), make_person("ann", project)
    html = sign_in(mia).get(address(project)).content
    assert b"no intents yet" in html
    assert reverse("admin:labeling_intent_add").encode() in html
    assert b"A manager adds the intents" in sign_in(ann).get(address(project)).content
    make_intent(project)
    html = sign_in(mia).get(address(project)).content
    assert b"All questions are answered" in html
    assert reverse("admin:labeling_question_import").encode() in html
    html = sign_in(ann).get(address(project)).content
    assert reverse("admin:labeling_question_import").encode() not in html
    assert b"Another project" not in html
    make_person("ann", make_project())
    assert b"Another project" in sign_in(ann).get(address(project)).content
    open_question(project)
    queue.claim(project, mia)
    assert b"with other annotators" in sign_in(ann).get(address(project)).content


def test_the_chooser_lists_my_projects_with_what_is_open(browser, project, ann):
    assert browser.get("/label/").url == address(project)
    second = make_project(name="Bakery")
    make_person("ann", second)
    make_project(name="Secret")
    for _n in range(3):
        open_question(second)
    html = browser.get("/label/").content.decode()
    assert html.index("Bakery") < html.index("Factory")
    assert "Secret" not in html
    assert re.search(r'tl-figure">3<', html)


def test_nobody_without_a_project_is_left_alone():
    html = sign_in(make_person("out")).get("/label/").content
    assert b"not a member of a project" in html
    root = User.objects.create_superuser("root", password=None)
    assert b"New project" in sign_in(root).get("/label/").content


# --- What the card is made of -----------------------------------------------------


def test_open_questions_are_counted_up_to_a_bound(monkeypatch, project, ann):
    monkeypatch.setattr(progress, "COUNT_AT_MOST", 3)
    for _n in range(3):
        open_question(project)
    open_question(project, state=Question.State.SKIPPED)
    count = progress.open_counts([project])[project.pk]
    assert (count.shown, count.is_more) == (3, False)
    open_question(project), open_question(project)
    count = progress.open_counts([project])[project.pk]
    assert (count.shown, count.is_more) == (3, True)
    assert progress.open_counts([]) == {}


def test_done_today_is_mine_and_of_today(project, ann, pay):
    rex = make_person("rex", project)
    for person in (ann, ann, rex):
        open_question(project)
        [held] = queue.claim(project, person)
        queue.submit(held.question.pk, person, token=held.token, intents=["pay"])
    open_question(project)
    [held] = queue.claim(project, ann)
    queue.skip(held.question.pk, ann, token=held.token)
    assert progress.of(project, ann).done_today == 2
    Annotation.objects.update(updated_at=timezone.now() - timedelta(days=1))
    assert progress.of(project, ann).done_today == 0


def test_suggestions_are_the_prediction_then_the_most_used_then_the_rest(project):
    a, b, c, d, old = (make_intent(project, code) for code in "abcde")
    for intent, count in ((c, 3), (d, 1), (b, 2)):
        for _n in range(count):
            make_labelled(project, intent)
    make_labelled(project, old)
    old.retired_at = timezone.now()
    old.save()
    IntentAlias.objects.create(project=project, code="former", intent=d)
    question = make_question(
        project,
        predicted=[
            {"code": "a", "confidence": 0.2},
            {"code": "former", "confidence": 0.5},
            {"code": "e", "confidence": 0.1},
            {"code": "gone", "confidence": 0.05},
        ],
    )
    found = suggest(project, question, labelset.of(project))
    assert [(s.key, s.intent, s.confidence) for s in found] == [
        (1, d, 0.5),
        (2, a, 0.2),
        (3, c, None),
        (4, b, None),
    ]


def test_the_fallback_has_a_key_of_its_own_unless_predicted(project, pay):
    none = make_intent(project, "none", is_fallback=True)
    intents = labelset.of(project)
    found = suggest(project, make_question(project), intents)
    assert [s.intent for s in found] == [pay]
    predicted = [{"code": "none", "confidence": 0.4}]
    found = suggest(project, make_question(project, predicted=predicted), intents)
    assert [s.intent for s in found] == [none, pay]
    for_want = [{"code": "none", "confidence": 0.0}]
    found = suggest(project, make_question(project, predicted=for_want), intents)
    assert [s.intent for s in found] == [pay]
    project.is_multi_intent = True
    found = suggest(project, make_question(project), intents)
    assert [s.intent for s in found] == [none, pay]


def test_there_are_nine_suggestions_at_most(project):
    for n in range(12):
        make_intent(project, f"i{n:02}")
    found = suggest(project, make_question(project), labelset.of(project))
    assert [s.intent.code for s in found] == [f"i{n:02}" for n in range(9)]


@pytest.mark.parametrize(
    ("markdown", "shown", "hidden"),
    [
        ("# A\n\n- b", "<h1>A</h1>", "# A"),
        ("<script>alert(1)</script>", "&lt;script&gt;", "<script"),
        ("<img src=x onerror=alert(1)>", "&lt;img", "<img"),
        ("[x](javascript:alert(1))", "[x]", "href"),
        ("![x](https://evil.example/x.png)", "x", "<img"),
        ("[x](https://example.org)", 'href="https://example.org"', "script"),
        ("|a|\n|-|\n|b|", "<table>", "|a|"),
        ("[x](data:text/html;base64,AAAA)", "[x]", "href"),
    ],
)
def test_guidelines_are_safe(markdown, shown, hidden):
    html = guidelines.render(markdown)
    assert shown in html
    assert hidden not in html


def test_a_step_costs_a_bounded_number_of_queries(
    browser, project, pay, django_assert_max_num_queries
):
    for n in range(20):
        make_intent(project)
        make_labelled(project, pay)
        open_question(project, predicted=[{"code": "pay", "confidence": n / 20}])
    page = browser.get(address(project))
    with django_assert_max_num_queries(24):
        send(browser, project, "submit", **card(page), intent="pay")
    have = ",".join(pk for pk, _token in cards(page)[1:])
    with django_assert_max_num_queries(18):
        get(browser, project, "next", n=3, have=have)
    pairs = [f"{pk}:{token}" for pk, token in cards(page)[1:]]
    with django_assert_max_num_queries(8):
        send(browser, project, "renew", held=pairs)
