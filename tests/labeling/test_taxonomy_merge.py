"""Merging intents: everything that named a source names the target."""

import pytest
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.utils import timezone

from labeling import taxonomy
from labeling.labels import annotations
from labeling.models import (
    Annotation,
    Dataset,
    GoldLabel,
    Intent,
    IntentAlias,
    KeywordRule,
    LabelChange,
    Project,
    Question,
)
from labeling.taxonomy import TaxonomyChanged
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
    make_rule,
)

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
def bill(project):
    return make_intent(project, "bill")


def make_verdict(question, name, *intents, verdict="label"):
    annotation = Annotation.objects.create(
        question=question,
        annotator=make_person(name, question.project),
        verdict=verdict,
    )
    annotation.intents.set(intents)
    return annotation


def codes_of(question):
    return sorted(question.gold_labels.values_list("intent__code", flat=True))


class TestLabels:
    def test_they_are_the_targets_and_stay_who_set_them(self, project, mia, pay, bill):
        question = make_labelled(project, bill, trained_in="3")
        before = question.gold_labels.get()
        merged = taxonomy.merge([bill], pay, by=mia, comment=" The same thing ")
        after = question.gold_labels.get()
        assert after.intent == pay
        assert (after.set_at, after.source) == (before.set_at, "import")
        question.refresh_from_db()
        assert (question.state, question.trained_in) == ("labelled", "3")
        assert (merged.labels, merged.codes) == (1, ["bill"])
        assert not Intent.objects.filter(code="bill").exists()

    def test_the_history_says_what_it_was(self, project, mia, pay, bill):
        question = make_labelled(project, bill)
        label = question.gold_labels.get()
        taxonomy.merge([bill], pay, by=mia, comment="The same thing")
        change = LabelChange.objects.get()
        assert (change.question, change.kind, change.by) == (question, "merge", mia)
        assert change.after == ["pay"]
        assert change.comment == "The same thing"
        assert change.before["codes"] == ["bill"]
        assert change.before["state"] == "labelled"
        assert change.before["source"] == "import"
        assert change.before["by"] is None
        assert timezone.datetime.fromisoformat(change.before["at"]) == label.set_at

    def test_labels_of_others_are_left_alone(self, project, mia, pay, bill):
        other = make_intent(project, "other")
        mine, theirs = make_labelled(project, pay), make_labelled(project, other)
        taxonomy.merge([bill], pay, by=mia)
        assert (codes_of(mine), codes_of(theirs)) == (["pay"], ["other"])
        assert not LabelChange.objects.exists()

    def test_a_question_with_several_of_them_has_one(self, mia):
        project = make_project(is_multi_intent=True)
        pay, bill, due, other = (
            make_intent(project, code) for code in ("pay", "bill", "due", "other")
        )
        both, sources, three = (make_question(project) for _n in range(3))
        for question, intents in (
            (both, [pay, bill, other]),
            (sources, [bill, due]),
            (three, [pay, bill, due]),
        ):
            annotations.set_gold(question, intents, source="annotation", by=None)
        LabelChange.objects.all().delete()
        assert taxonomy.preview_merge([bill, due], pay).both == 3
        taxonomy.merge([bill, due], pay, by=mia)
        assert codes_of(both) == ["other", "pay"]
        assert codes_of(sources) == ["pay"]
        assert codes_of(three) == ["pay"]
        changes = {c.question_id: c for c in LabelChange.objects.filter(kind="merge")}
        assert changes[both.pk].after == ["other", "pay"]
        assert changes[both.pk].before["codes"] == ["bill", "other", "pay"]
        assert changes[sources.pk].after == ["pay"]

    def test_a_suspicion_ends(self, project, mia, pay, bill):
        question = make_labelled(project, bill, suspicion=0.9)
        rest = make_labelled(project, pay, suspicion=0.8)
        taxonomy.merge([bill], pay, by=mia)
        question.refresh_from_db()
        rest.refresh_from_db()
        assert (question.suspicion, rest.suspicion) == (None, 0.8)


