"""Bulk labelling: what is taken, what is left out, and the way back."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

from labeling import bulk, queue
from labeling.labels import annotations
from labeling.labels.annotations import CannotUndo, InvalidVerdict
from labeling.models import (
    Annotation,
    BulkAction,
    GoldLabel,
    LabelChange,
    Lease,
    Question,
)
from labeling.taxonomy import UnknownIntent
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


class World:
    """A project with its people and two intents."""

    def __init__(self, **overrides):
        self.project = make_project(**overrides)
        self.ann, self.rex, self.mia = (
            make_person(name, self.project) for name in ("ann", "rex", "mia")
        )
        self.bob = make_person("bob", self.project)
        self.pay = make_intent(self.project, "pay")
        self.ship = make_intent(self.project, "ship")

    def questions(self, count, **overrides):
        values = {"split": "train", **overrides}
        return [make_question(self.project, **values) for _n in range(count)]

    def label(self, user, questions, *, codes=("pay",), kind="selection"):
        return bulk.label(
            self.project, user, question_ids=ids(questions), codes=codes, kind=kind
        )

    def adjudicate(self, question, intent):
        values = {"source": "adjudication", "by": self.rex}
        annotations.set_gold(question, [intent], **values)

    def preview(self, user, questions, *, codes=("pay",)):
        ids_ = ids(questions)
        return bulk.preview(self.project, user, question_ids=ids_, codes=codes)

    def hold(self, user, question, *, seconds=60, slot=0):
        now = timezone.now()
        return Lease.objects.create(
            question=question,
            slot=slot,
            holder=user,
            token=annotations.next_token(),
            claimed_at=now,
            expires_at=now + timedelta(seconds=seconds),
        )


def ids(questions):
    return [question.pk for question in questions]


def gold_of(question):
    return sorted(label.intent.code for label in question.gold_labels.all())


def states(questions):
    rows = Question.objects.filter(pk__in=ids(questions)).order_by("pk")
    return list(rows.values_list("state", flat=True))


@pytest.fixture
def world():
    return World()


def test_open_questions_get_the_label_a_verdict_and_a_history(world):
    questions = world.questions(3, predicted=[{"code": "ship", "confidence": 0.4}])
    action = world.label(world.ann, questions)
    assert action.count == 3
    assert (action.by, action.codes, action.kind) == (world.ann, ["pay"], "selection")
    assert states(questions) == ["labelled"] * 3
    for question in questions:
        label = question.gold_labels.get()
        assert (label.intent, label.set_by) == (world.pay, world.ann)
        assert label.source == GoldLabel.Source.ANNOTATION
        verdict = question.annotations.get()
        assert (verdict.annotator, verdict.bulk) == (world.ann, action)
        assert (verdict.suggested, verdict.is_blind) == ("ship", False)
        assert [intent.code for intent in verdict.intents.all()] == ["pay"]
        change = question.changes.get()
        assert (change.kind, change.bulk, change.after) == ("bulk", action, ["pay"])


def test_what_is_left_out_and_why(world):
    free, held, mine, expired = world.questions(4)
    test = make_question(world.project, split="test")
    skipped = make_question(world.project, split="train", state="skipped")
    same = make_labelled(world.project, world.pay, split="train")
    other = make_labelled(world.project, world.ship, split="train")
    foreign = make_question(make_project(), split="train")
    world.hold(world.bob, held)
    world.hold(world.ann, mine)
    world.hold(world.bob, expired, seconds=-1)
    chosen = [free, held, mine, expired, test, skipped, same, other, foreign]

    seen = world.preview(world.ann, chosen)
    assert (seen.open, seen.changed, seen.count) == (3, 0, 3)
    assert (seen.test, seen.held, seen.same, seen.settled) == (1, 1, 1, 2)
    assert seen.left_out == 5
    assert not BulkAction.objects.exists()
    seen = world.preview(world.rex, chosen)
    assert (seen.open, seen.held, seen.test, seen.same) == (2, 2, 1, 1)
    assert {(c.state, c.codes, c.count) for c in seen.changes} == {
        ("labelled", ("ship",), 1),
        ("skipped", (), 1),
    }

    action = world.label(world.ann, chosen)
    assert action.count == 3
    assert states([free, held, mine, expired]) == [
        *("labelled", "open", "labelled", "labelled")
    ]
    assert [lease.question for lease in Lease.objects.all()] == [held]
    assert states([test, skipped, other]) == ["open", "skipped", "labelled"]
    assert gold_of(other) == ["ship"]
    assert states([foreign]) == ["open"]


def test_a_reviewer_changes_what_is_settled_without_a_verdict_of_their_own(world):
    [labelled] = world.questions(1)
    queue.claim(world.project, world.ann)
    world.label(world.ann, [labelled], codes=["ship"])
    disputed = make_question(world.project, split="train", state="disputed")
    action = world.label(world.rex, [labelled, disputed])
    assert action.count == 2
    for question in (labelled, disputed):
        label = question.gold_labels.get()
        assert label.intent == world.pay
        assert label.source == GoldLabel.Source.ADJUDICATION
        assert question.changes.first().bulk == action
    assert [one.annotator for one in Annotation.objects.all()] == [world.ann]
    assert bulk.undo(action, by=world.rex).count == 2
    assert gold_of(labelled) == ["ship"]
    assert labelled.gold_labels.get().set_by == world.ann
    assert states([disputed]) == ["disputed"]
    assert Annotation.objects.count() == 1


def test_nothing_to_label_writes_nothing(world):
    test = make_question(world.project, split="test")
    other = make_labelled(world.project, world.ship, split="train")
    with pytest.raises(bulk.NothingToLabel) as raised:
        world.label(world.ann, [test, other])
    assert raised.value.preview.test == raised.value.preview.settled == 1
    with pytest.raises(bulk.NothingToLabel):
        world.label(world.ann, [])
    assert not BulkAction.objects.exists()
    assert not LabelChange.objects.exists()


def test_what_is_not_allowed(world):
    questions = world.questions(2)
    with pytest.raises(PermissionDenied):
        world.label(make_person("out"), questions)
    with pytest.raises(PermissionDenied):
        world.preview(make_person("out"), questions)
    with pytest.raises(UnknownIntent):
        world.label(world.ann, questions, codes=["nope"])
    with pytest.raises(InvalidVerdict):
        world.label(world.ann, questions, codes=["pay", "ship"])
    with pytest.raises(bulk.TooMany):
        bulk.label(
            world.project,
            world.ann,
            question_ids=range(bulk.MOST + 1),
            codes=["pay"],
            kind="filter",
        )
    assert states(questions) == ["open", "open"]


def test_several_intents_and_none_of_them():
    world = World(is_multi_intent=True)
    first, second = world.questions(2)
    world.label(world.ann, [first], codes=["ship", "pay"])
    assert gold_of(first) == ["pay", "ship"]
    world.label(world.ann, [second], codes=[])
    assert states([second]) == ["labelled"]
    assert gold_of(second) == []
    assert world.preview(world.rex, [first, second], codes=["pay", "ship"]).same == 1


# --- Overlap --------------------------------------------------------------------------


def test_with_overlap_an_annotators_action_counts_as_one_verdict():
    world = World(overlap=2)
    fresh, agreed, disputed = world.questions(3)
    for question, code in ((agreed, "pay"), (disputed, "ship")):
        bulk.label(
            world.project,
            world.bob,
            question_ids=[question.pk],
            codes=[code],
            kind="selection",
        )
    assert states([agreed, disputed]) == ["open", "open"]
    action = world.label(world.ann, [fresh, agreed, disputed])
    assert action.count == 3
    assert states([fresh, agreed, disputed]) == ["open", "labelled", "disputed"]
    assert gold_of(agreed) == ["pay"]
    disputed.refresh_from_db()
    assert disputed.priority == 0.5  # half of them did not say the commonest
    # The slot of an open question stays answered: ann is not asked again, bob is.
    assert world.preview(world.ann, [fresh]).answered == 1
    lease = Lease.objects.get(question=fresh)
    assert (lease.holder, lease.expires_at) == (world.ann, None)
    assert not Lease.objects.exclude(question=fresh).exists()
    assert queue.claim(world.project, world.ann) == []
    assert [one.question for one in queue.claim(world.project, world.bob)] == [fresh]

    undone = bulk.undo(action, by=world.ann)
    assert (undone.count, undone.kept) == (3, 0)
    assert states([fresh, agreed, disputed]) == ["open"] * 3
    assert {one.annotator for one in Annotation.objects.all()} == {world.bob}
    # Bob's verdicts hold their slots again, so one more person is asked.
    for question in (agreed, disputed):
        lease = Lease.objects.get(question=question)
        assert (lease.holder, lease.expires_at) == (world.bob, None)


def test_with_overlap_a_reviewers_action_is_the_last_word():
    world = World(overlap=3)
    question, judged = world.questions(2)
    world.label(world.rex, [question])
    assert states([question]) == ["labelled"]
    world.label(world.bob, [judged], codes=["ship"])
    action = world.label(world.rex, [judged])
    assert gold_of(judged) == ["pay"]
    bulk.undo(action, by=world.rex)
    assert states([judged]) == ["open"]
    assert [one.annotator for one in judged.annotations.all()] == [world.bob]
    assert Lease.objects.get(question=judged).holder == world.bob


def test_a_lease_of_ones_own_is_answered():
    world = World(overlap=2)
    [question] = world.questions(1)
    world.hold(world.ann, question)
    world.hold(world.bob, question, seconds=-5, slot=1)
    world.label(world.ann, [question])
    lease = Lease.objects.get(question=question)
    assert (lease.holder, lease.expires_at) == (world.ann, None)


# --- Undo -----------------------------------------------------------------------------


def test_undo_puts_everything_back(world):
    questions = world.questions(2)
    action = world.label(world.ann, questions)
    undone = bulk.undo(action, by=world.ann)
    assert (undone.count, undone.kept) == (2, 0)
    action.refresh_from_db()
    assert action.undone_by == world.ann
    assert action.undone_at is not None
    assert states(questions) == ["open", "open"]
    assert not GoldLabel.objects.exists()
    assert not Annotation.objects.exists()
    assert not Lease.objects.exists()
    assert [c.kind for c in questions[0].changes.all()] == ["undo", "bulk"]
    with pytest.raises(CannotUndo, match="already"):
        bulk.undo(action, by=world.ann)
    assert world.label(world.ann, questions).count == 2


def test_what_was_labelled_again_since_stays(world):
    first, second, third = world.questions(3)
    action = world.label(world.ann, [first, second, third])
    world.label(world.rex, [second], codes=["ship"])
    undone = bulk.undo(action, by=world.ann)
    assert (undone.count, undone.kept) == (2, 1)
    assert states([first, second, third]) == ["open", "labelled", "open"]
    assert gold_of(second) == ["ship"]
    assert Annotation.objects.get().question == second


def test_where_all_was_labelled_again_nothing_is_undone(world):
    questions = world.questions(2)
    action = world.label(world.ann, questions)
    later = world.label(world.rex, questions, codes=["ship"])
    with pytest.raises(CannotUndo, match="since"):
        bulk.undo(action, by=world.ann)
    action.refresh_from_db()
    assert action.undone_at is None
    assert bulk.undo(later, by=world.rex).count == 2
    assert [gold_of(question) for question in questions] == [["pay"], ["pay"]]


def test_stacked_actions_are_taken_back_one_after_the_other(world):
    questions = world.questions(2)
    first = world.label(world.ann, questions)
    second = world.label(world.rex, questions, codes=["ship"])
    third = world.label(world.rex, questions)
    bulk.undo(third, by=world.rex)
    assert [gold_of(question) for question in questions] == [["ship"], ["ship"]]
    bulk.undo(second, by=world.rex)
    assert [gold_of(question) for question in questions] == [["pay"], ["pay"]]
    undone = bulk.undo(first, by=world.ann)
    assert (undone.count, undone.kept) == (2, 0)
    assert states(questions) == ["open", "open"]
    assert not GoldLabel.objects.exists()
    assert not Annotation.objects.exists()


def test_a_label_between_or_after_stacked_actions_stays(world):
    stock = make_intent(world.project, "stock")
    between, after, last = world.questions(3)
    first = world.label(world.ann, [between, after, last])
    world.adjudicate(between, stock)
    second = world.label(world.mia, [between, after, last], codes=["ship"])
    bulk.undo(second, by=world.mia)
    world.adjudicate(after, stock)
    undone = bulk.undo(first, by=world.ann)
    assert (undone.count, undone.kept) == (1, 2)
    assert [gold_of(one) for one in (between, after)] == [["stock"], ["stock"]]
    assert states([last]) == ["open"]


def test_an_undone_action_blocks_where_its_label_was_not_taken_back(world):
    """It stayed because of a third action, and came back when that one was undone."""
    question, other = world.questions(2)
    first = world.label(world.ann, [question, other])
    second = world.label(world.rex, [question, other], codes=["ship"])
    third = world.label(world.rex, [question])
    assert bulk.undo(second, by=world.rex).kept == 1
    bulk.undo(third, by=world.rex)
    assert gold_of(question) == ["ship"]
    undone = bulk.undo(first, by=world.ann)
    assert (undone.count, undone.kept) == (1, 1)
    assert (gold_of(question), gold_of(other)) == (["ship"], [])


def test_a_dispute_that_others_have_joined_since_stays():
    world = World(overlap=2)
    [question] = world.questions(1)
    action = world.label(world.ann, [question])
    world.label(world.bob, [question], codes=["ship"])
    assert states([question]) == ["disputed"]
    with pytest.raises(CannotUndo):
        bulk.undo(action, by=world.ann)
    assert question.annotations.count() == 2


def test_who_may_undo(world):
    action = world.label(world.ann, world.questions(1))
    with pytest.raises(PermissionDenied):
        bulk.undo(action, by=world.bob)
    with pytest.raises(PermissionDenied):
        bulk.undo(action, by=make_person("out"))
    assert bulk.undo(action, by=world.rex).count == 1


# --- Near-duplicates and cost ---------------------------------------------------------


def test_duplicates_of_a_question(world):
    leader, twin, labelled, held, test = world.questions(5)
    others = world.questions(1)
    for one in (twin, labelled, held, test):
        one.cluster = leader
        one.save(update_fields=["cluster"])
    Question.objects.filter(pk=labelled.pk).update(state="labelled")
    Question.objects.filter(pk=test.pk).update(split="test")
    world.hold(world.bob, held)
    assert set(bulk.duplicates_of(leader)) == {twin}
    assert set(bulk.duplicates_of(twin)) == {leader}
    assert set(bulk.duplicates_of(leader, user=world.bob)) == {twin, held}
    assert not bulk.duplicates_of(others[0]).exists()


def test_a_test_question_has_no_duplicates(world):
    leader, twin, test = world.questions(3)
    for one in (twin, test):
        one.cluster = leader
        one.save(update_fields=["cluster"])
    test.split = "test"
    test.save(update_fields=["split"])
    assert set(bulk.duplicates_of(leader)) == {twin}
    assert not bulk.duplicates_of(test).exists()


def test_the_number_of_statements_does_not_grow(world, django_assert_max_num_queries):
    questions = world.questions(60)
    with django_assert_max_num_queries(18):
        action = world.label(world.ann, questions)
    with django_assert_max_num_queries(3):
        world.preview(world.rex, questions, codes=["ship"])
    with django_assert_max_num_queries(18):
        bulk.undo(action, by=world.ann)
