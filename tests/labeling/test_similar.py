"""Vectors of questions: kept once, found by nearness, filtered."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from django.db import connection, transaction

from labeling.models import Embedding, Project, Question
from labeling.search import similar
from tests.labeling.vectors import place, towards
from tests.makers import make_intent, make_labelled, make_project, make_question

pytestmark = pytest.mark.django_db


@pytest.fixture
def project() -> Project:
    return make_project()


def ids(found: list[similar.Neighbour]) -> list[int]:
    return [neighbour.question.pk for neighbour in found]


def fan(project: Project, count: int, **overrides: Any) -> list[Question]:
    """Questions at 1, 2, 3 … degrees from axis 0."""
    return [
        place(make_question(project, **overrides), towards(0, turned=degrees))
        for degrees in range(1, count + 1)
    ]


def test_neighbours_come_nearest_first_with_their_cosine(project: Project) -> None:
    near = fan(project, 4)
    place(make_question(project), towards(50))
    found = similar.nearest(project, towards(0), limit=3)
    assert ids(found) == [question.pk for question in near[:3]]
    assert found[0].similarity == pytest.approx(np.cos(np.radians(1)), abs=1e-3)


def test_a_neighbour_brings_its_gold_along(
    project: Project, django_assert_num_queries: Callable[..., Any]
) -> None:
    intent = make_intent(project, "pay")
    place(make_labelled(project, intent), towards(0))
    (found,) = similar.nearest(project, towards(0))
    with django_assert_num_queries(0):
        assert [one.code for one in found.question.gold.all()] == ["pay"]


def test_like_leaves_the_question_itself_out(project: Project) -> None:
    first, second, third = fan(project, 3)
    assert ids(similar.like(first)) == [second.pk, third.pk]


def test_a_question_without_a_vector_is_like_nothing(project: Project) -> None:
    fan(project, 2)
    assert similar.like(make_question(project)) == []


def test_filters(project: Project) -> None:
    intent = make_intent(project)
    opened = place(make_question(project, split="train"), towards(0, turned=1))
    gold = place(make_labelled(project, intent, split="train"), towards(0, turned=2))
    test = place(make_labelled(project, intent, split="test"), towards(0, turned=3))
    other = make_project()
    place(make_labelled(other, make_intent(other), split="train"), towards(0))

    def find(**filters: Any) -> list[int]:
        return ids(similar.nearest(project, towards(0), **filters))

    assert find() == [opened.pk, gold.pk, test.pk]
    assert find(labelled=True) == [gold.pk, test.pk]
    assert find(labelled=False) == [opened.pk]
    assert find(without_test=True) == [opened.pk, gold.pk]
    assert find(labelled=True, without_test=True) == [gold.pk]
    assert find(exclude=[opened.pk, gold.pk]) == [test.pk]


def test_a_search_goes_on_where_all_that_is_near_is_refused(project: Project) -> None:
    """More than a plain index scan looks at (hnsw.ef_search = 40) stands in the way."""
    place(make_question(project), towards(0, turned=80))
    other = make_project()
    questions = [make_question(other) for _ in range(150)]
    place_at = {q.pk: towards(0, turned=n / 10) for n, q in enumerate(questions)}
    similar.store(other.pk, place_at)
    with transaction.atomic(), connection.cursor() as cursor:
        # A planner that sees 151 rows would rather sort them all.
        cursor.execute("SET LOCAL enable_sort = off")
        assert len(similar.nearest(project, towards(0))) == 1


def test_store_knows_what_is_labelled(project: Project) -> None:
    gold = place(make_labelled(project, make_intent(project)), towards(0))
    opened = place(make_question(project), towards(1))
    assert dict(Embedding.objects.values_list("pk", "is_labelled")) == {
        gold.pk: True,
        opened.pk: False,
    }


def test_a_stored_vector_stays(project: Project) -> None:
    question = place(make_question(project), towards(0))
    assert similar.store(project.pk, {question.pk: towards(1)}) == 0
    assert similar.nearest(project, towards(0))[0].similarity == pytest.approx(1.0)


def test_store_leaves_out_strangers_and_the_deleted(project: Project) -> None:
    stranger = make_question(make_project())
    vectors = {stranger.pk: towards(0), stranger.pk + 1000: towards(0)}
    assert similar.store(project.pk, vectors) == 0
    assert not Embedding.objects.exists()


@pytest.mark.parametrize("vector", [[0.0] * 3, [float("nan")] * Embedding.DIMENSIONS])
def test_what_is_no_vector_is_refused(project: Project, vector: list[float]) -> None:
    with pytest.raises(ValueError, match="vector"):
        similar.store(project.pk, {make_question(project).pk: vector})


@pytest.mark.django_db(transaction=True)
def test_a_label_written_meanwhile_is_not_missed() -> None:
    """The label's transaction sees no vector, and `store` sees no label: yet."""
    project = make_project()
    question = make_question(project)
    locked, failures = threading.Event(), []

    def store() -> None:
        try:
            locked.wait()
            place(question, towards(0))
        except BaseException as error:
            failures.append(error)
        finally:
            connection.close()

    thread = threading.Thread(target=store)
    thread.start()
    with transaction.atomic():
        Question.objects.filter(pk=question.pk).update(state="labelled")
        assert not Embedding.objects.filter(pk=question.pk).update(is_labelled=True)
        locked.set()
        thread.join(timeout=0.5)
        assert thread.is_alive()  # waits for the label
    thread.join()
    assert not failures
    assert Embedding.objects.get().is_labelled


def test_pending_has_labelled_ones_first_then_by_priority(project: Project) -> None:
    low = make_question(project, priority=0.2)
    high = make_question(project, priority=0.9, split="test")
    gold = make_labelled(project, make_intent(project), priority=0.0)
    place(make_question(project, priority=1.0), towards(0))
    make_question(make_project())
    found = similar.pending(project.pk, 10)
    assert found == [(q.pk, q.text) for q in (gold, high, low)]
    assert similar.pending(project.pk, 1) == found[:1]


def test_catch_up_encodes_what_is_missing(project: Project, settings: Any) -> None:
    settings.LABELING_ENCODER = "tests.labeling.vectors.by_first_letter"
    questions = [make_question(project, f"{'ab'[n % 2]} {n}") for n in range(70)]
    assert len(similar.catch_up(project.pk, limit=69)) == 69
    assert len(similar.catch_up(project.pk, limit=69)) == 1
    assert similar.catch_up(project.pk, limit=69) == []
    found = similar.like(questions[0], limit=34)
    assert {neighbour.question.text[0] for neighbour in found} == {"a"}


def test_without_an_encoder_there_is_a_sentence(project: Project) -> None:
    with pytest.raises(similar.EncoderMissing, match="build_encoder"):
        similar.encode(["hello"])
