"""Gold labels of many questions at once: written, taken away, put back, remembered."""

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from labeling import taxonomy
from labeling.labels import gold
from labeling.models import (
    Annotation,
    BulkAction,
    Embedding,
    GoldLabel,
    LabelChange,
    Lease,
    Question,
)
from tests.makers import make_intent, make_person, make_project, make_question
from tests.processes import go, outputs

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def mia(project):
    return make_person("mia", project)


@pytest.fixture
def pay(project):
    return make_intent(project, "pay")


@pytest.fixture
def stock(project):
    return make_intent(project, "stock")


def ids(*questions):
    return [question.pk for question in questions]


def label(questions, intents, by, **extra):
    values = {"source": "annotation", "kind": "annotation", **extra}
    return gold.set_gold(ids(*questions), intents, by=by, **values)


def make_bulk(project, by, **extra):
    values = {"kind": "selection", "codes": [], **extra}
    return BulkAction.objects.create(project=project, by=by, **values)


def codes(question):
    return sorted(question.gold_labels.values_list("intent__code", flat=True))


def embed(question, *, is_labelled=False):
    return Embedding.objects.create(
        question=question,
        project=question.project,
        vector=[1.0] + [0.0] * (Embedding.DIMENSIONS - 1),
        is_labelled=is_labelled,
    )


def hold(question, person, *, slot=0, token=1):
    return Lease.objects.create(
        question=question,
        holder=person,
        slot=slot,
        token=token,
        claimed_at=question.first_seen,
    )


def judge(question, person, *intents, **extra):
    annotation = Annotation.objects.create(
        question=question, annotator=person, verdict="label", **extra
    )
    annotation.intents.set(intents)
    return annotation


# --- Set --------------------------------------------------------------------------


def test_set_gold_labels_and_leaves_everything_in_step(project, mia, pay):
    one, two = (make_question(project, suspicion=0.9) for _n in range(2))
    untouched = make_question(project)
    hold(one, mia)
    embed(one), embed(untouched)
    assert label([one, two], [pay], mia, comment="clear") == 2
    for question in (one, two):
        question.refresh_from_db()
        assert (question.state, question.suspicion) == ("labelled", None)
        assert question.labelled_at is not None
        row = question.gold_labels.get()
        assert (row.intent, row.source, row.set_by) == (pay, "annotation", mia)
    assert not Lease.objects.exists()
    assert Embedding.objects.get(question=one).is_labelled
    assert not Embedding.objects.get(question=untouched).is_labelled
    untouched.refresh_from_db()
    assert untouched.state == "open"
    first = LabelChange.objects.get(question=one)
    assert (first.kind, first.before, first.after) == ("annotation", None, ["pay"])
    assert (first.by, first.comment, first.bulk) == (mia, "clear", None)


def test_the_history_says_what_was_there_whose_and_since_when(project, mia, pay, stock):
    rex = make_person("rex", project)
    question = make_question(project)
    label([question], [pay], rex)
    was_at = question.gold_labels.get().set_at
    label(
        [question],
        [stock],
        mia,
        source="adjudication",
        kind="adjudication",
        reason="slip",
    )
    newest = LabelChange.objects.first()
    assert newest.before.pop("at")[:19] == was_at.isoformat()[:19]
    assert newest.before == {
        "state": "labelled",
        "codes": ["pay"],
        "source": "annotation",
        "by": rex.pk,
    }
    assert (newest.after, newest.reason) == (["stock"], "slip")


def test_the_history_cannot_be_changed(project, mia, pay):
    label([make_question(project)], [pay], mia)
    with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
        LabelChange.objects.update(comment="never said")


def test_an_import_leaves_no_history(project, pay):
    label([make_question(project)], [pay], None, source="import", kind="")
    assert not LabelChange.objects.exists()


def test_what_was_learned_stays_learned_while_the_label_is_the_same(project, mia):
    project.is_multi_intent = True
    a, b = make_intent(project, "a"), make_intent(project, "b")
    question = make_question(project)
    label([question], [b, a], mia)
    Question.objects.update(trained_in="3")
    label([question], [a, b], mia, source="adjudication", kind="adjudication")
    question.refresh_from_db()
    assert question.trained_in == "3"
    assert set(question.gold_labels.values_list("source", flat=True)) == {
        "adjudication"
    }
    label([question], [a], mia)
    question.refresh_from_db()
    assert (question.trained_in, codes(question)) == ("", ["a"])
    label([question], [], mia)
    question.refresh_from_db()
    assert (question.state, codes(question)) == ("labelled", [])


