"""Synthetic questions in datasets: they teach what is measured, and measure nothing."""

from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from labeling import datasets
from labeling.models import (
    Dataset,
    DatasetItem,
    Intent,
    Question,
    SyntheticQuestion,
)
from labeling.normalise import text_hash
from tests.makers import make_intent, make_labelled, make_project, make_question

pytestmark = pytest.mark.django_db


def make_synthetic(intent: Intent, text: str, **overrides: Any) -> SyntheticQuestion:
    values = {"origin": SyntheticQuestion.Origin.PARAPHRASE, **overrides}
    return SyntheticQuestion.objects.create(
        project=intent.project,
        intent=intent,
        text=text,
        text_hash=text_hash(text),
        **values,
    )


@pytest.fixture
def pay() -> Intent:
    """An intent with two real questions to learn from and one to choose by."""
    pay = make_intent(make_project(), "pay")
    make_labelled(pay.project, pay, "where is my payment", split="train")
    make_labelled(pay.project, pay, "工资什么时候发", split="train")
    make_labelled(pay.project, pay, "the salary is late", split="validation")
    return pay


def synthetic(dataset: Dataset) -> list[str]:
    items = dataset.items.filter(question=None).order_by("pk")
    assert all(item.split == "train" for item in items)
    return [item.text for item in items]


def test_they_join_as_train_items_where_a_batch_asks_for_them(pay: Intent) -> None:
    make_synthetic(pay, "when do you transfer wages")
    make_synthetic(pay, "no longer used", is_used=False)
    without = datasets.freeze(pay.project, by=None)
    assert synthetic(without) == []
    assert (without.train_count, without.synthetic_count) == (2, 0)
    having = datasets.freeze(pay.project, by=None, with_synthetic=True)
    assert synthetic(having) == ["when do you transfer wages"]
    item = having.items.get(question=None)
    assert (item.codes, item.is_new) == (["pay"], True)
    having.refresh_from_db()
    assert (having.train_count, having.validation_count) == (3, 1)
    assert having.synthetic_count == 1
    assert having.label_set == without.label_set


def test_the_digest_without_them_is_what_it_was() -> None:
    """The digest of a dataset that was frozen before there were synthetic ones."""
    project = make_project()
    a, b = make_intent(project, "a"), make_intent(project, "b")
    make_labelled(project, a, "eins", split="train")
    make_labelled(project, b, "二", split="train", trained_in="1")
    make_labelled(project, a, "drei", split="validation")
    dataset = datasets.freeze(project, by=None)
    assert dataset.digest == (
        "3394ebdc32bc63924720e09d9f08d68af7206f1a6e66bcb0e58fc8da1e9d2724"
    )
    make_synthetic(a, "vier")
    again = datasets.freeze(project, by=None)
    assert again.digest == dataset.digest
    marked = datasets.freeze(project, by=None, with_synthetic=True)
    assert marked.digest != dataset.digest
    assert marked.digest == datasets.digest(marked)


def test_the_digest_tells_a_synthetic_question_from_a_real_one() -> None:
    digests = []
    for is_real in (True, False):
        project = make_project()
        a = make_intent(project, "a")
        make_labelled(project, a, "eins", split="train")
        if is_real:
            make_labelled(project, a, "zwei", split="train")
        else:
            make_synthetic(a, "zwei")
        digests.append(datasets.freeze(project, by=None, with_synthetic=True).digest)
    assert digests[0] != digests[1]


def test_an_intent_that_nobody_asked_for_is_not_learned(pay: Intent) -> None:
    project = pay.project
    unasked = make_intent(project, "unasked")
    make_synthetic(unasked, "something that nobody said")
    only_measured = make_intent(project, "only_measured")
    make_labelled(project, only_measured, "measured", split="test")
    make_synthetic(only_measured, "made for it")
    retired = make_intent(project, "retired")
    make_labelled(project, retired, "of old", split="train")
    make_synthetic(retired, "of old times")
    Intent.objects.filter(pk=retired.pk).update(retired_at=timezone.now())
    dataset = datasets.freeze(project, by=None, with_synthetic=True)
    assert dataset.label_set == ["pay"]
    assert synthetic(dataset) == []


