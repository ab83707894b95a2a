"""Steps of a person, how deep they can be taken back, and what a submit costs."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from labeling import bulk, queue
from labeling.labels.annotations import CannotUndo
from labeling.models import (
    Annotation,
    BulkAction,
    GoldLabel,
    LabelChange,
    Lease,
    Question,
)
from tests import makers
from tests.makers import make_intent, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = makers.make_project(test_share=0, audit_share=0)
    make_intent(project, "pay"), make_intent(project, "stock")
    return project


@pytest.fixture
def ann(project):
    return make_person("ann", project)


def make_question(project, **overrides):
    return makers.make_question(project, **{"split": "train", **overrides})


def make_cluster(project, size):
    """A question and near-duplicates of it; it comes first in the queue."""
    leader = make_question(project, priority=9)
    Question.objects.filter(pk=leader.pk).update(cluster=leader)
    others = [
        make_question(project, cluster=leader, priority=0.1) for _n in range(size - 1)
    ]
    return leader, others


def answer(project, person, code="pay", *, limit=1, **extra):
    held = queue.claim(project, person, limit=limit)[0]
    return queue.submit(
        held.question.pk, person, token=held.token, intents=[code], **extra
    )


def states(*questions):
    pks = [question.pk for question in questions]
    return set(Question.objects.filter(pk__in=pks).values_list("state", flat=True))


# --- What a verdict remembers -------------------------------------------------------


def test_a_verdict_says_where_it_came_from_and_what_was_suggested(project, ann):
    make_question(
        project,
        split="test",
        predicted=[{"code": "stock", "confidence": 0.6}],
        predicted_by="7",
    )
    make_question(project)
    for _n in range(2):
        answer(project, ann)
    plain, blind = Annotation.objects.order_by("is_blind")
    assert (blind.queue, blind.is_blind) == ("audit", True)
    assert (blind.suggested, blind.suggested_by) == ("stock", "7")
    assert (plain.queue, plain.is_blind, plain.suggested) == ("priority", False, "")


def test_a_submit_costs_a_dozen_statements_at_most(project, ann):
    make_question(project, predicted=[{"code": "pay", "confidence": 0.5}])
    [held] = queue.claim(project, ann)
    with CaptureQueriesContext(connection) as queries:
        queue.submit(held.question.pk, ann, token=held.token, intents=["pay"])
    asked = [q["sql"] for q in queries if "SAVEPOINT" not in q["sql"]]
    assert len(asked) <= 12, "\n".join(asked)


# --- Steps --------------------------------------------------------------------------


def test_ten_steps_back_and_the_questions_in_their_order_again(project, ann):
    questions = [make_question(project, priority=20 - n) for n in range(12)]
    for _n in range(12):
        answer(project, ann)
    undone = [queue.undo(project, ann).question for _n in range(10)]
    assert undone == questions[:1:-1]
    again = queue.claim(project, ann, limit=12)
    assert [one.question for one in again] == questions[2:]
    assert GoldLabel.objects.count() == 2


def test_undone_questions_come_before_those_that_were_held_already(project, ann):
    first, second, third = (make_question(project, priority=9 - n) for n in range(3))
    answer(project, ann, limit=3)
    back = queue.undo(project, ann)
    assert back.question == first
    held = queue.claim(project, ann, limit=3)
    assert [one.question for one in held] == [first, second, third]


def test_undo_of_a_blind_verdict_is_blind_again(project, ann):
    make_question(project, split="test")
    answer(project, ann)
    back = queue.undo(project, ann)
    assert (back.queue, back.is_blind) == ("audit", True)
    assert queue.claim(project, ann)[0].token == back.token


def test_the_history_says_that_a_label_was_taken_back(project, ann):
    make_question(project)
    answer(project, ann)
    queue.undo(project, ann)
    newest, first = LabelChange.objects.all()
    assert (first.kind, first.after) == ("annotation", ["pay"])
    assert (newest.kind, newest.before["codes"], newest.after) == (
        "undo",
        ["pay"],
        None,
    )


# --- Near-duplicates ----------------------------------------------------------------


def test_a_label_carried_over_to_near_duplicates_is_one_step(project, ann):
    before = make_question(project, priority=99)
    answer(project, ann)
    leader, others = make_cluster(project, 4)
    annotation = answer(project, ann, "stock", with_duplicates=True)
    assert annotation.question == leader
    assert states(leader, *others) == {"labelled"}
    action = BulkAction.objects.get()
    assert (action.kind, action.count, action.by) == ("cluster", 3, ann)
    assert annotation.bulk == action
    back = queue.undo(project, ann)
    assert back.question == leader
    assert states(leader, *others) == {"open"}
    assert states(before) == {"labelled"}
    action.refresh_from_db()
    assert action.undone_by == ann
    assert queue.undo(project, ann).question == before
    with pytest.raises(CannotUndo):
        queue.undo(project, ann)


def test_near_duplicates_are_left_alone_unless_asked_for(project, ann):
    leader, others = make_cluster(project, 3)
    answer(project, ann)
    assert (states(leader), states(*others)) == ({"labelled"}, {"open"})


def test_a_single_question_has_no_near_duplicates_to_label(project, ann):
    question = make_question(project)
    assert answer(project, ann, with_duplicates=True).bulk is None
    assert states(question) == {"labelled"}


def test_a_test_question_carries_nothing_over(project, ann):
    leader, others = make_cluster(project, 2)
    test = make_question(project, split="test", cluster=leader)
    Question.objects.filter(pk=leader.pk).update(state="skipped")
    project.audit_share = 1
    held = queue.claim(project, ann)[0]
    assert held.question == test
    queue.submit(test.pk, ann, token=held.token, intents=["pay"], with_duplicates=True)
    assert states(*others) == {"open"}


def test_undo_takes_back_its_own_where_others_relabelled_the_near_duplicates(
    project, ann
):
    mia = make_person("mia", project)
    leader, [other] = make_cluster(project, 2)
    answer(project, ann, with_duplicates=True)
    bulk.label(project, mia, question_ids=[other.pk], codes=["stock"], kind="selection")
    assert queue.undo(project, ann).question == leader
    assert states(leader) == {"open"}
    assert [g.intent.code for g in other.gold_labels.all()] == ["stock"]
    with pytest.raises(CannotUndo, match="nothing"):
        queue.undo(project, ann)


# --- Bulk actions -------------------------------------------------------------------


def test_a_bulk_action_is_a_step_between_the_others(project, ann):
    first, last = make_question(project), make_question(project)
    answer(project, ann)
    many = [make_question(project) for _n in range(3)]
    bulk.label(
        project,
        ann,
        question_ids=[one.pk for one in many],
        codes=["stock"],
        kind="selection",
    )
    answer(project, ann)
    assert states(first, last, *many) == {"labelled"}
    assert queue.undo(project, ann).question == last
    assert queue.undo(project, ann) is None
    assert states(*many) == {"open"}
    assert states(first) == {"labelled"}
    assert queue.undo(project, ann).question == first
    assert not GoldLabel.objects.exists()


def test_an_adjudication_under_a_bulk_action_is_the_next_step_back(project, ann):
    question = make_question(project, state="disputed")
    mia = make_person("mia", project)
    [held] = queue.claim(project, mia, queue="disputed")
    queue.adjudicate(question.pk, mia, token=held.token, intents=["pay"])
    bulk.label(
        project, mia, question_ids=[question.pk], codes=["stock"], kind="selection"
    )
    assert queue.undo(project, mia) is None
    assert [g.intent.code for g in question.gold_labels.all()] == ["pay"]
    assert queue.undo(project, mia).question == question
    assert states(question) == {"disputed"}
    with pytest.raises(CannotUndo, match="nothing"):
        queue.undo(project, mia)


def test_undo_leaves_the_bulk_actions_of_others(project, ann):
    mia = make_person("mia", project)
    question = make_question(project)
    bulk.label(
        project, mia, question_ids=[question.pk], codes=["pay"], kind="selection"
    )
    with pytest.raises(CannotUndo, match="nothing"):
        queue.undo(project, ann)
    assert not Lease.objects.exists()
