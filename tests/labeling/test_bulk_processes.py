"""Bulk actions among real processes that claim and submit: no question suffers."""

import pytest

from labeling import bulk
from labeling.labels.annotations import CannotUndo
from labeling.models import Annotation, BulkAction, GoldLabel, Lease, Question
from tests.makers import make_intent, make_person, make_project, make_question
from tests.processes import go, outputs

pytestmark = pytest.mark.django_db(transaction=True)

_START = """
import sys, django
django.setup()
from django.contrib.auth.models import User
from labeling import bulk, queue
from labeling.models import Project, Question
project = Project.objects.get(slug=sys.argv[1])
user = User.objects.get(username=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
_ONE_BY_ONE = """
while held := queue.claim(project, user, limit=2):
    for claimed in held:
        pk, token = claimed.question.pk, claimed.token
        try:
            queue.submit(pk, user, token=token, intents=["pay"])
        except queue.StaleLease:
            print("stale", pk, flush=True)
        else:
            print("saved", pk, flush=True)
"""
_IN_BULK = """
ids = list(Question.objects.of(project).order_by("?").values_list("pk", flat=True))
size = int(sys.argv[3])
for start in range(0, len(ids), size):
    chosen = ids[start:start + size]
    try:
        action = bulk.label(
            project, user, question_ids=chosen, codes=["ship"], kind="selection")
    except bulk.NothingToLabel:
        continue
    print("action", action.pk, flush=True)
"""


def test_bulk_actions_beside_claims_and_submits(start):
    project = make_project(audit_share=0)
    make_intent(project, "pay")
    make_intent(project, "ship")
    people = [make_person(f"annotator{n}", project) for n in range(4)]
    for _n in range(240):
        make_question(project, split="train")
    processes = [
        *(start(_START + _ONE_BY_ONE, project.slug, f"annotator{n}") for n in range(2)),
        *(start(_START + _IN_BULK, project.slug, f"annotator{n}", 15) for n in (2, 3)),
    ]
    go(processes)
    printed = [[line.split() for line in lines] for lines in outputs(processes)]
    saved = [int(pk) for words in printed[:2] for what, pk in words if what == "saved"]
    actions = [int(pk) for words in printed[2:] for _what, pk in words]
    assert saved, "the queue got nothing: no race"
    assert actions, "bulk got nothing: no race"

    # Each question was judged once, by exactly one person, and its gold is theirs.
    assert Question.objects.filter(state="labelled").count() == 240
    assert Annotation.objects.count() == GoldLabel.objects.count() == 240
    counted = sum(action.count for action in BulkAction.objects.all())
    assert len(saved) + counted == 240
    for annotation in Annotation.objects.select_related("bulk"):
        label = GoldLabel.objects.get(question=annotation.question_id)
        assert label.set_by_id == annotation.annotator_id
        assert label.intent.code == ("ship" if annotation.bulk else "pay")
    # Nobody who was told "saved" lost it, and no lease is left of a settled question.
    assert set(saved) <= set(
        Annotation.objects.filter(bulk=None).values_list("question_id", flat=True)
    )
    assert not Lease.objects.exists()

    by_pk = {person.pk: person for person in people}
    for action in BulkAction.objects.all():
        assert bulk.undo(action, by=by_pk[action.by_id]).kept == 0
    assert Question.objects.filter(state="open").count() == counted
    with pytest.raises(CannotUndo):
        bulk.undo(action, by=by_pk[action.by_id])
