"""Which questions each queue hands out, in which order, and by which index."""

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection, transaction
from django.utils import timezone

from labeling import queue, taxonomy
from labeling.models import Lease, Question
from labeling.queue.claims import claim_values
from labeling.queue.sources import SOURCES, claim_sql
from labeling.taxonomy import UnknownIntent
from tests import makers
from tests.makers import make_intent, make_person

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return makers.make_project(audit_share=0)


@pytest.fixture
def ann(project):
    return make_person("ann", project)


@pytest.fixture
def rex(project):
    return make_person("rex", project)


def make_question(project, *predicted, **overrides):
    if predicted:
        overrides["predicted"] = [{"code": c, "confidence": 0.4} for c in predicted]
    return makers.make_question(project, **{"split": "train", **overrides})


def claim(project, person, name, *codes, limit=10):
    claimed = queue.claim(project, person, queue=name, codes=codes, limit=limit)
    assert {one.queue for one in claimed} <= {name}
    return [one.question for one in claimed]


# --- What and in which order --------------------------------------------------------


def test_unsure_is_below_the_low_confidence_lowest_first(project, ann):
    make_question(project)  # never answered
    _sure, b, a, _limit = (
        make_question(project, confidence=c) for c in (0.9, 0.6, 0.1, 0.7)
    )
    assert claim(project, ann, "unsure") == [a, b]


def test_newest(project, ann):
    questions = [make_question(project, priority=p) for p in (3, 1, 2)]
    assert claim(project, ann, "newest") == questions[::-1]


def test_conflict_is_where_a_rule_disagrees_by_priority(project, ann):
    make_question(project)
    low, high = (make_question(project, is_conflict=True, priority=p) for p in (1, 2))
    assert claim(project, ann, "conflict") == [high, low]


def test_pair_is_what_wavers_between_two_intents_either_way(project, ann):
    for code in ("pay", "stock", "leave"):
        make_intent(project, code)
    there, back = (
        make_question(project, *codes)
        for codes in (("pay", "stock", "leave"), ("stock", "pay"))
    )
    make_question(project, "pay", "leave", "stock")
    make_question(project, "pay")
    make_question(project)
    assert set(claim(project, ann, "pair", "stock", "pay")) == {there, back}


def test_intent_is_what_was_answered_with_it(project, ann):
    make_intent(project, "pay")
    first = make_question(project, "pay", "stock")
    make_question(project, "stock", "pay")
    assert claim(project, ann, "intent", "pay") == [first]


def test_old_codes_are_asked_for_and_found(project, ann):
    pay = make_intent(project, "pay")
    before = make_question(project, "pay")
    taxonomy.rename(pay, code="payment", by=None)
    after = make_question(project, "payment")
    for code in ("pay", "payment"):
        assert set(claim(project, ann, "intent", code)) == {before, after}


def test_codes_that_do_not_fit(project, ann):
    make_intent(project, "pay")
    for name, codes in (
        ("pair", ["pay"]),
        ("pair", ["pay", "pay"]),
        ("intent", []),
        ("priority", ["pay"]),
    ):
        with pytest.raises(ValueError, match="codes"):
            queue.claim(project, ann, queue=name, codes=codes)
    with pytest.raises(UnknownIntent):
        queue.claim(project, ann, queue="intent", codes=["nothing"])
    with pytest.raises(ValueError, match="nowhere"):
        queue.claim(project, ann, queue="nowhere")


# --- The audit ----------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(set(SOURCES) - {"audit", "suspect", "broken"}))
def test_test_questions_are_handed_out_by_the_audit_alone(project, rex, name):
    for code in ("pay", "stock"):
        make_intent(project, code)
    everything = {"confidence": 0.1, "is_conflict": True, "split": "test"}
    test = make_question(project, "pay", "stock", **everything)
    codes = {"pair": ("pay", "stock"), "intent": ("pay",)}.get(name, ())
    claimed = queue.claim(project, rex, queue=name, codes=codes)
    if name == "priority":  # it falls back
        assert [(one.question, one.queue) for one in claimed] == [(test, "audit")]
    else:
        assert claimed == []


def test_the_audit_goes_by_the_hash_and_is_blind(project, ann):
    questions = [make_question(project, split="test", priority=p) for p in (1, 9, 5, 7)]
    claimed = queue.claim(project, ann, queue="audit", limit=4)
    by_hash = sorted(questions, key=lambda one: one.text_hash)
    assert [one.question for one in claimed] == by_hash
    assert all(one.is_blind for one in claimed)


