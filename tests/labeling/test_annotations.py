"""Verdicts and what they add up to, below the queue."""

import pytest
from django.db import transaction

from labeling.labels import annotations
from labeling.labels.annotations import CannotUndo, InvalidVerdict
from labeling.models import Annotation, GoldLabel, Lease, Question
from tests.makers import make_intent, make_person, make_project, make_question

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


def judge(question, person, *intents, verdict="label"):
    with transaction.atomic():
        locked = annotations.lock(question.pk)
        return annotations.record(locked, person, verdict=verdict, intents=intents)


def test_lock_of_a_question_that_is_not_there():
    with pytest.raises(Question.DoesNotExist):
        annotations.lock(0)


def test_a_second_verdict_of_the_same_person_replaces_the_first(project):
    ann = make_person("ann", project)
    pay, stock = make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    first = judge(question, ann, pay)
    second = judge(question, ann, stock)
    assert second.pk == first.pk
    assert [g.intent for g in question.gold_labels.all()] == [stock]


def test_agreement_on_several_intents_ignores_their_order():
    project = make_project(is_multi_intent=True, overlap=2)
    pay, stock = make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    judge(question, make_person("ann", project), pay, stock)
    judge(question, make_person("rex", project), stock, pay)
    question.refresh_from_db()
    assert question.state == "labelled"
    assert {g.intent for g in question.gold_labels.all()} == {pay, stock}


def test_all_skips_skip_the_question():
    project = make_project(overlap=2)
    question = make_question(project)
    for name in ("ann", "rex"):
        judge(question, make_person(name, project), verdict="skip")
    question.refresh_from_db()
    assert question.state == "skipped"


def test_three_of_three_must_agree():
    project = make_project(overlap=3)
    pay, stock = make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    for name, intent in (("ann", pay), ("rex", pay), ("mia", stock)):
        question.refresh_from_db()
        assert question.state == "open"
        judge(question, make_person(name, project), intent)
    question.refresh_from_db()
    assert question.state == "disputed"
    assert not GoldLabel.objects.exists()


def test_no_intent_is_a_verdict_in_multi_intent_projects_alone(project):
    ann = make_person("ann", project)
    with pytest.raises(InvalidVerdict):
        judge(make_question(project), ann)
    question = make_question(make_project(is_multi_intent=True))
    judge(question, ann)
    question.refresh_from_db()
    assert question.state == "labelled"


def test_set_gold_ends_leases_and_counts_as_new(project):
    pay = make_intent(project, "pay")
    question = make_question(project, trained_in="1")
    mia = make_person("mia", project)
    Lease.objects.create(
        question=question, holder=mia, token=1, claimed_at=question.first_seen
    )
    annotations.set_gold(question, [pay], source="adjudication", by=mia)
    question.refresh_from_db()
    assert (question.state, question.trained_in) == ("labelled", "")
    assert question.labelled_at is not None
    gold = question.gold_labels.get()
    assert (gold.source, gold.set_by) == ("adjudication", mia)
    assert not Lease.objects.exists()


def test_set_gold_of_a_stale_object_keeps_what_was_learned(project):
    """The caller's copy may be older than the last training."""
    pay = make_intent(project, "pay")
    question = make_question(project)
    annotations.set_gold(question, [pay], source="import", by=None)
    Question.objects.update(trained_in="7")
    annotations.set_gold(question, [pay], source="annotation", by=None)
    question.refresh_from_db()
    assert question.trained_in == "7"


def test_withdraw_gives_the_remaining_verdicts_their_slots_back():
    project = make_project(overlap=3)
    pay = make_intent(project, "pay")
    question = make_question(project)
    people = [make_person(name, project) for name in ("ann", "rex", "mia")]
    for person in people:
        judge(question, person, pay)
    assert not Lease.objects.exists()
    annotations.withdraw(Annotation.objects.get(annotator=people[2]))
    leases = Lease.objects.filter(question=question, expires_at=None)
    assert {lease.holder for lease in leases} == set(people[:2])
    assert {lease.slot for lease in leases} == {0, 1}


def test_withdraw_is_refused_when_an_import_has_relabelled(project):
    ann = make_person("ann", project)
    pay, stock = make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    annotation = judge(question, ann, pay)
    annotations.set_gold(question, [stock], source="import", by=None)
    with pytest.raises(CannotUndo):
        annotations.withdraw(annotation)
    assert [g.intent for g in question.gold_labels.all()] == [stock]
