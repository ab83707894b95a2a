"""Disputes and suspect labels: how they arise, and a reviewer's last word on them."""

import pytest

from labeling import queue
from labeling.labels import annotations, gold
from labeling.labels.annotations import CannotUndo, InvalidVerdict
from labeling.models import Annotation, LabelChange, Lease, Question
from labeling.queue import StaleLease
from labeling.taxonomy import UnknownIntent
from tests import makers
from tests.makers import make_intent, make_person

pytestmark = pytest.mark.django_db

NAMES = ("ann", "bob", "cleo", "dan", "eve")


@pytest.fixture
def project():
    return makers.make_project(test_share=0, audit_share=0, overlap=2)


@pytest.fixture
def rex(project):
    return make_person("rex", project)


@pytest.fixture
def pay(project):
    return make_intent(project, "pay")


@pytest.fixture
def stock(project):
    return make_intent(project, "stock")


def make_question(project, **overrides):
    return makers.make_question(project, **{"split": "train", **overrides})


def disputed(project, *codes):
    """A question that so many people labelled so differently; None passes on it."""
    project.overlap = len(codes)
    project.save()
    question = make_question(project, priority=50)
    for name, code in zip(NAMES, codes, strict=False):
        person = make_person(name, project)
        [held] = queue.claim(project, person)
        assert held.question == question
        if code is None:
            queue.skip(question.pk, person, token=held.token)
        else:
            queue.submit(question.pk, person, token=held.token, intents=[code])
    question.refresh_from_db()
    assert question.state == "disputed"
    return question


def claim_one(project, person, name="disputed"):
    [held] = queue.claim(project, person, queue=name)
    return held


def adjudicate(held, person, *codes, **extra):
    return queue.adjudicate(
        held.question.pk, person, token=held.token, intents=codes, **extra
    )


# --- How a dispute arises -----------------------------------------------------------


@pytest.mark.parametrize(
    ("codes", "agreement"),
    [
        (("pay", "stock"), 1 / 2),
        (("pay", "pay", "stock"), 2 / 3),
        (("pay", "pay", "stock", None, "pay"), 3 / 5),
        (("pay", "stock", None), 1 / 3),
    ],
)
def test_the_less_they_agree_the_sooner(project, pay, stock, codes, agreement):
    question = disputed(project, *codes)
    assert question.priority == pytest.approx(1 - agreement)


def test_agreement_is_on_the_whole_set_of_intents():
    project = makers.make_project(is_multi_intent=True, overlap=3, test_share=0)
    a, b = make_intent(project, "a"), make_intent(project, "b")
    question = make_question(project)
    for name, intents in zip(NAMES, ([a, b], [b, a], [a]), strict=False):
        annotation = Annotation.objects.create(
            question=question, annotator=make_person(name), verdict="label"
        )
        annotation.intents.set(intents)
    annotations.dispute([question.pk])
    question.refresh_from_db()
    assert (question.state, question.priority) == ("disputed", pytest.approx(1 / 3))


def test_who_starts_a_question_finds_company_soon(project, pay):
    """Its first verdict raises it above those that have none."""
    first, other = make_question(project, priority=2), make_question(project)
    ann, bob = make_person("ann", project), make_person("bob", project)
    [held] = queue.claim(project, ann)
    queue.submit(first.pk, ann, token=held.token, intents=["pay"])
    Question.objects.filter(pk=other.pk).update(priority=40)  # a new prediction
    [held] = queue.claim(project, bob)
    assert held.question == first


# --- The last word ------------------------------------------------------------------


