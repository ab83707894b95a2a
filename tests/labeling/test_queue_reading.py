"""What the queue page shows on demand, and what it keeps from whom."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from labeling import bulk, queue
from labeling.labels import annotations
from labeling.models import (
    Annotation,
    GoldLabel,
    Intent,
    Lease,
    Project,
    Question,
    Queue,
)
from labeling.search import similar
from labeling.taxonomy import labelset
from labeling.taxonomy.pinyin import spellings
from labeling.views import highlight
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db

VECTOR = [1.0] + [0.0] * 383


@pytest.fixture
def project() -> Project:
    project = make_project(audit_share=0.0)
    make_intent(project, "pay", name="Payment", description="Pay an invoice")
    make_intent(project, "stock", name="库存")
    return project


def client_of(name: str, project: Project) -> Client:
    client = Client()
    client.force_login(make_person(name, project))
    return client


def page(name: str, project: Project, step: str = "", **query: Any) -> str:
    address = reverse("labeling:queue", args=[project.slug]) + step
    response = client_of(name, project).get(address, query)
    assert response.status_code == 200, response
    return response.content.decode()


def open_question(project: Project, text: str = "", **values: Any) -> Question:
    return make_question(project, text or None, **{"split": "train", **values})


def judge(question: Question, name: str, code: str, comment: str = "") -> None:
    person = make_person(name, question.project)
    held = queue.claim(question.project, person, limit=50)
    token = next(one.token for one in held if one.question == question)
    queue.submit(question.pk, person, token=token, intents=[code], comment=comment)


# --- Blind ------------------------------------------------------------------------


def test_a_blind_card_shows_nothing_that_could_sway(project: Project) -> None:
    labelled = make_labelled(
        project, project.intents.get(code="stock"), "near one", split="train"
    )
    question = make_question(
        project,
        "how to pay",
        split="test",
        confidence=0.61,
        predicted=[{"code": "stock", "confidence": 0.61}],
        predicted_by="7",
        is_conflict=True,
        trace={
            "model": [{"code": "stock", "confidence": 0.61}],
            "rules": [{"code": "stock", "pattern": "pay", "confidence": 0.9}],
            "llm": "stock",
        },
    )
    other = make_question(project, "how to pay it", split="train")
    ids = [question.pk, other.pk]
    Question.objects.filter(pk__in=ids).update(cluster=question)
    similar.store(project.pk, {question.pk: VECTOR, labelled.pk: VECTOR})
    html = page("ann", project, "next", queue="audit", n=1)
    assert "how to pay" in html
    assert "audit: no suggestions, on purpose" in html
    for shown in ("61 %", "<mark>", "version 7", "stock", "near one", "data-key"):
        assert shown not in html
    assert "data-duplicates" not in html
    assert "rules against model" not in html
    assert Lease.objects.get().queue == Queue.AUDIT
    history = page("rex", project, "history", question=question.pk)
    assert "audit: no history, on purpose" in history


# --- What helps -------------------------------------------------------------------


def test_neighbours_are_there_to_be_clicked(project: Project) -> None:
    question = open_question(project, "how do I pay")
    near = make_labelled(
        project, project.intents.get(code="stock"), "a near one", split="train"
    )
    similar.store(project.pk, {question.pk: VECTOR, near.pk: VECTOR})
    html = page("ann", project, "next")
    assert "a near one" in html
    assert 'class="tl-queue-near-intent" data-code="stock"' in html


def test_near_duplicates_are_labelled_along_and_undone_as_one(project: Project) -> None:
    first = open_question(project, "pay the bill", priority=9)
    twins = [open_question(project, f"pay the bill {n}") for n in range(3)]
    ids = [first.pk, *(twin.pk for twin in twins)]
    Question.objects.filter(pk__in=ids).update(cluster=first)
    html = page("ann", project, "next", n=1)
    assert "also label these 3 near-duplicates" in html
    assert ",".join(str(twin.pk) for twin in twins) in html
    ann = client_of("ann", project)
    lease = Lease.objects.get()
    fields = {
        "question": first.pk,
        "token": lease.token,
        "intent": "pay",
        "duplicates": "1",
    }
    base = reverse("labeling:queue", args=[project.slug])
    assert ann.post(base + "submit", fields).status_code == 204
    assert GoldLabel.objects.count() == 4
    assert ann.post(base + "undo").status_code == 200
    assert GoldLabel.objects.count() == 0


def test_a_bulk_action_is_taken_back_without_a_card(project: Project) -> None:
    question = open_question(project)
    ann = client_of("ann", project)
    person = make_person("ann", project)
    bulk.label(
        project,
        person,
        question_ids=[question.pk],
        codes=["pay"],
        kind="selection",
        description="one",
    )
    response = ann.post(reverse("labeling:undo", args=[project.slug]))
    assert response.status_code == 200
    assert b"bulk action is taken back" in response.content


@pytest.mark.parametrize(
    ("text", "patterns", "html"),
    [
        ("My ＰＡＹ now", ["pay"], "My <mark>ＰＡＹ</mark> now"),
        ("  a  B c ", ["a b"], "  <mark>a  B</mark> c "),
        ("payment", ["pay"], "payment"),
        ("忘记打卡了。", ["打卡", "记打"], "忘<mark>记打卡</mark>了。"),
        ("<i>pay</i> & pay", ["pay"], "&lt;i&gt;{}&lt;/i&gt; &amp; {}"),
        ("ﬁx it", ["fix"], "<mark>ﬁx</mark> it"),
        ("Straße", ["strasse"], "<mark>Straße</mark>"),
        ("pay", ["<b>"], "pay"),
        ("??", ["?"], "<mark>??</mark>"),
        ("e\u0301 pay", ["pay"], "e\u0301 pay"),
    ],
)
def test_rule_hits_are_marked_in_the_text_as_typed(
    text: str, patterns: list[str], html: str
) -> None:
    wanted = html.replace("{}", "<mark>pay</mark>")
    assert highlight.mark(text, patterns) == wanted


# --- Label set and guidelines -----------------------------------------------------


def test_the_label_set_is_read_once_until_something_is_edited(
    project: Project, django_assert_num_queries: Any
) -> None:
    before = labelset.of(project)
    with django_assert_num_queries(1):
        assert labelset.of(project) is before
    for change in ({"guidelines": "# New"}, {"name": "Other"}):
        Intent.objects.filter(code="pay").update(**change)
        after = labelset.of(project)
        assert after.key != before.key
        before = after
    assert after.intents["pay"].name == "Other"


def test_intents_are_found_by_pinyin(project: Project) -> None:
    assert spellings("库存") == "kc kucun"
    assert spellings("Payment") == ""
    [stock] = [one for one in labelset.of(project).search_list if one["name"] == "库存"]
    assert stock["pinyin"] == "kc kucun"


def test_an_edited_guideline_shows_at_once(project: Project) -> None:
    html = page("ann", project, "guideline", intent="pay")
    assert "Pay an invoice" in html
    Intent.objects.filter(code="pay").update(guidelines="Only **bills**.<script>")
    html = page("ann", project, "guideline", intent="pay")
    assert "<strong>bills</strong>" in html
    assert "<script>" not in html
    assert "intent" not in page("ann", project, "guideline", intent="nothing")


# --- Choosing a queue -------------------------------------------------------------


def test_the_queues_with_what_waits_in_each(project: Project) -> None:
    open_question(project, confidence=0.4, is_conflict=True)
    open_question(project)
    make_question(project, split="test")
    for a, b in (("pay", "stock"), ("stock", "pay")):
        open_question(
            project,
            margin=0.1,
            predicted=[{"code": a, "confidence": 0.5}, {"code": b, "confidence": 0.4}],
        )
    html = " ".join(page("ann", project, "queues").split())
    for name, count in (
        ("Priority", 4),
        ("Low confidence", 1),
        ("Rules against model", 1),
        ("Random audit", 1),
    ):
        end = html.index(f"<b>{name}</b>")
        assert f'menu-count">{count}<' in html[end : end + 300]
    assert "?queue=pair&amp;a=pay&amp;b=stock" in html
    assert "Disputed" not in html
    assert "Disputed" in page("rex", project, "queues")


def test_the_address_keeps_the_queue(project: Project) -> None:
    wavering = open_question(
        project,
        predicted=[
            {"code": "stock", "confidence": 0.5},
            {"code": "pay", "confidence": 0.4},
        ],
    )
    open_question(project)
    html = page("ann", project, queue="pair", a="pay", b="stock")
    assert html.count("data-card data-question") == 1
    assert f'data-question="{wavering.pk}"' in html
    assert 'data-query="?queue=pair&amp;a=pay&amp;b=stock"' in html
    html = page("bob", project, queue="intent", intent="stock")
    assert "data-card data-question" not in html
    Lease.objects.all().delete()
    html = page("ann", project, queue="intent", intent="stock")
    assert f'data-question="{wavering.pk}"' in html


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"queue": "pair"}, "Which two intents?"),
        ({"queue": "pair", "a": "pay", "b": "pay"}, "Which two intents?"),
        ({"queue": "pair", "a": "pay", "b": "stock"}, "No open question here"),
        ({"queue": "intent"}, "Which intent?"),
        ({"queue": "unsure"}, "low confidence"),
        ({"queue": "newest"}, "All questions are answered"),
        ({"queue": "conflict"}, "Rules and model agree"),
        ({"queue": "audit"}, "random audit is done"),
        ({"queue": "nonsense"}, "All questions are answered"),
        ({"queue": "disputed"}, "Nothing is disputed"),
        ({"queue": "suspect"}, "No label looks wrong"),
        ({"queue": "broken"}, "No version breaks a test question"),
    ],
)
def test_each_empty_queue_says_what_to_do(
    project: Project, query: dict[str, str], says: str
) -> None:
    assert says in page("rex", project, **query)


def test_reviewers_queues_are_the_reviewers(project: Project) -> None:
    address = reverse("labeling:queue", args=[project.slug])
    for name in ("disputed", "suspect", "broken"):
        response = client_of("ann", project).get(address, {"queue": name})
        assert response.status_code == 403
    fields = {"question": open_question(project).pk, "token": 1, "intent": "pay"}
    response = client_of("ann", project).post(address + "adjudicate", fields)
    assert response.status_code == 403


# --- Review and history -----------------------------------------------------------


@pytest.fixture
def disputed(project: Project) -> Question:
    project.overlap = 2
    project.save()
    question = open_question(project, "which one")
    judge(question, "ann", "pay", "clearly a bill")
    judge(question, "bob", "stock")
    question.refresh_from_db()
    assert question.state == Question.State.DISPUTED
    return question


def test_a_reviewer_sees_the_verdicts_and_settles(disputed: Question) -> None:
    project = disputed.project
    html = page("rex", project, queue="disputed")
    assert "<b>ann</b>" in html
    assert "<b>bob</b>" in html
    assert "clearly a bill" in html
    assert 'data-settle="guideline_gap"' in html
    lease = Lease.objects.get(holder__username="rex")
    fields = {
        "question": disputed.pk,
        "token": lease.token,
        "intent": "pay",
        "reason": "ambiguous",
        "comment": "a bill is a bill",
    }
    address = reverse("labeling:adjudicate", args=[project.slug])
    assert client_of("rex", project).post(address, fields).status_code == 204
    change = disputed.changes.get()
    assert (change.kind, change.reason, change.after) == (
        "adjudication",
        "ambiguous",
        ["pay"],
    )
    assert "Ambiguous question" in page("ann", project, "history", question=disputed.pk)


def test_an_open_question_keeps_the_others_verdicts(project: Project) -> None:
    project.overlap = 2
    project.save()
    question = open_question(project, "which one")
    judge(question, "ann", "pay", "a secret thought")
    mine = page("ann", project, "history", question=question.pk)
    assert "a secret thought" in mine
    for hidden in ("a secret thought", "<b>ann</b>"):
        assert hidden not in page("bob", project, "history", question=question.pk)
    assert "a secret thought" in page("rex", project, "history", question=question.pk)


def test_a_reopened_question_keeps_the_others_labels(project: Project) -> None:
    project.overlap = 2
    project.save()
    question = open_question(project, "which one")
    for name in ("ann", "cat"):
        judge(question, name, "pay")
    annotations.withdraw(Annotation.objects.get(annotator__username="cat"))
    assert "cat" in page("rex", project, "history", question=question.pk)
    html = page("bob", project, "history", question=question.pk)
    assert "Only your own part" in html
    assert 'tl-code">pay' not in html


def test_history_is_the_projects_own(project: Project) -> None:
    elsewhere = open_question(make_project())
    address = reverse("labeling:history", args=[project.slug])
    for pk in (elsewhere.pk, "x", "", "²", "9" * 40):
        response = client_of("ann", project).get(address, {"question": pk})
        assert response.status_code == 404
