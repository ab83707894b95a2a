"""Test questions that a version breaks: marked, reviewed, and no longer in the way."""

import pytest

from labeling import queue, taxonomy
from labeling.labels import annotations, broken, gold
from labeling.models import GoldLabel, Lease, Project, Question, Queue
from labeling.reports import progress
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    project = make_project()
    for code in ("pay", "stock"):
        make_intent(project, code)
    return project


def labelled(project: Project, count: int = 1, code: str = "pay") -> list[Question]:
    intent = project.intents.get(code=code)
    return [make_labelled(project, intent, split="test") for _n in range(count)]


def marked(project: Project) -> dict[int, int | None]:
    found = project.questions.filter(broken_by__isnull=False)
    return dict(found.values_list("pk", "broken_by"))


def test_what_a_version_breaks_is_what_was_said_last(project: Project) -> None:
    one, two, three = (question.pk for question in labelled(project, 3))
    assert broken.mark(project, 4, [one, two]) == 2
    assert broken.mark(project, 4, [two]) == 1, "measured again"
    assert marked(project) == {two: 4}
    assert broken.mark(project, 5, [three]) == 1
    assert marked(project) == {two: 4, three: 5}, "nobody has looked at 4's yet"
    assert broken.mark(project, 5, []) == 0
    assert marked(project) == {two: 4}


def test_only_labelled_questions_of_the_project_are_marked(project: Project) -> None:
    other = make_project()
    theirs = make_labelled(other, make_intent(other), split="test")
    unlabelled = make_question(project, split="test")
    assert broken.mark(project, 2, [theirs.pk, unlabelled.pk, 10**9]) == 0
    assert not Question.objects.filter(broken_by__isnull=False).exists()


def test_a_label_that_a_reviewer_settled_is_not_asked_about_again(
    project: Project,
) -> None:
    (question,) = labelled(project)
    GoldLabel.objects.filter(question=question).update(source="adjudication")
    assert broken.mark(project, 2, [question.pk]) == 0
    assert marked(project) == {}


def test_the_newest_version_comes_first_and_the_queue_is_counted(
    project: Project,
) -> None:
    rex = make_person("rex", project)
    old, new, _fine = labelled(project, 3)
    broken.mark(project, 1, [old.pk])
    broken.mark(project, 2, [new.pk])
    held = queue.claim(project, rex, queue="broken", limit=5)
    assert [one.question for one in held] == [new, old]
    assert progress.waiting(project)[Queue.BROKEN].number == 2


@pytest.mark.parametrize("code", ["pay", "stock"])
def test_a_reviewer_confirms_or_corrects_the_label(project: Project, code: str) -> None:
    rex = make_person("rex", project)
    (question,) = labelled(project)
    broken.mark(project, 3, [question.pk])
    (held,) = queue.claim(project, rex, queue="broken")
    change = queue.adjudicate(question.pk, rex, token=held.token, intents=[code])
    assert change.after == [code]
    assert marked(project) == {}
    assert queue.claim(project, rex, queue="broken") == []


def test_a_reviewer_leaves_it_as_it_is(project: Project) -> None:
    rex = make_person("rex", project)
    (question,) = labelled(project)
    broken.mark(project, 3, [question.pk])
    (held,) = queue.claim(project, rex, queue="broken")
    assert queue.skip(question.pk, rex, token=held.token) is None
    assert marked(project) == {}
    assert not Lease.objects.exists()


def test_any_change_of_the_label_ends_it(project: Project) -> None:
    mia = make_person("mia", project)
    relabelled, cleared, merged, fine = labelled(project, 4)
    broken.mark(project, 3, [relabelled.pk, cleared.pk, merged.pk, fine.pk])
    stock = project.intents.get(code="stock")
    annotations.set_gold(relabelled, [stock], source="adjudication", by=mia)
    gold.clear([cleared.pk], by=mia, kind="adjudication")
    bill = make_intent(project, "bill")
    GoldLabel.objects.filter(question=merged).update(intent=bill)
    taxonomy.merge([bill], stock, by=mia)
    assert marked(project) == {fine.pk: 3}


def test_an_undone_adjudication_does_not_break_again(project: Project) -> None:
    rex = make_person("rex", project)
    (question,) = labelled(project)
    broken.mark(project, 3, [question.pk])
    (held,) = queue.claim(project, rex, queue="broken")
    queue.adjudicate(question.pk, rex, token=held.token, intents=["stock"])
    back = queue.undo(project, rex)
    assert back is not None
    assert back.question == question
    assert question.gold_labels.get().intent.code == "pay"
