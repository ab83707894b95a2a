"""Datasets hold what was labelled at one moment, and never a test question."""

import threading
from typing import Any

import pytest
from django.db import Error, IntegrityError, connection, transaction
from django.utils import timezone

from labeling import datasets
from labeling.formats import Row
from labeling.intake import import_rows
from labeling.labels import annotations
from labeling.models import (
    Dataset,
    DatasetItem,
    GoldLabel,
    Intent,
    IntentAlias,
    Project,
    Question,
)
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


def labelled(project: Project, code: str, *texts: str, **overrides: Any) -> Intent:
    """Labelled questions in the train split unless another is given."""
    intent = Intent.objects.filter(project=project, code=code).first()
    intent = intent or make_intent(project, code)
    for text in texts:
        make_labelled(project, intent, text, **{"split": "train", **overrides})
    return intent


def items(dataset: Dataset) -> dict[str, tuple[list[str], str, bool]]:
    found = dataset.items.values_list("text", "codes", "split", "is_new")
    return {text: (codes, split, is_new) for text, codes, split, is_new in found}


def test_a_frozen_dataset_holds_train_and_validation_questions() -> None:
    project = make_project()
    mia = make_person("mia", project)
    labelled(project, "b", "b1", "b2")
    labelled(project, "a", "a1")
    labelled(project, "a", "a2", split="validation", trained_in="1")
    labelled(project, "a", "a3", split="test")
    make_question(project, "open one", split="train")
    make_question(project, "skipped", split="train", state="skipped")
    labelled(make_project(), "b", "somebody else's")
    dataset = datasets.freeze(project, by=mia)
    assert dataset.label_set == ["b", "a"]  # by id: the order they were made in
    assert items(dataset) == {
        "b1": (["b"], "train", True),
        "b2": (["b"], "train", True),
        "a1": (["a"], "train", True),
        "a2": (["a"], "validation", False),
    }
    assert (dataset.train_count, dataset.validation_count) == (3, 1)
    assert dataset.created_by == mia
    dataset.refresh_from_db()
    assert dataset.digest == datasets.digest(dataset)
    assert len(dataset.digest) == 64


def test_the_label_set_is_what_can_be_learned() -> None:
    project = make_project(is_multi_intent=True)
    kept = labelled(project, "kept", "k1", "k2")
    labelled(project, "only_validation", "v1", split="validation")
    labelled(project, "only_test", "t1", split="test")
    retired = labelled(project, "retired", "r1")
    Intent.objects.filter(pk=retired.pk).update(retired_at=timezone.now())
    mixed = make_labelled(project, kept, "kept and retired", split="train")
    GoldLabel.objects.create(
        question=mixed, intent=retired, source="import", set_at=timezone.now()
    )
    make_intent(project, "no questions")
    make_question(
        project,
        "none of them",
        split="train",
        state="labelled",
        labelled_at=timezone.now(),
    )
    dataset = datasets.freeze(project, by=None)
    assert dataset.label_set == ["kept"]
    assert sorted(items(dataset)) == ["k1", "k2", "none of them"]
    assert items(dataset)["none of them"][0] == []


def test_several_intents_go_by_id() -> None:
    project = make_project(is_multi_intent=True)
    z, a = make_intent(project, "z"), make_intent(project, "a")
    question = make_labelled(project, a, "both", split="train")
    GoldLabel.objects.create(
        question=question, intent=z, source="import", set_at=timezone.now()
    )
    dataset = datasets.freeze(project, by=None)
    assert dataset.label_set == ["z", "a"]
    assert items(dataset)["both"][0] == ["z", "a"]


def test_a_parents_labels_keep_their_order() -> None:
    project = make_project()
    for code in ("a", "b", "c", "d"):
        labelled(project, code, f"{code}1")
    renamed = Intent.objects.get(code="b")
    IntentAlias.objects.create(project=project, code="old_b", intent=renamed)
    dataset = datasets.freeze(
        project, by=None, label_order=["d", "gone", "old_b", "b", "a"]
    )
    assert dataset.label_set == ["d", "b", "a", "c"]


def test_the_digest_depends_on_content_alone() -> None:
    def frozen(texts: list[tuple[str, str]], **overrides: Any) -> str:
        project = make_project()
        for code in ("a", "b"):
            make_intent(project, code)
        for code, text in texts:
            labelled(project, code, text, **overrides)
        return datasets.freeze(project, by=None).digest

    content = [("a", "打卡"), ("b", "Zebra"), ("b", "apple"), ("a", "-x"), ("b", "_x")]
    same = frozen(content)
    assert frozen(content[::-1]) == same
    assert frozen([*content[:-1], ("a", "_x")]) != same
    assert frozen(content[:-1]) != same
    assert frozen(content, trained_in="1") != same
    assert frozen([*content[:-1], ("b", "_y")]) != same


def test_nothing_to_train_on_is_said_and_leaves_nothing() -> None:
    project = make_project()
    labelled(project, "a", "t", split="test")
    labelled(project, "a", "v", split="validation")
    with pytest.raises(datasets.NothingToTrainOn):
        datasets.freeze(project, by=None)
    assert not Dataset.objects.exists()


# --- Test questions never enter ---------------------------------------------------