def test_a_skipped_question_has_a_before(project, mia, pay):
    question = make_question(project, state="skipped")
    label([question], [pay], mia)
    before = LabelChange.objects.get().before
    assert (before["state"], before["codes"]) == ("skipped", [])


def test_an_intent_of_another_project_is_refused(project, mia):
    with pytest.raises(ValueError, match="project"):
        label([make_question(project)], [make_intent(make_project())], mia)
    assert not GoldLabel.objects.exists()


def test_questions_that_are_not_there_are_left_out(pay, mia):
    assert gold.set_gold([0], [pay], source="import", kind="", by=mia) == 0


def test_the_number_of_statements_does_not_grow(project, mia, pay):
    counts = []
    for number in (1, 20):
        bulk = make_bulk(project, mia)
        questions = [make_question(project) for _n in range(number)]
        with CaptureQueriesContext(
            connection,
        ) as queries:
            label(questions, [pay], mia, bulk=bulk)
            gold.restore(bulk, by=mia)
            label(questions, [pay], mia)
            gold.clear(ids(*questions), by=mia, kind="undo", anew=True)
        counts.append(len(queries))
    assert counts[0] == counts[1]
    assert counts[0] <= 2 * 2 + 4 + 5 + 4 * 2  # a savepoint is two


# --- Clear ------------------------------------------------------------------------


def test_clear_puts_back_into_the_queue(project, mia, pay):
    question, open_one = make_question(project), make_question(project)
    embed(question)
    label([question], [pay], mia)
    Question.objects.filter(pk=question.pk).update(trained_in="2", suspicion=0.8)
    assert gold.clear(ids(question, open_one), by=mia, kind="split") == 1
    question.refresh_from_db()
    assert (question.state, question.labelled_at) == ("open", None)
    assert (question.trained_in, question.suspicion) == ("", None)
    assert not GoldLabel.objects.exists()
    assert not Embedding.objects.get().is_labelled
    newest = LabelChange.objects.first()
    assert (newest.kind, newest.after) == ("split", None)
    assert newest.before["codes"] == ["pay"]
    assert LabelChange.objects.count() == 2  # none for the open one


def test_verdicts_that_remain_hold_their_slots_after_clear(pay):
    project = pay.project
    project.overlap = 3
    project.save()
    people = [make_person(name, project) for name in ("ann", "rex")]
    question = make_question(project)
    for person in people:
        judge(question, person, pay)
    label([question], [pay], people[0])
    gold.clear(ids(question), by=people[0], kind="undo")
    assert list(
        Lease.objects.order_by("slot").values_list("holder", "slot", "expires_at")
    ) == [(people[0].pk, 0, None), (people[1].pk, 1, None)]


def test_clear_keeps_who_holds_an_open_question(project, mia):
    question = make_question(project)
    hold(question, mia)
    gold.clear(ids(question), by=mia, kind="undo")
    assert Lease.objects.count() == 1


def test_clear_anew_forgets_the_verdicts(project, mia, pay):
    question, other = make_question(project), make_question(project)
    judge(question, mia, pay), judge(other, mia, pay)
    label([question], [pay], mia)
    gold.clear(ids(question), by=mia, kind="split", anew=True)
    assert Annotation.objects.get().question == other
    assert not Lease.objects.exists()


# --- Restore ----------------------------------------------------------------------


