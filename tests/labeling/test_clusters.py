"""Near-duplicates gather around a leader, also when two jobs gather at once."""

import multiprocessing
import random
from typing import Any

import numpy as np
import pytest

from labeling.models import Embedding, Project, Question
from labeling.search import clusters, similar
from tests.labeling.vectors import place, towards
from tests.makers import make_project, make_question

pytestmark = pytest.mark.django_db

# The threshold is a cosine of 0.985: just under 10 degrees.


@pytest.fixture
def project() -> Project:
    return make_project()


def at(project: Project, *degrees: float, **overrides: Any) -> list[Question]:
    """Questions on an arc, at so many degrees."""
    return [
        place(make_question(project, **overrides), towards(0, turned=one))
        for one in degrees
    ]


def leaders(*questions: Question) -> list[int | None]:
    """What each one's row names as its leader now."""
    rows = dict(Question.objects.values_list("pk", "cluster"))
    return [rows[question.pk] for question in questions]


def assign(project: Project, *questions: Question) -> int:
    return clusters.assign(project.pk, [question.pk for question in questions])


def test_near_ones_join_the_first_and_others_stay_alone(project: Project) -> None:
    first, second, third, far = at(project, 0, 4, 8, 60)
    assert assign(project, far, third, second, first) == 2
    assert leaders(first, second, third, far) == [None, first.pk, first.pk, None]


def test_a_cluster_is_a_ball_and_no_chain(project: Project) -> None:
    """Each is near the one before it, the last is far from the first."""
    first, second, third, fourth = at(project, 0, 7, 14, 21)
    assign(project, first, second, third, fourth)
    assert leaders(first, second, third, fourth) == [None, first.pk, None, third.pk]


def test_the_nearest_leader_is_joined(project: Project) -> None:
    left, right = at(project, 0, 16)
    assign(project, left, right)
    (between,) = at(project, 9)
    assign(project, between)
    assert leaders(left, right, between) == [None, None, right.pk]


def test_a_member_leads_to_its_leader(project: Project) -> None:
    """All that is nearest are members: their leader is asked, not they."""
    leader, *near = at(project, 0, *(6 + n / 10 for n in range(20)))
    assign(project, leader, *near)
    (late,) = at(project, 7.05)
    (beyond,) = at(project, 12)
    assert assign(project, late, beyond) == 1
    assert leaders(late, beyond) == [leader.pk, None]


def test_asked_again_nothing_changes(project: Project) -> None:
    questions = at(project, 0, 4, 8)
    assert assign(project, *questions) == 2
    before = leaders(*questions)
    assert assign(project, *questions) == 0
    assert leaders(*questions) == before


def test_a_late_question_joins_an_older_one_that_was_alone(project: Project) -> None:
    (first,) = at(project, 0)
    assign(project, first)
    (second,) = at(project, 3)
    assert assign(project, second) == 1
    assert leaders(first, second) == [None, first.pk]


def test_an_older_question_may_join_a_younger_leader(project: Project) -> None:
    old, young, younger = at(project, 0, 3, 6)
    assign(project, young, younger)
    assert leaders(young, younger) == [old.pk, old.pk]
    assert assign(project, old) == 0


def test_clusters_over_many_chunks(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "CHUNK", 3)
    questions = at(project, *(n / 10 for n in range(20)))
    assert assign(project, *questions) == 19
    assert set(leaders(*questions)) == {None, questions[0].pk}


def test_projects_do_not_mix(project: Project) -> None:
    (first,) = at(project, 0)
    (other,) = at(make_project(), 0)
    assert assign(project, first, other) == 0
    assert assign(other.project, first, other) == 0


def test_questions_without_a_vector_wait(project: Project) -> None:
    (first,) = at(project, 0)
    assert assign(project, first, make_question(project)) == 0


def test_members_and_size(project: Project) -> None:
    first, second, third = at(project, 0, 2, 40)
    assign(project, first, second, third)
    for question in (first, second):
        question.refresh_from_db()
        found = set(clusters.members(question).values_list("pk", flat=True))
        assert found == {first.pk, second.pk}
        assert clusters.size(question) == 2
    assert list(clusters.members(third)) == [third]
    assert clusters.size(third) == 1
    assert clusters.sizes([first.pk, second.pk, third.pk]) == {first.pk: 2}


def test_members_without_their_leader_are_alone_again(project: Project) -> None:
    first, second, third = at(project, 0, 2, 4)
    assign(project, first, second, third)
    first.delete()
    assert leaders(second, third) == [None, None]
    assert assign(project, second, third) == 1
    assert leaders(second, third) == [None, second.pk]


def _gather(project_id: int, ids: list[int], seed: int, failures: Any) -> None:
    from django.db import connections

    connections.close_all()  # the fork's copy belongs to the parent
    try:
        random.Random(seed).shuffle(ids)
        for start in range(0, len(ids), 7):
            clusters.assign(project_id, ids[start : start + 7])
    except BaseException as error:
        failures.put(repr(error))


@pytest.mark.django_db(transaction=True)
def test_two_jobs_at_once_leave_no_leader_in_a_cluster() -> None:
    from django.db import connections

    project = make_project()
    vectors = {
        make_question(project).pk: towards(n % 8 * 2, turned=n % 13) for n in range(160)
    }
    similar.store(project.pk, vectors)
    connections.close_all()
    context = multiprocessing.get_context("fork")
    failures = context.Queue()
    jobs = [
        context.Process(
            target=_gather, args=(project.pk, list(vectors), seed, failures)
        )
        for seed in range(3)
    ]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(timeout=60)
        assert job.exitcode == 0
    assert failures.empty(), failures.get()

    found = dict(Question.objects.values_list("pk", "cluster"))
    joined = {pk: leader for pk, leader in found.items() if leader is not None}
    assert joined
    assert not set(joined.values()) & set(joined)  # no leader is a member
    rows = Embedding.objects.values_list("pk", "vector")
    place_of = {pk: np.array(vector) for pk, vector in rows}
    for pk, leader in joined.items():
        assert place_of[pk] @ place_of[leader] > clusters.THRESHOLD - 0.002