def test_nothing_to_train_on_stays_nothing() -> None:
    intent = make_intent(make_project(), "a")
    make_synthetic(intent, "made up")
    with pytest.raises(datasets.NothingToTrainOn):
        datasets.freeze(intent.project, by=None, with_synthetic=True)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_what_was_asked_meanwhile_is_no_longer_synthetic(
    pay: Intent, split: str
) -> None:
    make_synthetic(pay, "When do you transfer wages")
    make_synthetic(pay, "工资几号到账")
    make_question(pay.project, "when do you transfer  wages?", split=split)
    dataset = datasets.freeze(pay.project, by=None, with_synthetic=True)
    assert synthetic(dataset) == ["工资几号到账"]


@pytest.mark.parametrize("split", ["validation", "test"])
@pytest.mark.parametrize("state", ["open", "labelled"])
def test_near_copies_of_what_measures_stay_out(
    pay: Intent, split: str, state: str
) -> None:
    make_synthetic(pay, "when do you transfer wages to me")
    make_synthetic(pay, "工资几号到账")
    asked = "when do you transfer my wages to me"
    make_question(pay.project, asked, split=split, state=state)
    dataset = datasets.freeze(pay.project, by=None, with_synthetic=True)
    assert synthetic(dataset) == ["工资几号到账"]


def test_new_is_what_the_parent_has_not_learned(pay: Intent) -> None:
    make_synthetic(pay, "when do you transfer wages")
    first = datasets.freeze(pay.project, by=None, with_synthetic=True)
    make_synthetic(pay, "工资几号到账")
    second = datasets.freeze(pay.project, by=None, with_synthetic=True, parent=first.pk)
    is_new = dict(second.items.filter(question=None).values_list("text", "is_new"))
    assert is_new == {"when do you transfer wages": False, "工资几号到账": True}


def test_a_project_sees_its_own_alone(pay: Intent) -> None:
    other = make_intent(make_project(), "pay")
    make_synthetic(other, "somebody else's")
    dataset = datasets.freeze(pay.project, by=None, with_synthetic=True)
    assert synthetic(dataset) == []


def test_marking_as_trained_passes_them_by(pay: Intent) -> None:
    make_synthetic(pay, "when do you transfer wages")
    dataset = datasets.freeze(pay.project, by=None, with_synthetic=True)
    assert datasets.mark_trained(dataset, "3") == 3
    assert Question.objects.filter(trained_in="3").count() == 3
    assert datasets.missing_labels(pay.project) == 200


def test_several_intents_a_question() -> None:
    project = make_project(is_multi_intent=True)
    a = make_intent(project, "a")
    make_labelled(project, a, "eins", split="train")
    make_synthetic(a, "zwei")
    dataset = datasets.freeze(project, by=None, with_synthetic=True)
    assert dataset.items.get(question=None).codes == ["a"]


class TestTheDatabaseRefuses:
    def test_a_synthetic_item_that_chooses(self, pay: Intent) -> None:
        dataset = datasets.freeze(pay.project, by=None)
        for split in ("validation", "test"):
            with pytest.raises(IntegrityError), transaction.atomic():
                DatasetItem.objects.create(
                    dataset=dataset, text="made", codes=["pay"], split=split
                )

    def test_a_test_question_beside_synthetic_ones(self, pay: Intent) -> None:
        question = make_labelled(pay.project, pay, "kept out", split="test")
        make_synthetic(pay, "when do you transfer wages")
        dataset = datasets.freeze(pay.project, by=None, with_synthetic=True)
        with pytest.raises(IntegrityError), transaction.atomic():
            DatasetItem.objects.create(
                dataset=dataset,
                question=question,
                text="x",
                codes=["pay"],
                split="train",
            )

    def test_two_of_one_text(self, pay: Intent) -> None:
        make_synthetic(pay, "when do you transfer wages")
        with pytest.raises(IntegrityError), transaction.atomic():
            make_synthetic(pay, "When do you transfer wages?")