def test_restore_puts_back_labels_with_whose_and_when(project, mia, pay, stock):
    rex = make_person("rex", project)
    labelled, fresh = make_question(project), make_question(project)
    skipped = make_question(project, state="skipped")
    for question in (labelled, fresh, skipped):
        embed(question)
    label([labelled], [pay], rex)
    was = labelled.gold_labels.get()
    bulk = make_bulk(project, mia)
    label([labelled, fresh, skipped], [stock], mia, kind="bulk", bulk=bulk)
    assert gold.restore(bulk, by=mia) == 3
    back = labelled.gold_labels.get()
    assert (back.intent, back.set_by, back.source) == (pay, rex, was.source)
    assert back.set_at == was.set_at
    for question, state in (
        (labelled, "labelled"),
        (fresh, "open"),
        (skipped, "skipped"),
    ):
        question.refresh_from_db()
        assert question.state == state
        assert Embedding.objects.get(question=question).is_labelled == (
            state == "labelled"
        )
    assert labelled.labelled_at == was.set_at
    assert (fresh.labelled_at, codes(fresh), codes(skipped)) == (None, [], [])
    newest = LabelChange.objects.filter(question=labelled).first()
    assert (newest.kind, newest.after, newest.bulk) == ("undo", ["pay"], bulk)
    assert newest.before["codes"] == ["stock"]


def test_restore_leaves_what_was_changed_since(project, mia, pay, stock):
    one, two = make_question(project), make_question(project)
    bulk = make_bulk(project, mia)
    label([one, two], [pay], mia, kind="bulk", bulk=bulk)
    label([two], [stock], mia)
    assert gold.restore(bulk, by=mia) == 1
    assert (codes(one), codes(two)) == ([], ["stock"])


def test_restoring_twice_changes_nothing_more(project, mia, pay):
    bulk = make_bulk(project, mia)
    question = make_question(project)
    label([question], [pay], mia, kind="bulk", bulk=bulk)
    assert (gold.restore(bulk, by=mia), gold.restore(bulk, by=mia)) == (1, 0)
    assert LabelChange.objects.count() == 2


def test_restore_finds_an_intent_by_its_old_code(project, mia, pay, stock):
    question = make_question(project)
    label([question], [pay], mia)
    bulk = make_bulk(project, mia)
    label([question], [stock], mia, kind="bulk", bulk=bulk)
    taxonomy.rename(pay, code="payment", by=mia)
    gold.restore(bulk, by=mia)
    assert codes(question) == ["payment"]


def test_a_label_whose_intent_is_gone_for_good_is_asked_again(project, mia, pay, stock):
    question = make_question(project)
    label([question], [pay], mia)
    bulk = make_bulk(project, mia)
    label([question], [stock], mia, kind="bulk", bulk=bulk)
    pay.delete()
    gold.restore(bulk, by=mia)
    question.refresh_from_db()
    assert (question.state, codes(question)) == ("open", [])
    assert question.labelled_at is None


def test_verdicts_that_remain_hold_their_slots_after_restore(pay):
    project = pay.project
    project.overlap = 2
    project.save()
    ann, mia = make_person("ann", project), make_person("mia", project)
    question = make_question(project)
    judge(question, ann, pay)
    bulk = make_bulk(project, mia)
    label([question], [pay], mia, kind="bulk", bulk=bulk)
    gold.restore(bulk, by=mia)
    lease = Lease.objects.get()
    assert (lease.holder, lease.slot, lease.expires_at) == (ann, 0, None)


# --- At once ----------------------------------------------------------------------

_WRITE = """
import sys, django
django.setup()
from labeling.labels import gold
from labeling.models import Intent
pks = [int(pk) for pk in sys.argv[2].split(",")]
intents = [Intent.objects.get(code=sys.argv[1])]
print("ready", flush=True)
sys.stdin.readline()
for _n in range(30):
    gold.set_gold(pks, intents, source="annotation", kind="annotation", by=None)
    pks.reverse()
"""


@pytest.mark.django_db(transaction=True)
def test_two_writers_of_the_same_questions_neither_lock_up_nor_mix(start):
    project = make_project()
    for code in ("pay", "stock"):
        make_intent(project, code)
    questions = [make_question(project) for _n in range(20)]
    pks = ",".join(str(pk) for pk in ids(*questions))
    writers = [start(_WRITE, code, pks) for code in ("pay", "stock")]
    go(writers)
    assert outputs(writers) == [[], []]
    assert GoldLabel.objects.count() == 20
    assert GoldLabel.objects.values("intent").distinct().count() == 1
    assert LabelChange.objects.count() == 2 * 30 * 20
    for question in questions:  # each change starts where the one before ended
        changes = LabelChange.objects.filter(question=question).order_by("id")
        after = None
        for change in changes:
            assert (change.before and change.before["codes"]) == after
            after = change.after
