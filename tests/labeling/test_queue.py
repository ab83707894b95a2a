"""The queue: who gets which question, for how long, and what becomes of an answer."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labeling import queue
from labeling.labels.annotations import CannotUndo, InvalidVerdict, set_gold
from labeling.models import Annotation, GoldLabel, Lease, Question
from labeling.queue import StaleLease
from labeling.taxonomy import UnknownIntent
from tests import makers
from tests.makers import make_intent, make_person, make_question

pytestmark = pytest.mark.django_db


def make_project(**overrides):
    """Without test questions: those belong to the audit, see test_queue_sources."""
    return makers.make_project(**{"test_share": 0, "audit_share": 0, **overrides})


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def ann(project):
    return make_person("ann", project)


@pytest.fixture
def rex(project):
    return make_person("rex", project)


@pytest.fixture
def pay(project):
    return make_intent(project, "pay")


def claim_one(project, person):
    [claimed] = queue.claim(project, person)
    return claimed


def expire(question):
    past = timezone.now() - timedelta(seconds=1)
    Lease.objects.filter(question=question).update(expires_at=past)


def submit(claimed, person, *codes, **extra):
    return queue.submit(
        claimed.question.pk, person, token=claimed.token, intents=codes, **extra
    )


# --- Claim ------------------------------------------------------------------------


def test_an_empty_queue_gives_nothing(project, ann):
    assert queue.claim(project, ann) == []


def test_the_highest_priority_comes_first_then_the_oldest(project, ann):
    late, urgent, early = (make_question(project, priority=p) for p in (1.0, 3.0, 1.0))
    claimed = queue.claim(project, ann, limit=3)
    assert [c.question for c in claimed] == [urgent, late, early]


def test_only_open_questions_of_the_project(project, ann):
    make_question(make_project())
    for state in (s for s in Question.State if s != Question.State.OPEN):
        make_question(project, state=state)
    assert queue.claim(project, ann) == []


def test_two_people_get_different_questions(project, ann, rex):
    make_question(project), make_question(project)
    assert claim_one(project, ann).question != claim_one(project, rex).question
    mia = make_person("mia", project)
    assert queue.claim(project, mia) == []


def test_claiming_again_gives_the_same_question_renewed(project, ann):
    make_question(project), make_question(project)
    first = claim_one(project, ann)
    soon = timezone.now() + timedelta(seconds=5)
    Lease.objects.update(expires_at=soon)
    second = claim_one(project, ann)
    assert (second.question, second.token) == (first.question, first.token)
    assert second.expires_at > soon


def test_held_questions_count_towards_the_limit(project, ann):
    for _n in range(5):
        make_question(project)
    first = claim_one(project, ann)
    more = queue.claim(project, ann, limit=3)
    assert len(more) == 3
    assert more[0].question == first.question
    assert Lease.objects.count() == 3
    assert len(queue.claim(project, ann, limit=1)) == 1
    assert Lease.objects.count() == 3


def test_leases_in_another_project_do_not_come_back_here(project, ann):
    other = make_project()
    make_question(other)
    claim_one(other, ann)
    mine = make_question(project)
    assert claim_one(project, ann).question == mine


def test_an_expired_lease_is_claimable_and_gets_a_larger_token(project, ann, rex):
    question = make_question(project)
    first = claim_one(project, ann)
    assert queue.claim(project, rex) == []
    expire(question)
    second = claim_one(project, rex)
    assert second.question == question
    assert second.token > first.token
    assert Lease.objects.count() == 1


def test_a_person_takes_up_their_own_expired_lease(project, ann):
    question = make_question(project)
    first = claim_one(project, ann)
    expire(question)
    second = claim_one(project, ann)
    assert second.question == question
    assert second.token > first.token


def test_the_lease_lasts_as_long_as_the_project_says(ann):
    project = make_project(lease_s=60)
    make_question(project)
    rest = claim_one(project, ann).expires_at - timezone.now()
    assert timedelta(seconds=58) < rest <= timedelta(seconds=60)


def test_the_claim_is_one_statement(project, ann, django_assert_num_queries):
    make_question(project)
    with django_assert_num_queries(4):  # savepoint, claim, release, read the question
        queue.claim(project, ann)


# --- Overlap ----------------------------------------------------------------------


@pytest.fixture
def pair():
    """A project that asks two people, and three people."""
    project = make_project(overlap=2)
    people = [make_person(name, project) for name in ("ann", "rex", "mia")]
    return project, *people


def test_two_people_share_a_question_and_a_third_does_not(pair):
    project, ann, rex, mia = pair
    question = make_question(project)
    assert claim_one(project, ann).question == question
    assert claim_one(project, rex).question == question
    assert queue.claim(project, mia) == []
    assert set(Lease.objects.values_list("slot", flat=True)) == {0, 1}


def test_an_answered_slot_stays_taken(pair):
    project, ann, rex, mia = pair
    make_intent(project, "pay")
    make_question(project)
    submit(claim_one(project, ann), ann, "pay")
    assert queue.claim(project, ann) == []
    claim_one(project, rex)
    assert queue.claim(project, mia) == []


def test_an_expired_slot_of_ones_own_is_taken_up_again(pair):
    """(question, holder) is unique too: slot 1 it is, though slot 0 is free."""
    project, ann, rex, mia = pair
    question = make_question(project)
    claim_one(project, ann), claim_one(project, rex)
    expire(question)
    assert claim_one(project, rex).question == question
    assert claim_one(project, mia).question == question
    assert Lease.objects.get(holder=rex).slot == 1
    assert Lease.objects.get(holder=mia).slot == 0


def test_agreement_makes_gold_and_ends_all_leases(pair):
    project, ann, rex, _mia = pair
    make_intent(project, "pay")
    question = make_question(project)
    held = [claim_one(project, ann), claim_one(project, rex)]
    submit(held[0], ann, "pay")
    question.refresh_from_db()
    assert question.state == "open"
    submit(held[1], rex, "pay")
    question.refresh_from_db()
    assert question.state == "labelled"
    assert [g.intent.code for g in question.gold_labels.all()] == ["pay"]
    assert not Lease.objects.exists()


@pytest.mark.parametrize("other", ["stock", None])
def test_disagreement_makes_a_dispute(pair, other):
    project, ann, rex, mia = pair
    make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    held = [claim_one(project, ann), claim_one(project, rex)]
    submit(held[0], ann, "pay")
    if other:
        submit(held[1], rex, other)
    else:
        queue.skip(question.pk, rex, token=held[1].token)
    question.refresh_from_db()
    assert question.state == "disputed"
    assert not question.gold_labels.exists()
    assert not Lease.objects.exists()
    assert queue.claim(project, mia) == []


# --- Submit -----------------------------------------------------------------------


def test_submit_labels_the_question(project, ann, pay):
    question = make_question(project)
    annotation = submit(
        claim_one(project, ann), ann, "pay", comment="clear", time_spent_ms=1200
    )
    assert annotation.verdict == Annotation.Verdict.LABEL
    assert list(annotation.intents.all()) == [pay]
    assert (annotation.comment, annotation.time_spent_ms) == ("clear", 1200)
    question.refresh_from_db()
    assert question.state == "labelled"
    assert question.labelled_at is not None
    gold = question.gold_labels.get()
    assert (gold.intent, gold.source, gold.set_by) == (pay, "annotation", ann)
    assert not Lease.objects.exists()
    assert queue.claim(project, ann) == []


def test_a_late_submit_counts_while_nobody_took_over(project, ann, pay):
    question = make_question(project)
    claimed = claim_one(project, ann)
    expire(question)
    submit(claimed, ann, "pay")
    question.refresh_from_db()
    assert question.state == "labelled"


def test_a_submit_after_somebody_took_over_is_stale(project, ann, rex, pay):
    question = make_question(project)
    old = claim_one(project, ann)
    expire(question)
    new = claim_one(project, rex)
    with pytest.raises(StaleLease, match="Somebody else"):
        submit(old, ann, "pay")
    assert not Annotation.objects.exists()
    submit(new, rex, "pay")
    with pytest.raises(StaleLease, match="settled"):
        submit(old, ann, "pay")


def test_an_older_token_of_the_same_person_is_stale(project, ann, pay):
    question = make_question(project)
    old = claim_one(project, ann)
    expire(question)
    claim_one(project, ann)
    with pytest.raises(StaleLease):
        submit(old, ann, "pay")
    assert not Annotation.objects.exists()


def test_somebody_elses_token_is_stale(project, ann, rex, pay):
    make_question(project)
    claimed = claim_one(project, ann)
    with pytest.raises(StaleLease):
        submit(claimed, rex, "pay")


def test_a_released_lease_is_stale(project, ann, pay):
    make_question(project)
    claimed = claim_one(project, ann)
    Lease.objects.all().delete()  # a manager, in the admin
    with pytest.raises(StaleLease, match="given back"):
        submit(claimed, ann, "pay")


def test_a_question_settled_meanwhile_is_stale(project, ann, pay):
    question = make_question(project)
    claimed = claim_one(project, ann)
    Question.objects.update(state="labelled")  # an import
    with pytest.raises(StaleLease, match="settled"):
        submit(claimed, ann, "pay")
    assert not GoldLabel.objects.filter(question=question).exists()


def test_the_same_submit_twice_is_answered_twice(project, ann, pay):
    make_question(project)
    stock = make_intent(project, "stock")
    claimed = claim_one(project, ann)
    first = submit(claimed, ann, "pay")
    assert submit(claimed, ann, "pay") == first
    with pytest.raises(StaleLease):
        submit(claimed, ann, stock.code)


def test_unknown_and_retired_intents(project, ann, pay):
    make_question(project)
    make_intent(project, "old", retired_at=timezone.now())
    make_intent(make_project(), "foreign")
    claimed = claim_one(project, ann)
    for code in ("nothing", "old", "foreign", ""):
        with pytest.raises(UnknownIntent):
            submit(claimed, ann, code)
    assert claim_one(project, ann).token == claimed.token


@pytest.mark.parametrize("codes", [[], ["pay", "stock"]])
def test_a_single_intent_project_takes_exactly_one(project, ann, pay, codes):
    make_intent(project, "stock")
    make_question(project)
    with pytest.raises(InvalidVerdict):
        submit(claim_one(project, ann), ann, *codes)


@pytest.mark.parametrize("codes", [[], ["pay"], ["stock", "pay", "stock"]])
def test_a_multi_intent_project_takes_any_number(ann, codes):
    project = make_project(is_multi_intent=True)
    make_intent(project, "pay"), make_intent(project, "stock")
    question = make_question(project)
    submit(claim_one(project, ann), ann, *codes)
    question.refresh_from_db()
    assert question.state == "labelled"
    assert {g.intent.code for g in question.gold_labels.all()} == set(codes)


# --- Gold -------------------------------------------------------------------------


def test_gold_that_changes_is_not_yet_learned(project, pay):
    stock = make_intent(project, "stock")
    question = make_question(project)
    set_gold(question, [pay], source="annotation", by=None)
    Question.objects.update(trained_in="3")
    question.refresh_from_db()
    set_gold(question, [pay], source="adjudication", by=None)
    question.refresh_from_db()
    assert question.trained_in == "3"
    assert question.gold_labels.get().source == "adjudication"
    set_gold(question, [stock], source="adjudication", by=None)
    question.refresh_from_db()
    assert question.trained_in == ""
    assert [g.intent for g in question.gold_labels.all()] == [stock]


# --- Renew and release ------------------------------------------------------------


def test_renew_keeps_leases_also_those_that_ran_out(project, ann, rex):
    make_question(project), make_question(project)
    claimed = queue.claim(project, ann, limit=2)
    expire(claimed[0].question)
    tokens = {one.question.pk: one.token for one in claimed}
    assert queue.renew(tokens, ann) == set(tokens)
    assert not Lease.objects.filter(expires_at__lt=timezone.now()).exists()
    assert queue.claim(project, rex) == []


def test_renew_is_one_statement(project, ann, django_assert_num_queries):
    tokens = {}
    for _n in range(3):
        make_question(project)
    for one in queue.claim(project, ann, limit=3):
        tokens[one.question.pk] = one.token
    with django_assert_num_queries(1):
        queue.renew(tokens, ann)


def test_renew_says_which_leases_are_lost(project, ann, rex):
    make_question(project), make_question(project)
    lost, kept = queue.claim(project, ann, limit=2)
    expire(lost.question)
    claim_one(project, rex)
    tokens = {one.question.pk: one.token for one in (lost, kept)}
    assert queue.renew({**tokens, 0: 1}, ann) == {kept.question.pk}
    assert queue.renew({}, ann) == set()
    assert queue.renew(tokens, rex) == set()


def test_renew_of_a_question_settled_meanwhile(project, ann):
    question = make_question(project)
    claimed = claim_one(project, ann)
    Question.objects.update(state="labelled")  # an import
    assert queue.renew({question.pk: claimed.token}, ann) == set()


def test_release_gives_questions_to_the_next(project, ann, rex):
    questions = [make_question(project) for _n in range(2)]
    tokens = {one.question.pk: one.token for one in queue.claim(project, ann, limit=2)}
    queue.release(tokens, rex)
    assert Lease.objects.count() == 2
    queue.release(tokens, ann)
    queue.release(tokens, ann)
    queue.release({}, ann)
    assert [c.question for c in queue.claim(project, rex, limit=2)] == questions


def test_release_frees_no_answered_slot(pair):
    project, ann, _rex, _mia = pair
    make_intent(project, "pay")
    question = make_question(project)
    claimed = claim_one(project, ann)
    submit(claimed, ann, "pay")
    queue.release({question.pk: claimed.token}, ann)
    assert Lease.objects.count() == 1


def test_a_page_that_is_left_keeps_its_questions_for_a_moment(project, ann, rex):
    question = make_question(project)
    claimed = claim_one(project, ann)
    queue.leave({question.pk: claimed.token}, ann)
    rest = Lease.objects.get().expires_at - timezone.now()
    assert timedelta(0) < rest < timedelta(seconds=20)
    assert claim_one(project, ann).token == claimed.token  # back again
    assert Lease.objects.get().expires_at - timezone.now() > timedelta(seconds=60)


# --- Skip -------------------------------------------------------------------------


def test_skip_takes_the_question_out_of_the_queue(project, ann, rex):
    question = make_question(project)
    claimed = claim_one(project, ann)
    annotation = queue.skip(question.pk, ann, token=claimed.token, reason="unclear")
    assert (annotation.verdict, annotation.comment) == ("skip", "unclear")
    assert queue.skip(question.pk, ann, token=claimed.token) == annotation
    question.refresh_from_db()
    assert question.state == "skipped"
    assert queue.claim(project, rex) == []


def test_a_stale_skip(project, ann, rex):
    question = make_question(project)
    old = claim_one(project, ann)
    expire(question)
    claim_one(project, rex)
    with pytest.raises(StaleLease):
        queue.skip(question.pk, ann, token=old.token)


# --- Undo -------------------------------------------------------------------------


def test_undo_reopens_and_holds_the_question(project, ann, rex, pay):
    question = make_question(project, trained_in="2")
    submit(claim_one(project, ann), ann, "pay")
    claimed = queue.undo(project, ann)
    assert claimed.question == question
    question.refresh_from_db()
    assert (question.state, question.labelled_at, question.trained_in) == (
        "open",
        None,
        "",
    )
    assert not Annotation.objects.exists()
    assert not GoldLabel.objects.exists()
    assert queue.claim(project, rex) == []
    assert claim_one(project, ann).token == claimed.token
    submit(claimed, ann, "pay")


def test_undo_of_a_skip(project, ann):
    question = make_question(project)
    queue.skip(question.pk, ann, token=claim_one(project, ann).token)
    assert queue.undo(project, ann).question == question
    question.refresh_from_db()
    assert question.state == "open"


def test_undo_goes_back_step_by_step_and_forward_again(project, ann, pay):
    first, second, third = (make_question(project) for _n in range(3))
    for _n in range(2):
        submit(claim_one(project, ann), ann, "pay")
    assert claim_one(project, ann).question == third
    assert queue.undo(project, ann).question == second
    assert queue.undo(project, ann).question == first
    with pytest.raises(CannotUndo, match="nothing"):
        queue.undo(project, ann)
    done = []
    for _n in range(3):
        claimed = claim_one(project, ann)
        done.append(claimed.question)
        submit(claimed, ann, "pay")
    assert done == [first, second, third]


def test_undo_touches_neither_other_people_nor_other_projects(project, ann, rex):
    other = make_project()
    for place in (project, other):
        make_intent(place, "pay")
        make_question(place)
        make_person("ann", place)
    submit(claim_one(project, ann), ann, "pay")
    for place, person in ((project, rex), (other, ann)):
        with pytest.raises(CannotUndo):
            queue.undo(place, person)
    assert Annotation.objects.count() == 1


def test_undo_is_refused_after_somebody_elses_change(project, ann, rex, pay):
    question = make_question(project)
    submit(claim_one(project, ann), ann, "pay")
    question.refresh_from_db()
    set_gold(question, [pay], source="adjudication", by=rex)
    with pytest.raises(CannotUndo, match="Somebody else"):
        queue.undo(project, ann)
    question.refresh_from_db()
    assert question.state == "labelled"
    assert Annotation.objects.count() == 1


def test_undo_with_overlap_leaves_the_others_verdict_and_slot(pair):
    project, ann, rex, mia = pair
    make_intent(project, "pay")
    question = make_question(project)
    submit(claim_one(project, ann), ann, "pay")
    submit(claim_one(project, rex), rex, "pay")
    with pytest.raises(CannotUndo):  # rex's verdict builds on it
        queue.undo(project, ann)
    claimed = queue.undo(project, rex)
    question.refresh_from_db()
    assert question.state == "open"
    assert Annotation.objects.get().annotator == ann
    assert queue.claim(project, mia) == []
    submit(claimed, rex, "pay")
    question.refresh_from_db()
    assert question.state == "labelled"


def test_undo_with_overlap_before_the_others_answered(pair):
    project, ann, rex, mia = pair
    make_intent(project, "pay")
    question = make_question(project)
    held = claim_one(project, rex)
    submit(claim_one(project, ann), ann, "pay")
    submit(queue.undo(project, ann), ann, "pay")
    assert queue.claim(project, mia) == []
    submit(held, rex, "pay")
    question.refresh_from_db()
    assert question.state == "labelled"


def test_undo_of_a_reopened_question_that_somebody_else_holds(project, ann, rex, pay):
    question = make_question(project)
    submit(claim_one(project, ann), ann, "pay")
    GoldLabel.objects.all().delete()
    Question.objects.update(state="open")  # a reviewer put it back
    claim_one(project, rex)
    with pytest.raises(CannotUndo, match="right now"):
        queue.undo(project, ann)
    assert Annotation.objects.filter(question=question).exists()
