"""Changes of a label set among real processes that label and import meanwhile."""

import json
import time

import pytest
from django.db import connection

from labeling import taxonomy
from labeling.models import (
    Annotation,
    GoldLabel,
    Intent,
    IntentAlias,
    LabelChange,
    Question,
)
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)
from tests.processes import go, outputs

pytestmark = pytest.mark.django_db(transaction=True)

_START = """
import itertools, json, random, sys, django
django.setup()
from django.contrib.auth.models import User
from labeling import intake, queue, taxonomy
from labeling.formats import Row
from labeling.intake import bulk
from labeling.models import Intent, Project
project = Project.objects.filter(slug=sys.argv[1]).first()
user = User.objects.filter(username=sys.argv[2]).first()
arguments = sys.argv[3:]
intents = Intent.objects.in_bulk()
print("ready", flush=True)
sys.stdin.readline()
"""
_LABEL_ALL = """
turn = itertools.cycle(arguments)
while held := queue.claim(project, user):
    for claimed in held:
        pk = claimed.question.pk
        queue.submit(pk, user, token=claimed.token, intents=[next(turn)])
        print(pk, flush=True)
"""
_IMPORT = """
bulk.CHUNK_ROWS = 25
count, *codes = arguments
turn = itertools.cycle(codes)
rows = (Row(n, f"imported row {n}", (next(turn),)) for n in range(int(count)))
report = intake.import_rows(project, rows, split="train", by=user)
print(json.dumps([report.created, report.labelled, report.bad]), flush=True)
"""
_MERGE = """
for names in arguments:
    # As they were before: the other process may be through with them already.
    source, target = (intents[int(n)] for n in names.split(">"))
    try:
        taxonomy.merge([source], target, by=user)
        print(json.dumps("merged"), flush=True)
    except taxonomy.TaxonomyChanged as error:
        print(json.dumps(str(error)), flush=True)
"""


def wait_for_verdicts(count, processes):
    """Returns as soon as so many verdicts are in; at once wrong if a process failed."""
    deadline = time.monotonic() + 60
    while Annotation.objects.count() < count:
        assert all(process.poll() in (None, 0) for process in processes)
        assert time.monotonic() < deadline
        time.sleep(0.01)


def lines_of(process):
    [lines] = outputs([process])
    return [json.loads(line) for line in lines]


def assert_all_named():
    """No row names an intent that is not there, whatever the constraints say."""
    with connection.cursor() as cursor:
        for table in ("goldlabel", "annotation_intents", "keywordrule", "intentalias"):
            cursor.execute(
                f"SELECT count(*) FROM labeling_{table} t WHERE NOT EXISTS ("
                "SELECT FROM labeling_intent i WHERE i.id = t.intent_id)"
            )
            assert cursor.fetchone() == (0,)


def test_merges_under_labelling_and_an_import_lose_nothing(start):
    """Intents a to f become one, step by step, while all six are being set."""
    project = make_project(low_confidence=0.5)
    mia = make_person("mia", project)
    codes = list("abcdef")
    asked = 480  # far more than are answered until the last merge begins
    intents = [make_intent(project, code) for code in codes]
    for n in range(asked):
        make_question(project, f"asked question {n}", split="train")
    for intent in intents:
        for _n in range(20):
            make_labelled(project, intent)
    people = ["ann0", "ann1", "ann2"]
    for name in people:
        make_person(name, project)
    annotators = [
        start(_START + _LABEL_ALL, project.slug, name, *codes) for name in people
    ]
    importer = start(_START + _IMPORT, project.slug, "mia", 600, *codes)
    go([*annotators, importer])
    done_before = 0
    for n, intent in enumerate(intents[:-1]):
        wait_for_verdicts(25 * (n + 1), [*annotators, importer])
        taxonomy.merge([intent], intents[n + 1], by=mia)
        done_before = Annotation.objects.count()
    assert done_before < asked, "nobody was labelling during the last merge: no race"
    acknowledged = [pk for process in annotators for pk in lines_of(process)]
    [[created, labelled, bad]] = lines_of(importer)

    assert len(acknowledged) == len(set(acknowledged)) == asked
    assert (created, labelled, bad) == (600, 600, 0)
    assert [intent.code for intent in Intent.objects.all()] == ["f"]
    assert IntentAlias.objects.filter(intent__code="f").count() == 5
    labels = GoldLabel.objects.filter(intent__code="f")
    assert labels.count() == GoldLabel.objects.count() == asked + 120 + 600
    assert set(acknowledged) <= set(labels.values_list("question", flat=True))
    assert Annotation.objects.filter(intents__code="f").count() == asked
    assert Question.objects.filter(state="labelled").count() == asked + 120 + 600
    assert_all_named()
    # Each change of a label is in its history, with codes of that moment.
    for change in LabelChange.objects.filter(kind="merge"):
        assert change.after != change.before["codes"]


def test_a_split_under_labelling_loses_nothing(start):
    project = make_project()
    mia = make_person("mia", project)
    pay = make_intent(project, "pay")
    for n in range(120):
        word = ("card", "cash")[n % 2]
        make_question(project, f"asked by {word} {n}", split="train")
    people = ["ann0", "ann1"]
    for name in people:
        make_person(name, project)
    annotators = [
        start(_START + _LABEL_ALL, project.slug, name, "pay") for name in people
    ]
    go(annotators)
    wait_for_verdicts(40, annotators)
    parts = [
        taxonomy.Part("by_card", keywords=("card",)),
        taxonomy.Part("in_cash", keywords=("cash",)),
    ]
    taxonomy.split(pay, parts, heir="by_card", by=mia)
    acknowledged = [pk for process in annotators for pk in lines_of(process)]
    assert len(acknowledged) == 120
    cash = GoldLabel.objects.filter(intent__code="in_cash")
    assert cash.count() >= 15
    assert not cash.exclude(question__text__contains="cash").exists()
    assert GoldLabel.objects.count() == 120  # the old code meant the heir since
    assert_all_named()


@pytest.mark.parametrize("crosswise", [True, False])
def test_of_two_merges_at_once_one_wins(start, crosswise):
    """A into B and B into A; A into B and A into C."""
    make_person("mia", make_project()), make_person("rex", make_project())
    firsts, seconds, projects = [], [], []
    for _n in range(6):
        project = make_project()
        a, b, c = (make_intent(project, code).pk for code in "abc")
        for intent in (a, b, c):
            make_labelled(project, Intent.objects.get(pk=intent))
        firsts.append(f"{a}>{b}")
        seconds.append(f"{b}>{a}" if crosswise else f"{a}>{c}")
        projects.append(project)
    processes = [
        start(_START + _MERGE, "", "mia", *firsts),
        start(_START + _MERGE, "", "rex", *seconds),
    ]
    go(processes)
    answers = list(zip(*(lines_of(process) for process in processes), strict=True))
    assert len(answers) == 6
    for one, other in answers:
        assert (one == "merged") != (other == "merged"), (one, other)
        told = other if one == "merged" else one
        winner = "mia" if one == "merged" else "rex"
        assert f"{winner} has merged" in told
    for project in projects:
        assert project.intents.count() == 2
        assert GoldLabel.objects.filter(question__project=project).count() == 3
    assert_all_named()
