"""The queue among real processes: nothing handed out twice, nothing lost."""

import threading
from collections import Counter
from datetime import timedelta

import pytest
from django.db import connection, transaction
from django.utils import timezone

from labeling import queue
from labeling.models import Annotation, GoldLabel, Lease, Question
from tests import makers
from tests.makers import make_intent, make_person, make_question
from tests.processes import go, outputs

pytestmark = pytest.mark.django_db(transaction=True)

_START = """
import sys, django
django.setup()
from django.contrib.auth.models import User
from django.db import transaction
from labeling import queue
from labeling.models import Project
project = Project.objects.get(slug=sys.argv[1])
user = User.objects.get(username=sys.argv[2])
print("ready", flush=True)
sys.stdin.readline()
"""
_LABEL_ALL = """
while held := queue.claim(project, user, limit=int(sys.argv[3])):
    for claimed in held:
        queue.submit(claimed.question.pk, user, token=claimed.token, intents=["pay"])
        print(claimed.question.pk, flush=True)
"""
_HOLD_ONE = """
print(queue.claim(project, user)[0].question.pk, flush=True)
sys.stdin.readline()
"""
_HOLD_ONE_UNCOMMITTED = """
with transaction.atomic():
    print(queue.claim(project, user)[0].question.pk, flush=True)
    sys.stdin.readline()
"""


def make_project(**overrides):
    """Without test questions: then the queue goes by priority alone."""
    return makers.make_project(**{"test_share": 0, "audit_share": 0, **overrides})


def label_all(start, project, *, count):
    """The question ids that each of so many processes labelled."""
    make_intent(project, "pay")
    processes = []
    for n in range(count):
        make_person(f"annotator{n}", project)
        processes.append(
            start(_START + _LABEL_ALL, project.slug, f"annotator{n}", 1 + n % 3)
        )
    go(processes)
    return [[int(line) for line in lines] for lines in outputs(processes)]


def test_eight_processes_share_200_questions(start):
    project = make_project()
    questions = {make_question(project).pk for _n in range(200)}
    done = label_all(start, project, count=8)
    handed_out = Counter(pk for ids in done for pk in ids)
    assert set(handed_out) == questions
    assert max(handed_out.values()) == 1
    assert sum(bool(ids) for ids in done) > 1, "one process did it all: no race"
    assert Question.objects.filter(state="labelled").count() == 200
    assert GoldLabel.objects.count() == 200
    assert not Lease.objects.exists()


def test_overlap_is_reached_and_never_passed(start):
    project = make_project(overlap=3)
    for _n in range(60):
        make_question(project)
    done = label_all(start, project, count=4)
    handed_out = Counter(pk for ids in done for pk in ids)
    assert len(handed_out) == 60
    assert set(handed_out.values()) == {3}
    assert Annotation.objects.count() == 180
    assert Question.objects.filter(state="labelled").count() == 60


def test_the_question_of_a_killed_holder_comes_back_when_its_lease_ends(start):
    project = make_project()
    make_question(project)
    make_person("ann", project)
    rex = make_person("rex", project)
    process = start(_START + _HOLD_ONE, project.slug, "ann")
    go([process])
    pk = int(process.stdout.readline())
    process.kill()
    process.wait()
    assert queue.claim(project, rex) == []
    Lease.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert queue.claim(project, rex)[0].question.pk == pk


def test_a_claim_that_dies_before_its_commit_never_was(start):
    project = make_project()
    make_question(project)
    make_person("ann", project)
    rex = make_person("rex", project)
    process = start(_START + _HOLD_ONE_UNCOMMITTED, project.slug, "ann")
    go([process])
    process.stdout.readline()
    assert queue.claim(project, rex) == []  # locked, and nobody waits for it
    process.kill()
    process.wait()
    deadline = timezone.now() + timedelta(seconds=10)
    while not (held := queue.claim(project, rex)) and timezone.now() < deadline:
        threading.Event().wait(0.05)  # until the server sees the connection end
    assert held


def test_a_question_that_is_just_being_answered_is_waited_for():
    """Else the queue looks empty to whoever asks at that moment."""
    project = make_project(overlap=2)
    make_intent(project, "pay")
    question = make_question(project)
    ann, rex = make_person("ann", project), make_person("rex", project)
    [claimed] = queue.claim(project, ann)
    answering, asked = threading.Event(), threading.Event()

    def answer():
        try:
            with transaction.atomic():
                token = claimed.token
                queue.submit(question.pk, ann, token=token, intents=["pay"])
                answering.set()
                asked.wait(0.3)  # rex asks meanwhile
        finally:
            connection.close()

    thread = threading.Thread(target=answer)
    thread.start()
    answering.wait(10)
    assert [one.question for one in queue.claim(project, rex)] == [question]
    asked.set()
    thread.join(10)


def test_a_claim_collides_with_a_lease_that_its_snapshot_did_not_see():
    """The insert finds the newer lease alive, takes nothing, and looks again."""
    project = make_project()
    first, second = make_question(project), make_question(project)
    ann, rex = make_person("ann", project), make_person("rex", project)
    with connection.cursor() as cursor:
        # Every claim takes its snapshot, then waits here before it inserts.
        cursor.execute(
            "CREATE FUNCTION wait_a_moment() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$"
        )
        cursor.execute(
            "CREATE TRIGGER wait_a_moment BEFORE INSERT ON labeling_lease "
            f"FOR EACH ROW WHEN (NEW.holder_id = {ann.pk}) "
            "EXECUTE FUNCTION wait_a_moment()"
        )
    held = {}

    def claim():
        try:
            held["ann"] = queue.claim(project, ann)
        finally:
            connection.close()

    thread = threading.Thread(target=claim)
    try:
        thread.start()
        threading.Event().wait(0.2)
        # Past the row lock that ann's claim holds, as a claim that committed between
        # ann's snapshot and ann's lock would have been.
        now = timezone.now()
        Lease.objects.create(
            question=first,
            holder=rex,
            token=1_000_000,
            claimed_at=now,
            expires_at=now + timedelta(minutes=5),
        )
        thread.join(10)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("DROP TRIGGER wait_a_moment ON labeling_lease")
            cursor.execute("DROP FUNCTION wait_a_moment")
    assert [claimed.question for claimed in held["ann"]] == [second]
    assert Lease.objects.get(question=first).holder == rex


def test_the_same_answer_sent_twice_at_once_is_recorded_once():
    project = make_project()
    make_intent(project, "pay")
    question = make_question(project)
    ann = make_person("ann", project)
    [claimed] = queue.claim(project, ann)
    results = []

    def send():
        try:
            results.append(
                queue.submit(question.pk, ann, token=claimed.token, intents=["pay"]).pk
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=send) for _n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert results == [Annotation.objects.get().pk] * 4
    assert GoldLabel.objects.count() == 1