class TestVerdicts:
    def test_they_name_the_target(self, project, mia, pay, bill):
        verdict = make_verdict(make_question(project), "ann", bill)
        at = verdict.updated_at
        taxonomy.merge([bill], pay, by=mia)
        verdict.refresh_from_db()
        assert list(verdict.intents.all()) == [pay]
        assert verdict.updated_at == at

    def test_several_of_them_become_one(self, mia):
        project = make_project(is_multi_intent=True)
        pay, bill = make_intent(project, "pay"), make_intent(project, "bill")
        verdict = make_verdict(make_question(project), "ann", pay, bill)
        taxonomy.merge([bill], pay, by=mia)
        assert list(verdict.intents.all()) == [pay]

    def test_a_dispute_between_them_is_settled(self, mia):
        project = make_project(overlap=2)
        pay, bill, other = (make_intent(project, c) for c in ("pay", "bill", "other"))
        agree, still, skipped = (
            make_question(project, state="disputed") for _n in range(3)
        )
        for name, intent, rest in (("ann", pay, pay), ("rex", bill, other)):
            make_verdict(agree, name, intent)
            make_verdict(still, name, rest)
        make_verdict(skipped, "ann", bill)
        make_verdict(skipped, "rex", verdict="skip")
        assert taxonomy.preview_merge([bill], pay).agreed == 1
        merged = taxonomy.merge([bill], pay, by=mia)
        assert merged.settled == 1
        states = dict(Question.objects.values_list("pk", "state"))
        assert states == {
            agree.pk: "labelled",
            still.pk: "disputed",
            skipped.pk: "disputed",
        }
        label = agree.gold_labels.get()
        assert (label.intent, label.source) == (pay, "annotation")
        change = LabelChange.objects.get()
        assert (change.question, change.kind, change.by) == (agree, "merge", mia)

    def test_fewer_verdicts_than_asked_for_settle_nothing(self, mia):
        project = make_project(overlap=3)
        pay, bill = make_intent(project, "pay"), make_intent(project, "bill")
        question = make_question(project, state="disputed")
        make_verdict(question, "ann", pay)
        make_verdict(question, "rex", bill)
        assert taxonomy.merge([bill], pay, by=mia).settled == 0
        question.refresh_from_db()
        assert question.state == "disputed"


class TestRules:
    def test_they_speak_for_the_target(self, project, mia, pay, bill):
        rule = make_rule(project, "invoice", bill)
        assert taxonomy.merge([bill], pay, by=mia).rules == 1
        rule.refresh_from_db()
        assert (rule.intent, rule.state) == (pay, "active")

    def test_of_two_with_one_keyword_the_better_stays(self, project, mia, pay, bill):
        worse = make_rule(project, "invoice", pay, success_low=0.5, hits=3)
        better = make_rule(project, "invoice", bill, success_low=0.9, hits=4)
        waiting = make_rule(project, "due", pay, state="candidate", success_low=0.99)
        serving = make_rule(project, "due", bill, success_low=0.1)
        assert taxonomy.preview_merge([bill], pay).doubles == 2
        merged = taxonomy.merge([bill], pay, by=mia)
        assert merged.dropped_rules == 2
        kept = set(KeywordRule.objects.values_list("pk", "intent__code", "hits"))
        assert kept == {(better.pk, "pay", 7), (serving.pk, "pay", 0)}
        assert {worse.pk, waiting.pk}.isdisjoint(pk for pk, *_rest in kept)


class TestCodes:
    def test_old_codes_name_the_target(self, project, mia, pay, bill):
        taxonomy.rename(bill, code="invoice", by=mia)
        taxonomy.merge([bill], pay, by=mia)
        assert set(IntentAlias.objects.values_list("code", "intent__code")) == {
            ("bill", "pay"),
            ("invoice", "pay"),
        }
        assert IntentAlias.objects.get(code="invoice").created_by == mia
        assert taxonomy.resolve_codes(project, ["bill", "invoice", "pay"]) == [pay]

    def test_chains_of_merges_lead_to_the_last(self, project, mia, pay, bill):
        due = make_intent(project, "due")
        taxonomy.merge([bill], pay, by=mia)
        taxonomy.merge([pay], due, by=mia)
        assert taxonomy.resolve_codes(project, ["bill", "pay"]) == [due]

    def test_a_retired_source_answers_again(self, project, mia, pay, bill):
        taxonomy.retire(bill, by=mia)
        taxonomy.merge([bill], pay, by=mia)
        assert taxonomy.resolve_codes(project, ["bill"]) == [pay]

    def test_guidelines_are_kept(self, project, mia, pay, bill):
        Intent.objects.filter(pk=pay.pk).update(guidelines="Paying.")
        Intent.objects.filter(pk=bill.pk).update(guidelines="An invoice came.")
        taxonomy.merge([bill], pay, by=mia)
        text = Intent.objects.get().guidelines
        assert text == "Paying.\n\n### bill\n\nAn invoice came."