def test_adjudication_is_gold_with_its_reason(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    held = claim_one(project, rex)
    change = adjudicate(held, rex, "stock", reason="guideline_gap", comment="see 4.2")
    question.refresh_from_db()
    assert question.state == "labelled"
    label = question.gold_labels.get()
    assert (label.intent, label.source, label.set_by) == (stock, "adjudication", rex)
    assert (change.kind, change.reason) == ("adjudication", "guideline_gap")
    assert (change.comment, change.by, change.after) == ("see 4.2", rex, ["stock"])
    assert change.before["state"] == "disputed"
    assert not Lease.objects.exists()
    assert queue.claim(project, rex, queue="disputed") == []


def test_the_verdicts_stay_as_they_were(project, rex, pay, stock):
    """Agreement is measured by them, whatever a reviewer says."""
    disputed(project, "pay", "stock")
    adjudicate(claim_one(project, rex), rex, "stock")
    said = Annotation.objects.order_by("annotator__username")
    assert [one.intents.get() for one in said] == [pay, stock]


def test_the_same_adjudication_twice_is_recorded_once(project, rex, pay, stock):
    disputed(project, "pay", "stock")
    held = claim_one(project, rex)
    first = adjudicate(held, rex, "stock")
    assert adjudicate(held, rex, "stock") == first
    with pytest.raises(StaleLease, match="settled"):
        adjudicate(held, rex, "pay")


def test_a_dispute_that_another_reviewer_took_over_is_stale(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    mia = make_person("mia", project)
    old = claim_one(project, rex)
    Lease.objects.update(expires_at=question.first_seen)
    new = claim_one(project, mia)
    with pytest.raises(StaleLease, match="Somebody else"):
        adjudicate(old, rex, "pay")
    assert not LabelChange.objects.exists()
    adjudicate(new, mia, "stock")


def test_wrong_intents(project, rex, pay, stock):
    disputed(project, "pay", "stock")
    held = claim_one(project, rex)
    with pytest.raises(UnknownIntent):
        adjudicate(held, rex, "nothing")
    with pytest.raises(InvalidVerdict):
        adjudicate(held, rex, "pay", "stock")
    assert claim_one(project, rex).token == held.token


def test_each_door_takes_its_own_leases(project, rex, pay, stock):
    """A verdict is no adjudication, nor the other way round."""
    question = disputed(project, "pay", "stock")
    held = claim_one(project, rex)
    with pytest.raises(StaleLease):
        queue.submit(question.pk, rex, token=held.token, intents=["pay"])
    make_question(project)
    ordinary = claim_one(project, rex, "priority")
    with pytest.raises(StaleLease):
        adjudicate(ordinary, rex, "pay")


def test_a_reviewer_gives_a_dispute_up(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    held = claim_one(project, rex)
    assert queue.skip(question.pk, rex, token=held.token, reason="nonsense") is None
    question.refresh_from_db()
    assert question.state == "skipped"
    change = LabelChange.objects.get()
    assert (change.after, change.comment, change.by) == (None, "nonsense", rex)
    assert not Lease.objects.exists()


# --- Suspect labels -----------------------------------------------------------------


def suspect(project, intent, person):
    question = make_question(project, suspicion=0.9)
    annotations.set_gold(question, [intent], source="import", by=person)
    Question.objects.filter(pk=question.pk).update(suspicion=0.9)
    return question


@pytest.mark.parametrize("code", ["pay", "stock"])
def test_a_suspect_label_is_confirmed_or_corrected(project, rex, pay, stock, code):
    question = suspect(project, pay, rex)
    change = adjudicate(claim_one(project, rex, "suspect"), rex, code, reason="slip")
    question.refresh_from_db()
    assert question.suspicion is None
    assert question.gold_labels.get().intent.code == code
    assert (change.before["codes"], change.after) == (["pay"], [code])
    assert queue.claim(project, rex, queue="suspect") == []


def test_a_suspect_label_is_left_as_it_is(project, rex, pay):
    question = suspect(project, pay, rex)
    held = claim_one(project, rex, "suspect")
    assert queue.skip(question.pk, rex, token=held.token) is None
    question.refresh_from_db()
    assert (question.state, question.suspicion) == ("labelled", None)
    assert not Lease.objects.exists()


# --- Taking it back -----------------------------------------------------------------


def test_undo_of_an_adjudication_is_a_dispute_again(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    adjudicate(claim_one(project, rex), rex, "stock", comment="sure")
    back = queue.undo(project, rex)
    assert (back.question, back.queue, back.comment) == (question, "disputed", "sure")
    question.refresh_from_db()
    assert (question.state, question.priority) == ("disputed", 0.5)
    assert not question.gold_labels.exists()
    again = claim_one(project, rex)
    assert again.token == back.token
    adjudicate(again, rex, "pay")
    assert question.gold_labels.get().intent == pay


def test_undo_of_a_correction_restores_the_label(project, rex, pay, stock):
    mia = make_person("mia", project)
    question = suspect(project, pay, mia)
    adjudicate(claim_one(project, rex, "suspect"), rex, "stock")
    back = queue.undo(project, rex)
    label = question.gold_labels.get()
    assert (label.intent, label.source, label.set_by) == (pay, "import", mia)
    adjudicate(back, rex, "stock")


def test_undo_goes_back_over_adjudications_step_by_step(project, rex, pay, stock):
    questions = [disputed(project, "pay", "stock") for _n in range(2)]
    for _n in questions:
        adjudicate(claim_one(project, rex), rex, "pay")
    undone = [queue.undo(project, rex).question for _n in questions]
    assert undone == questions[::-1]
    with pytest.raises(CannotUndo, match="nothing"):
        queue.undo(project, rex)
    again = queue.claim(project, rex, queue="disputed", limit=5)
    assert [one.question for one in again] == questions


def test_an_adjudication_that_was_overruled_stays(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    adjudicate(claim_one(project, rex), rex, "stock")
    mia = make_person("mia", project)
    annotations.set_gold(question, [pay], source="adjudication", by=mia)
    with pytest.raises(CannotUndo, match="Somebody else"):
        queue.undo(project, rex)
    assert question.gold_labels.get().intent == pay


@pytest.mark.parametrize("gives_up", [False, True])
def test_an_annotator_cannot_undo_what_a_reviewer_settled(
    project, rex, pay, stock, gives_up
):
    question = disputed(project, "pay", "stock")
    held = claim_one(project, rex)
    if gives_up:
        queue.skip(question.pk, rex, token=held.token)
    else:
        adjudicate(held, rex, "pay")
    for name in ("ann", "bob"):
        with pytest.raises(CannotUndo, match="Somebody else"):
            queue.undo(project, make_person(name))
    assert Annotation.objects.count() == 2


def test_undo_of_the_last_verdict_ends_a_dispute(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    bob = make_person("bob")
    back = queue.undo(project, bob)
    assert back.question == question
    assert queue.claim(project, rex, queue="disputed") == []
    queue.submit(question.pk, bob, token=back.token, intents=["pay"])
    question.refresh_from_db()
    assert question.state == "labelled"


def test_a_label_that_was_cleared_is_no_adjudication_any_more(project, rex, pay, stock):
    question = disputed(project, "pay", "stock")
    adjudicate(claim_one(project, rex), rex, "stock")
    gold.clear([question.pk], by=rex, kind="split", anew=True)
    ann = make_person("ann")
    [held] = queue.claim(project, ann)
    queue.submit(question.pk, ann, token=held.token, intents=["pay"])
    assert queue.undo(project, ann).question == question
