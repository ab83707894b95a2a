"""Reviewers, undo and bulk labels among real processes: one last word, nothing lost."""

from collections import Counter

import pytest

from labeling.models import Annotation, GoldLabel, LabelChange, Lease, Question
from tests import makers
from tests.makers import make_intent, make_person
from tests.processes import go, outputs

pytestmark = pytest.mark.django_db(transaction=True)

_START = """
import random, sys, django
django.setup()
from django.contrib.auth.models import User
from labeling import queue
from labeling.labels.annotations import CannotUndo
from labeling.models import Project
from labeling.queue import StaleLease
project = Project.objects.get(slug=sys.argv[1])
user = User.objects.get(username=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
_SETTLE_ALL = """
while held := queue.claim(project, user, queue="disputed", limit=3):
    for one in held:
        queue.adjudicate(
            one.question.pk, user, token=one.token, intents=[sys.argv[3]], reason="slip"
        )
        print(one.question.pk, flush=True)
"""
# Answers, and takes one of three answers back. What an undo hands back is answered
# with the rest, so the loop ends when everything is answered for good.
_LABEL_AND_UNDO = """
chance = random.Random(user.username)
while held := queue.claim(project, user, limit=2):
    for one in held:
        try:
            queue.submit(one.question.pk, user, token=one.token, intents=["pay"])
            print("+", one.question.pk, flush=True)
        except StaleLease:
            print("409", one.question.pk, flush=True)
        if chance.random() < 0.33:
            try:
                print("-", queue.undo(project, user).question.pk, flush=True)
            except CannotUndo:
                pass
"""


def test_two_reviewers_never_settle_the_same_dispute(start):
    project = makers.make_project(overlap=3, test_share=0)
    for code in ("pay", "stock"):
        make_intent(project, code)
    questions = {
        makers.make_question(project, state="disputed", split="train").pk
        for _n in range(60)
    }
    for name in ("rex", "mia"):
        make_person(name, project)
    reviewers = [
        start(_START + _SETTLE_ALL, project.slug, "rex", "pay"),
        start(_START + _SETTLE_ALL, project.slug, "mia", "stock"),
    ]
    go(reviewers)
    said = outputs(reviewers)
    settled = Counter(int(pk) for lines in said for pk in lines)
    assert set(settled) == questions
    assert set(settled.values()) == {1}
    assert all(said), "one reviewer did it all: no race"
    assert LabelChange.objects.filter(kind="adjudication").count() == 60
    assert GoldLabel.objects.filter(source="adjudication").count() == 60
    for name, lines in zip(("rex", "mia"), said, strict=True):
        theirs = GoldLabel.objects.filter(set_by__username=name)
        assert {str(pk) for pk in theirs.values_list("question", flat=True)} == set(
            lines
        )
    assert not Lease.objects.exists()


@pytest.mark.parametrize("overlap", [1, 3])
def test_undo_against_submit(start, overlap):
    """Each question ends with its verdicts, however often some were taken back."""
    project = makers.make_project(overlap=overlap, test_share=0, audit_share=0)
    make_intent(project, "pay")
    for _n in range(30):
        makers.make_question(project, split="train")
    names = [f"annotator{n}" for n in range(4)]
    for name in names:
        make_person(name, project)
    annotators = [start(_START + _LABEL_AND_UNDO, project.slug, name) for name in names]
    go(annotators)
    said = outputs(annotators)
    assert any(line.startswith("-") for lines in said for line in lines)
    assert set(Question.objects.values_list("state", flat=True)) == {"labelled"}
    assert Annotation.objects.count() == 30 * overlap
    by_question = Counter(Annotation.objects.values_list("question_id", flat=True))
    assert set(by_question.values()) == {overlap}
    assert GoldLabel.objects.count() == 30
    assert not Lease.objects.exists()
    for name, lines in zip(names, said, strict=True):
        left: Counter[str] = Counter()
        for line in lines:
            sign, pk = line.split()
            left[pk] += {"+": 1, "-": -1, "409": 0}[sign]
        theirs = Annotation.objects.filter(annotator__username=name)
        kept = {str(pk) for pk in theirs.values_list("question_id", flat=True)}
        assert {pk for pk, number in left.items() if number} == kept
        assert set(left.values()) <= {0, 1}
    for question in Question.objects.all():  # the history has no gap
        after = None
        for change in question.changes.order_by("id"):
            assert (change.before and change.before["codes"]) == after
            after = change.after
        assert after == ["pay"]