class TestParents:
    def test_children_go_below_the_target(self, project, mia, pay, bill):
        child = make_intent(project, "child", parent=bill)
        taxonomy.merge([bill], pay, by=mia)
        child.refresh_from_db()
        assert child.parent == pay

    def test_a_target_below_a_source_takes_its_place(self, project, mia, pay):
        top = make_intent(project, "top")
        source = make_intent(project, "source", parent=top)
        between = make_intent(project, "between", parent=source)
        Intent.objects.filter(pk=pay.pk).update(parent=between)
        taxonomy.merge([source], pay, by=mia)
        assert dict(Intent.objects.values_list("code", "parent__code")) == {
            "top": None,
            "pay": "top",
            "between": "pay",
        }


class TestAudit:
    def test_it_says_who_and_how_many(self, project, mia, pay, bill):
        make_labelled(project, bill)
        make_rule(project, "invoice", bill)
        taxonomy.merge([bill], pay, by=mia, comment="One thing.")
        entries = {entry.content_type.model: entry for entry in LogEntry.objects.all()}
        assert set(entries) == {"intent", "project"}
        assert entries["intent"].object_id == str(pay.pk)
        assert entries["project"].object_id == str(project.pk)
        for entry in entries.values():
            assert entry.user == mia
            assert "bill into pay: 1 labels, 1 rules" in entry.change_message
            assert "One thing." in entry.change_message

    def test_serving_is_told(self, project, mia, pay, bill):
        taxonomy.merge([bill], pay, by=mia)
        assert Project.objects.get(pk=project.pk).serving_revision == 1


class TestRefused:
    def test_the_fallback_may_only_be_the_target(self, project, mia, pay):
        none = make_intent(project, "none", is_fallback=True)
        with pytest.raises(ValidationError, match="fallback"):
            taxonomy.merge([none], pay, by=mia)
        taxonomy.merge([pay], none, by=mia)
        assert Intent.objects.get() == none
        assert Intent.objects.get().is_fallback

    def test_what_makes_no_sense(self, project, mia, pay, bill):
        foreign = make_intent(make_project())
        gone = make_intent(project, "gone", retired_at=timezone.now())
        for sources, target in (
            ([], pay),
            ([pay], pay),
            ([bill, pay], pay),
            ([foreign], pay),
            ([pay], gone),
        ):
            with pytest.raises(ValidationError):
                taxonomy.merge(sources, target, by=mia)
        assert Intent.objects.filter(project=project).count() == 3

    def test_the_second_of_two_merges_is_told(self, project, mia, pay, bill):
        due = make_intent(project, "due")
        taxonomy.merge([bill], pay, by=mia)
        with pytest.raises(TaxonomyChanged, match="mia has merged “bill” into “pay”"):
            taxonomy.merge([bill], due, by=mia)
        with pytest.raises(TaxonomyChanged):
            taxonomy.merge([pay], bill, by=mia)
        assert Intent.objects.count() == 2


class TestPreview:
    def test_it_counts_and_writes_nothing(self, project, mia, pay, bill):
        taxonomy.rename(bill, code="invoice", by=mia)
        bill.refresh_from_db()
        make_labelled(project, bill, split="train", trained_in="1")
        make_labelled(project, bill, split="test")
        make_labelled(project, pay)
        for split in ("train", "test"):
            for code in ("bill", "invoice", "pay"):
                predicted = [{"code": code, "confidence": 0.5}]
                make_question(project, split=split, predicted=predicted)
        make_rule(project, "a", bill)
        make_rule(project, "b", bill, state="disabled")
        make_intent(project, "child", parent=bill)
        Dataset.objects.create(
            project=project,
            digest="",
            label_set=["bill", "pay"],
            train_count=1,
            validation_count=0,
        )
        make_verdict(make_question(project), "ann", bill)
        moved = taxonomy.preview_merge([bill], pay).moved
        assert moved == taxonomy.Impact(
            labels=2,
            test_labels=1,
            verdicts=1,
            open_predicted=2,
            rules=2,
            active_rules=1,
            templates=0,
            synthetic=0,
            aliases=["bill"],
            children=1,
            datasets=1,
            versions=["1"],
        )
        assert GoldLabel.objects.filter(intent=bill).count() == 2

    def test_it_costs_the_same_for_many(
        self, project, pay, bill, django_assert_max_num_queries
    ):
        for _n in range(20):
            make_labelled(project, bill)
        with django_assert_max_num_queries(12):
            taxonomy.preview_merge([bill], pay)