def test_a_share_of_the_priority_queue_is_drawn_from_the_audit(ann):
    project = makers.make_project(audit_share=0.3)
    make_person("ann", project)
    for n in range(600):
        make_question(project, split="test" if n % 2 else "train")
    drawn = []
    for limit in (1, 3, 50):  # drawn one by one, or many at once: the same share
        for _n in range(100 // limit):
            claimed = queue.claim(project, ann, limit=limit)
            assert len(claimed) == limit
            assert all(one.is_blind == (one.queue == "audit") for one in claimed)
            assert all(
                one.is_blind == (one.question.split == "test") for one in claimed
            )
            drawn += [one.is_blind for one in claimed]
            Question.objects.filter(pk__in=[one.question.pk for one in claimed]).update(
                state="skipped"
            )
            Lease.objects.all().delete()
    # About 300 draws: off by that much once in half a million times.
    assert abs(sum(drawn) / len(drawn) - 0.3) < 0.13


def test_a_page_that_loses_one_of_three_draws_by_the_share(ann):
    project = makers.make_project(audit_share=0.3)
    make_person("ann", project)
    for n in range(400):
        make_question(project, split="test" if n % 2 else "train")
    drawn, claimed = [], queue.claim(project, ann, limit=3)
    for _n in range(150):
        done = claimed[0].question
        Question.objects.filter(pk=done.pk).update(state="skipped")
        Lease.objects.filter(question=done).delete()
        held = {one.question for one in claimed[1:]}
        claimed = queue.claim(project, ann, limit=3)
        drawn += [one.is_blind for one in claimed if one.question not in held]
    assert len(drawn) == 150
    assert 0.12 < sum(drawn) / 150 < 0.48


@pytest.mark.parametrize(("share", "split"), [(0, "test"), (1, "train")])
def test_priority_and_audit_fall_back_on_each_other(ann, share, split):
    project = makers.make_project(audit_share=share)
    make_person("ann", project)
    questions = {make_question(project, split=split) for _n in range(3)}
    assert {one.question for one in queue.claim(project, ann, limit=5)} == questions


def test_the_audit_by_name_gives_its_own_alone(project, ann):
    makers.make_question(project, split="train")
    assert queue.claim(project, ann, queue="audit") == []
    test = makers.make_question(project, split="test")
    assert [one.question for one in queue.claim(project, ann, queue="audit")] == [test]


# --- Who holds what -----------------------------------------------------------------


def test_what_is_held_of_another_queue_stays_there(project, ann):
    low, high = (make_question(project, confidence=0.1, priority=p) for p in (1, 2))
    assert claim(project, ann, "priority", limit=1) == [high]
    assert claim(project, ann, "unsure") == [low]
    assert claim(project, ann, "priority") == [high]
    assert claim(project, ann, "unsure") == [low]
    assert Lease.objects.count() == 2


def test_the_same_questions_in_the_same_order_after_a_reload(project, ann):
    for p in (3, 2, 1, 5):
        make_question(project, priority=p)
    first = queue.claim(project, ann, limit=3)
    assert [one.question.priority for one in first] == [5, 3, 2]
    again = queue.claim(project, ann, limit=3)
    assert [one.token for one in again] == [one.token for one in first]


def test_an_expired_lease_of_another_queue_changes_its_queue(project, ann):
    question = make_question(project)
    claim(project, ann, "newest")
    Lease.objects.update(expires_at=timezone.now(), is_returned=True)
    assert claim(project, ann, "priority") == [question]
    lease = Lease.objects.get()
    assert (lease.queue, lease.is_returned) == ("priority", False)


# --- Reviewers ----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["disputed", "suspect", "broken"])
def test_the_reviewers_queues_are_for_reviewers(project, ann, name):
    with pytest.raises(PermissionDenied):
        queue.claim(project, ann, queue=name)


def test_disputed_is_by_lowest_agreement(project, rex):
    half, third = (
        make_question(project, state="disputed", priority=1 - agreement)
        for agreement in (0.5, 0.3)
    )
    make_question(project, priority=9)
    assert claim(project, rex, "disputed") == [third, half]


def test_suspect_is_the_most_suspicious_label_first(project, rex):
    low, high = (
        make_question(project, state="labelled", suspicion=s) for s in (0.6, 0.9)
    )
    make_question(project, state="labelled")
    make_question(project, suspicion=1.0)  # open again
    assert claim(project, rex, "suspect") == [high, low]


def test_one_reviewer_a_question_whatever_the_overlap(rex):
    project = makers.make_project(overlap=3)
    make_person("rex", project), make_person("mia", project)
    question = make_question(project, state="disputed")
    assert claim(project, rex, "disputed") == [question]
    assert claim(project, make_person("mia"), "disputed") == []
    assert Lease.objects.get().slot == 0


# --- Indices ------------------------------------------------------------------------

_INDEX = {
    "priority": "question_queue",
    "unsure": "question_unsure",
    "newest": "question_by_state",
    "pair": "question_pair",
    "intent": "question_pair",
    "conflict": "question_conflict",
    "audit": "question_audit",
    "disputed": "question_disputed",
    "suspect": "question_suspect",
    "broken": "question_broken",
}


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("name", SOURCES)
def test_each_claim_walks_its_index_and_sorts_no_questions(project, rex, name, waits):
    now = timezone.now()
    for code in ("pay", "stock"):
        make_intent(project, code)
    codes = ("pay", "stock", "leave", "clock")
    states = ("open", "open", "open", "labelled", "disputed", "skipped")
    Question.objects.bulk_create(
        Question(
            project=project,
            text=f"q{n}",
            text_hash=f"{n * 7919 % 100003:032x}",
            first_seen=now,
            last_seen=now,
            split="test" if n % 7 == 0 else "train",
            state=states[n % 6],
            priority=n % 97,
            confidence=n % 89 / 100,
            is_conflict=n % 5 == 0,
            suspicion=n % 83 / 100 if n % 6 == 3 else None,
            broken_by=n % 5 + 1 if n % 6 == 3 else None,
            predicted=[
                {"code": codes[n % 4], "confidence": 0.4},
                {"code": codes[n // 4 % 4], "confidence": 0.3},
            ],
        )
        for n in range(6000)
    )
    named = {"pair": ("pay", "stock"), "intent": ("pay",)}.get(name, ())
    values = claim_values(project, rex, name, named, limit=3)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("ANALYZE labeling_question, labeling_lease")
        cursor.execute("EXPLAIN ANALYZE " + claim_sql(name, waits=waits), values)
        plan = "\n".join(line for (line,) in cursor.fetchall())
        transaction.set_rollback(True)
    assert _INDEX[name] in plan, plan
    assert "Seq Scan on labeling_question" not in plan, plan
    # Nobody reads thousands to give three: no sort of questions, which would read all.
    picked = plan[plan.index("CTE picked") : plan.index("CTE taken")]
    assert "Bitmap" not in picked, plan
    assert "Sort Key: q" not in picked, plan