@pytest.fixture
def held_out() -> tuple[Project, Question, Dataset]:
    """A project with a labelled test question, and a dataset frozen without it."""
    project = make_project()
    labelled(project, "a", "train one")
    labelled(project, "a", "held out", split="test")
    question = Question.objects.get(text="held out")
    return project, question, datasets.freeze(project, by=None)


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_the_orm_cannot_put_a_test_question_in(
    held_out: tuple[Project, Question, Dataset], split: str
) -> None:
    _project, question, dataset = held_out
    item = DatasetItem(
        dataset=dataset, question=question, text="held out", codes=["a"], split=split
    )
    with pytest.raises(IntegrityError), transaction.atomic():
        item.save()
    with pytest.raises(IntegrityError), transaction.atomic():
        DatasetItem.objects.bulk_create([item])
    assert list(items(dataset)) == ["train one"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_raw_sql_cannot_put_a_test_question_in(
    held_out: tuple[Project, Question, Dataset], split: str
) -> None:
    _project, question, dataset = held_out
    with (
        pytest.raises(IntegrityError),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "INSERT INTO labeling_datasetitem"
            " (dataset_id, question_id, text, codes, split, is_new)"
            " VALUES (%s, %s, 'x', '[]', %s, true)",
            [dataset.pk, question.pk, split],
        )


def test_an_item_cannot_be_turned_to_a_test_question(
    held_out: tuple[Project, Question, Dataset],
) -> None:
    _project, question, dataset = held_out
    for change in ({"question": question}, {"text": "x"}, {"codes": ["b"]}):
        with pytest.raises(IntegrityError), transaction.atomic():
            dataset.items.update(**change)


def test_a_test_question_cannot_change_its_split_first(
    held_out: tuple[Project, Question, Dataset],
) -> None:
    project, question, _dataset = held_out
    with pytest.raises(IntegrityError), transaction.atomic():
        Question.objects.filter(pk=question.pk).update(split="train")
    question.split = "validation"
    with pytest.raises(IntegrityError), transaction.atomic():
        question.save()
    with (
        pytest.raises(Error),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(
            "UPDATE labeling_question SET split = 'train' WHERE id = %s", [question.pk]
        )
    assert list(items(datasets.freeze(project, by=None))) == ["train one"]


def test_a_question_of_a_dataset_cannot_become_a_test_question(
    held_out: tuple[Project, Question, Dataset],
) -> None:
    with pytest.raises(IntegrityError), transaction.atomic():
        Question.objects.filter(text="train one").update(split="test")


def test_importing_its_text_into_train_does_not_move_a_test_question(
    held_out: tuple[Project, Question, Dataset],
) -> None:
    project, question, _dataset = held_out
    report = import_rows(
        project,
        [Row(1, "Held  OUT!", ("a",)), Row(2, "ｈｅｌｄ out", ("a",))],
        split="train",
    )
    assert (report.created, report.existing) == (0, 2)
    question.refresh_from_db()
    assert question.split == "test"
    assert list(items(datasets.freeze(project, by=None))) == ["train one"]


# --- Enough labels, and what was learned ------------------------------------------


def test_labels_missing_for_the_first_training() -> None:
    project = make_project(min_labels_first=5)
    assert datasets.missing_labels(project) == 5
    labelled(project, "a", "1", "2", "3")
    labelled(project, "a", "4", split="test")
    make_question(project, "open")
    assert datasets.missing_labels(project) == 1
    labelled(project, "a", "5", "6")
    assert datasets.missing_labels(project) == 0


def test_labels_missing_for_the_next_training() -> None:
    project = make_project(min_labels_first=2, min_labels_next=4)
    labelled(project, "a", "1", "2")
    labelled(project, "a", "old test", split="test")
    labelled(project, "a", "3")
    assert datasets.mark_trained(datasets.freeze(project, by=None), "1") == 3
    assert datasets.missing_labels(project) == 4
    labelled(project, "a", "5", "6")
    labelled(project, "a", "new test", split="test")
    assert datasets.missing_labels(project) == 1
    make_question(project, "open")
    assert datasets.missing_labels(project) == 1
    labelled(project, "a", "7", split="validation")
    assert datasets.missing_labels(project) == 0


def test_only_labels_that_were_trained_on_are_marked() -> None:
    project = make_project()
    a = labelled(project, "a", "kept", "changed", "confirmed", "reopened", "twice")
    b = labelled(project, "b", "validation", split="validation")
    labelled(project, "b", "b in train")
    dataset = datasets.freeze(project, by=None)
    assert dataset.train_count == 6
    labelled(project, "a", "later")

    def relabel(text: str, intent: Intent) -> None:
        question = Question.objects.get(text=text)
        annotations.set_gold(question, [intent], source="adjudication", by=None)

    relabel("changed", b)
    relabel("confirmed", a)
    relabel("twice", b)
    relabel("twice", a)
    Question.objects.filter(text="reopened").update(state="open")
    assert datasets.mark_trained(dataset, "7") == 5
    marked = Question.objects.exclude(trained_in="").values_list("text", "trained_in")
    assert dict(marked) == dict.fromkeys(
        ["kept", "confirmed", "twice", "validation", "b in train"], "7"
    )
    again = datasets.freeze(project, by=None)
    assert {text for text, (_, _, is_new) in items(again).items() if is_new} == {
        "changed",
        "later",
    }


@pytest.mark.django_db(transaction=True)
def test_a_label_that_changes_while_it_is_marked_counts_as_new() -> None:
    project = make_project()
    labelled(project, "a", "contested", "other")
    b = labelled(project, "b", "b1")
    dataset = datasets.freeze(project, by=None)
    question = Question.objects.get(text="contested")
    marked: list[int] = []

    def mark() -> None:
        try:
            marked.append(datasets.mark_trained(dataset, "1"))
        finally:
            connection.close()

    thread = threading.Thread(target=mark)
    with transaction.atomic():
        annotations.set_gold(question, [b], source="adjudication", by=None)
        thread.start()
        thread.join(timeout=0.5)  # it waits for the row that is being relabelled
        assert thread.is_alive()
    thread.join()
    assert marked == [2]
    question.refresh_from_db()
    assert question.trained_in == ""
