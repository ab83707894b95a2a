"""Splitting an intent: who gets which question, and who is asked again."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError

from labeling import queue, taxonomy
from labeling.labels import annotations
from labeling.models import (
    Annotation,
    Embedding,
    Intent,
    IntentAlias,
    LabelChange,
    Project,
    Question,
)
from labeling.ranking.priority import RAISED
from labeling.taxonomy import Part
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
    make_rule,
)

pytestmark = pytest.mark.django_db

CARD = Part("card", "By card", keywords=("Visa Card", "信用卡"))
CASH = Part("cash", "In cash", keywords=("cash",))


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def mia(project):
    return make_person("mia", project)


@pytest.fixture
def pay(project):
    return make_intent(project, "pay", parent=make_intent(project, "money"))


def gold_of(*questions):
    found = Question.objects.in_bulk([question.pk for question in questions])
    return [
        sorted(found[q.pk].gold_labels.values_list("intent__code", flat=True))
        for q in questions
    ]


def embed(question, *start):
    vector = [*start, *([0.0] * (Embedding.DIMENSIONS - len(start)))]
    Embedding.objects.create(
        question=question, project=question.project, vector=vector, is_labelled=True
    )


class TestKeywords:
    def test_questions_that_hold_one_parts_keyword_go_there(self, project, mia, pay):
        card = make_labelled(project, pay, "May I use my VISA  card?", trained_in="2")
        chinese = make_labelled(project, pay, "可以用信用卡付款吗")
        cash = make_labelled(project, pay, "Do you take cash?")
        cashier = make_labelled(project, pay, "Where is the cashier?", split="train")
        both = make_labelled(project, pay, "Cash or visa card?", split="train")
        done = taxonomy.split(pay, [CARD, CASH], heir="card", by=mia)
        assert gold_of(card, chinese, cash) == [["card"], ["card"], ["cash"]]
        assert done.labels == {"card": 2, "cash": 1}
        assert done.asked_again == 2
        for question in (cashier, both):
            question.refresh_from_db()
            assert (question.state, question.priority) == ("open", RAISED)
            assert not question.gold_labels.exists()

    def test_the_preview_says_so_first(self, project, mia, pay):
        make_labelled(project, pay, "By visa card", split="train", occurrences=3)
        make_labelled(project, pay, "Also by visa card", split="test")
        make_labelled(project, pay, "Something else", split="train")
        make_rule(project, "in cash", pay)
        make_rule(project, "paying", pay)
        shown = taxonomy.preview_split(pay, [CARD, CASH], heir="card")
        (_card, card), (_cash, cash) = shown.parts
        assert (card.count, card.test, card.samples) == (2, 1, ["By visa card"])
        assert (card.rules, cash.count, cash.rules) == (1, 0, 1)
        assert (shown.ambiguous.count, shown.ambiguous.samples) == (
            1,
            ["Something else"],
        )
        assert not LabelChange.objects.exists()
        assert Intent.objects.filter(project=project).count() == 2

    def test_one_part_may_take_the_rest(self, project, mia, pay):
        rest, cash = (
            make_labelled(project, pay, text) for text in ("How to pay", "In cash")
        )
        both = make_labelled(project, pay, "Cash or visa card?")
        parts = [Part("pay", takes_rest=True), CARD, CASH]
        done = taxonomy.split(pay, parts, heir="pay", by=mia)
        assert gold_of(rest, cash, both) == [["pay"], ["cash"], []]
        assert done.asked_again == 1
        assert not LabelChange.objects.filter(question=rest).exists()


class TestSeeds:
    @pytest.fixture
    def parts(self, project, pay):
        a, b = make_labelled(project, pay, "seed a"), make_labelled(project, pay, "b")
        embed(a, 1.0, 0.0)
        embed(b, 0.0, 1.0)
        return [Part("card", seeds=(a.pk,)), Part("cash", seeds=(b.pk,))]

    def test_what_is_clearly_nearer_goes_there(self, project, mia, pay, parts):
        near_a, near_b, between, without = (
            make_labelled(project, pay, split="train") for _n in range(4)
        )
        embed(near_a, 0.9, 0.4359)
        embed(near_b, 0.1, 0.995)
        embed(between, 0.7071, 0.7071)
        done = taxonomy.split(pay, parts, heir="cash", by=mia)
        assert gold_of(near_a, near_b, between, without) == [
            ["card"],
            ["cash"],
            [],
            [],
        ]
        assert done.labels == {"card": 2, "cash": 2}  # with the seeds themselves

    def test_keywords_of_two_parts_are_decided_between_these(
        self, project, mia, pay, parts
    ):
        (a, b) = parts
        third = Part("cheque", keywords=("cheque",))
        a = Part("card", keywords=("visa",), seeds=a.seeds)
        b = Part("cash", keywords=("coins",), seeds=b.seeds)
        among = make_labelled(project, pay, "visa or coins", split="train")
        nothing = make_labelled(project, pay, "no keyword", split="train")
        for question in (among, nothing):
            embed(question, 0.9, 0.4359)
        taxonomy.split(pay, [a, b, third], heir="card", by=mia)
        # Nobody knows how near the second is to a cheque.
        assert gold_of(among, nothing) == [["card"], []]


class TestOldCode:
    def test_it_is_an_alias_of_the_heir(self, project, mia, pay):
        taxonomy.split(pay, [CARD, CASH], heir="cash", by=mia)
        (intent,) = taxonomy.resolve_codes(project, ["pay"])
        assert (intent.pk, intent.code, intent.name) == (pay.pk, "cash", "In cash")
        assert IntentAlias.objects.get().created_by == mia
        card = Intent.objects.get(code="card")
        assert (card.name, card.parent) == ("By card", pay.parent)

    def test_it_stays_when_the_intent_stays_a_part(self, project, mia, pay):
        parts = [CARD, Part("pay", keywords=("cash",))]
        taxonomy.split(pay, parts, heir="pay", by=mia)
        assert taxonomy.resolve_codes(project, ["pay"]) == [pay]
        assert not IntentAlias.objects.exists()

    def test_a_merge_can_be_taken_back(self, project, mia, pay):
        bill = make_intent(project, "bill")
        question = make_labelled(project, bill, "the invoice")
        taxonomy.merge([bill], pay, by=mia)
        parts = [
            Part("pay", takes_rest=True),
            Part("bill", keywords=("invoice",)),
        ]
        taxonomy.split(pay, parts, heir="pay", by=mia)
        assert gold_of(question) == [["bill"]]
        assert not IntentAlias.objects.exists()


class TestWhatHangsOnIt:
    def test_rules_go_to_their_part_or_to_the_heir(self, project, mia, pay):
        for pattern in ("visa card", "cash desk", "paying"):
            make_rule(project, pattern, pay)
        taxonomy.split(pay, [CARD, CASH], heir="cash", by=mia)
        rules = dict(
            Project.objects.get(pk=project.pk).rules.values_list(
                "pattern", "intent__code"
            )
        )
        assert rules == {"visa card": "card", "cash desk": "cash", "paying": "cash"}

    def test_verdicts_follow_their_question(self, mia):
        project = make_project(overlap=2)
        pay, ann = make_intent(project, "pay"), make_person("ann", project)
        labelled = make_labelled(project, pay, "by visa card")
        waiting = make_question(project, "also by visa card")
        unclear = make_question(project, "something else")
        verdicts = []
        for question in (labelled, waiting, unclear):
            one = Annotation.objects.create(
                question=question, annotator=ann, verdict="label"
            )
            one.intents.set([pay])
            verdicts.append(one)
        taxonomy.split(pay, [CARD, CASH], heir="cash", by=mia)
        codes = [[i.code for i in verdict.intents.all()] for verdict in verdicts]
        assert codes == [["card"], ["card"], ["cash"]]

    def test_other_gold_intents_stay(self, mia):
        project = make_project(is_multi_intent=True)
        pay, greet = make_intent(project, "pay"), make_intent(project, "greet")
        question = make_question(project, "Hello, do you take cash?")
        annotations.set_gold(question, [pay, greet], source="annotation", by=mia)
        taxonomy.split(pay, [CARD, CASH], heir="card", by=mia)
        assert gold_of(question) == [["cash", "greet"]]

    def test_moved_labels_have_to_be_learned_the_heirs_not(self, project, mia, pay):
        card = make_labelled(project, pay, "visa card", trained_in="1")
        cash = make_labelled(project, pay, "cash", trained_in="1")
        taxonomy.split(pay, [CARD, CASH], heir="card", by=mia)
        card.refresh_from_db()
        cash.refresh_from_db()
        assert (card.trained_in, cash.trained_in) == ("1", "")


class TestAskedAgain:
    def test_whoever_labelled_it_may_be_asked_again(self, project, mia, pay):
        ann = make_person("ann", project)
        make_question(project, "something else", split="train")
        (held,) = queue.claim(project, ann)
        queue.submit(held.question.pk, ann, token=held.token, intents=["pay"])
        taxonomy.split(pay, [CARD, CASH], heir="card", by=mia)
        (again,) = queue.claim(project, ann)
        assert again.question == held.question
        queue.submit(again.question.pk, ann, token=again.token, intents=["cash"])
        assert gold_of(held.question) == [["cash"]]

    def test_the_history_keeps_the_old_label(self, project, mia, pay):
        question = make_labelled(project, pay, "something else")
        taxonomy.split(pay, [CARD, CASH], heir="card", by=mia, comment="Too wide")
        change = LabelChange.objects.get()
        assert (change.question, change.kind, change.by) == (question, "split", mia)
        assert (change.before["codes"], change.after) == (["pay"], None)
        assert change.comment == "Too wide"

    def test_test_questions_stay_test_questions(self, project, mia, pay):
        moved = make_labelled(project, pay, "cash", split="test")
        asked = make_labelled(project, pay, "something else", split="test")
        taxonomy.split(pay, [CARD, CASH], heir="card", by=mia)
        moved.refresh_from_db()
        asked.refresh_from_db()
        assert (moved.split, moved.state) == ("test", "labelled")
        assert (asked.split, asked.state) == ("test", "open")
        assert gold_of(moved) == [["cash"]]


def test_it_is_audited_and_told_to_serving(project, mia, pay):
    make_labelled(project, pay, "cash")
    taxonomy.split(pay, [CARD, CASH], heir="card", by=mia, comment="Too wide.")
    entries = LogEntry.objects.filter(user=mia)
    models = sorted(entry.content_type.model for entry in entries)
    assert models == ["intent", "intent", "project"]
    for entry in entries:
        assert "pay into card (0), cash (1)" in entry.change_message
        assert entry.change_message.endswith("means card. Too wide.")
    assert Project.objects.get(pk=project.pk).serving_revision == 1


@pytest.mark.parametrize(
    ("parts", "heir", "sentence"),
    [
        ([CARD], "card", "at least two parts"),
        ([CARD, CARD], "card", "Two parts have the code “card”"),
        ([CARD, CASH], "pay", "Choose the part"),
        ([CARD, Part("pay", keywords=("x",))], "card", "goes on meaning it"),
        ([CARD, Part("cash")], "card", "how to tell the questions of “cash”"),
        ([CARD, Part("cash", keywords=("VISA card.",))], "card", "share the keyword"),
        ([CARD, Part("stock", keywords=("s",))], "card", "names another intent"),
        ([CARD, Part("former", keywords=("s",))], "card", "names another intent"),
        ([CARD, Part("", keywords=("s",))], "card", "blank"),
        ([CARD, Part("cash", seeds=(10**9,))], "card", "is not labelled “pay”"),
    ],
)
def test_parts_that_make_no_sense(project, mia, pay, parts, heir, sentence):
    stock = make_intent(project, "stock")
    IntentAlias.objects.create(project=project, code="former", intent=stock)
    with pytest.raises(ValidationError) as caught:
        taxonomy.split(pay, parts, heir=heir, by=mia)
    assert any(sentence in message for message in caught.value.messages)
    assert Intent.objects.filter(project=project).count() == 3
