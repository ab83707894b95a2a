"""Questions that client apps ask: one row a text, counted, with the latest answer."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from labeling.intake import Asked, log_question, log_questions
from labeling.models import Project, Question
from labeling.normalise import split_of, text_hash
from labeling.ranking import priority
from tests.makers import make_intent, make_labelled, make_project

pytestmark = pytest.mark.django_db


def log(project: Project, text: str, **overrides: Any) -> int:
    values: dict[str, Any] = {
        "intents": [{"code": "a", "confidence": 0.6}],
        "confidence": 0.6,
        "margin": 0.2,
        "method": "model",
        "version": "1",
        "at": timezone.now(),
    }
    return log_question(project.pk, text, **{**values, **overrides})


def test_an_asked_question_is_one_row_however_it_is_spelt() -> None:
    project = make_project()
    at = timezone.now()
    first = log(project, " 今天 谁没打卡？", at=at)
    second = log(
        project,
        "今天 谁没打卡",
        at=at + timedelta(seconds=5),
        intents=[{"code": "b", "confidence": 0.9}],
        confidence=0.9,
        margin=0.8,
        method="rule",
        version="2",
    )
    question = Question.objects.get()
    assert first == second == question.pk
    assert question.text == "今天 谁没打卡？"
    assert question.text_hash == text_hash("今天 谁没打卡")
    assert question.occurrences == 2
    assert question.first_seen == at
    assert question.last_seen == at + timedelta(seconds=5)
    assert (question.origin, question.state) == ("asked", "open")
    assert question.predicted == [{"code": "b", "confidence": 0.9}]
    assert (question.confidence, question.margin) == (0.9, 0.8)
    assert (question.method, question.predicted_by) == ("rule", "2")
    assert question.priority == pytest.approx(
        priority.score(margin=0.8, occurrences=2, diversity=priority.UNRANKED),
        rel=1e-12,
    )


def test_logging_is_one_statement(django_assert_num_queries: Any) -> None:
    project = make_project()
    with django_assert_num_queries(1):
        log(project, "once")
    with django_assert_num_queries(1):
        log(project, "once")


def test_an_asked_question_falls_into_the_split_of_its_hash() -> None:
    project = make_project(test_share=0.3, validation_share=0.3)
    for n in range(60):
        log(project, f"question {n}")
    for question in Question.objects.all():
        assert question.split == split_of(
            question.text_hash, test_share=0.3, validation_share=0.3
        )
    assert len({q.split for q in Question.objects.all()}) == 3


def test_asking_a_labelled_question_leaves_its_label_alone() -> None:
    project = make_project()
    question = make_labelled(project, make_intent(project, "a"), "打卡", trained_in="1")
    log(project, "打卡", intents=[{"code": "b", "confidence": 0.4}], confidence=0.4)
    question.refresh_from_db()
    assert question.state == "labelled"
    assert question.trained_in == "1"
    assert question.occurrences == 1
    assert question.predicted == [{"code": "b", "confidence": 0.4}]
    assert [label.intent.code for label in question.gold_labels.all()] == ["a"]


def test_an_unknown_project_is_said_to_be_unknown() -> None:
    project = make_project()
    with pytest.raises(Project.DoesNotExist):
        log_question(
            project.pk + 1,
            "hello",
            intents=[],
            confidence=None,
            margin=None,
            method="rule",
            version="",
            at=timezone.now(),
        )


@pytest.mark.django_db(transaction=True)
def test_concurrent_logs_of_one_text_lose_no_count() -> None:
    project = make_project()
    workers, each = 8, 15
    start = threading.Barrier(workers)

    def ask() -> None:
        try:
            start.wait()
            for _ in range(each):
                log(project, "谁没打卡")
        finally:
            connection.close()

    threads = [threading.Thread(target=ask) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Question.objects.get().occurrences == workers * each


def test_a_gold_answer_leaves_the_prediction_alone() -> None:
    project = make_project()
    model = {"model": [{"code": "a", "confidence": 0.6}], "rules": []}
    log(project, "打卡", trace=model, is_conflict=True)
    log(
        project,
        "打卡",
        intents=[{"code": "b", "confidence": 1.0}],
        confidence=1.0,
        margin=1.0,
        method="gold",
        version="2",
    )
    question = Question.objects.get()
    assert question.occurrences == 2
    assert question.predicted == [{"code": "a", "confidence": 0.6}]
    assert (question.confidence, question.margin, question.method) == (
        0.6,
        0.2,
        "model",
    )
    assert (question.predicted_by, question.trace) == ("1", model)
    assert question.is_conflict


def test_the_trace_is_that_of_the_latest_answer() -> None:
    project = make_project()
    log(project, "打卡", trace={"model": [], "rules": [1]}, is_conflict=True)
    log(project, "打卡", trace={"model": [1], "rules": []})
    question = Question.objects.get()
    assert question.trace == {"model": [1], "rules": []}
    assert not question.is_conflict


def test_what_is_raised_or_disputed_keeps_its_place() -> None:
    project = make_project()
    log(project, "raised")
    log(project, "disputed")
    Question.objects.filter(text="raised").update(priority=priority.RAISED)
    Question.objects.filter(text="disputed").update(state="disputed", priority=0.3)
    log(project, "raised", margin=1.0)
    log(project, "disputed", margin=0.0)
    kept = dict(Question.objects.values_list("text", "priority"))
    assert kept == {"raised": priority.RAISED, "disputed": 0.3}


def test_the_need_of_the_answered_intent_counts() -> None:
    project = make_project()
    make_intent(project, "rare", need=1.7)
    make_intent(make_project(), "a", need=2.0)  # another project's
    log(project, "q", intents=[{"code": "rare", "confidence": 0.6}])
    log(project, "r")
    expected = {
        text: priority.score(
            margin=0.2, occurrences=1, diversity=priority.UNRANKED, need=need
        )
        for text, need in (("q", 1.7), ("r", 1.0))
    }
    stored = dict(Question.objects.values_list("text", "priority"))
    assert stored == pytest.approx(expected, rel=1e-12)
    log(project, "r", intents=[{"code": "rare", "confidence": 0.6}])
    assert Question.objects.get(text="r").priority == pytest.approx(
        priority.score(
            margin=0.2, occurrences=2, diversity=priority.UNRANKED, need=1.7
        ),
        rel=1e-12,
    )


@pytest.mark.django_db(transaction=True)
def test_questions_are_locked_in_the_order_in_which_everybody_locks_them() -> None:
    """Who labels many at once and who logs many at once don't wait for each other."""
    project = make_project()
    ids = [log(project, f"q{n}") for n in range(30)]
    by_hash = sorted(Question.objects.all(), key=lambda q: q.text_hash)
    assert [q.pk for q in by_hash] != ids
    held = threading.Event()

    def lock_from_the_first() -> None:
        try:
            with transaction.atomic():
                rows = Question.objects.order_by("id").select_for_update(no_key=True)
                rows.get(pk=ids[0])
                held.set()
                time.sleep(0.3)  # the other one stands before this row by now
                with connection.cursor() as cursor:
                    cursor.execute("SET LOCAL lock_timeout = '100ms'")
                assert len(rows.filter(pk__in=ids[1:])) == 29
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        locking = pool.submit(lock_from_the_first)
        held.wait(10)
        logged = log_questions(
            [
                Asked(project.pk, q.text, [], 0.5, 0.1, "model", "1", timezone.now())
                for q in by_hash
            ]
        )
        locking.result(10)
    assert sorted(pk or 0 for pk in logged) == ids
    assert set(Question.objects.values_list("occurrences", flat=True)) == {2}


def test_many_are_counted_by_one_statement(django_assert_num_queries: Any) -> None:
    project, other = make_project(), make_project()
    at = timezone.now()

    def asked(project_id: int, text: str, second: int, **changes: Any) -> Asked:
        moment = at + timedelta(seconds=second)
        intents = [{"code": "a", "confidence": 0.5, "sources": {"model": 0.5}}]
        one = Asked(project_id, text, intents, 0.5, 0.1, "model", "1", moment)
        return one._replace(**changes)

    with django_assert_num_queries(1):
        ids = log_questions(
            [
                asked(project.pk, "Pay!", 3),
                asked(project.pk, "pay", 9, version="2", is_conflict=True),
                asked(project.pk, "pay", 6, version="3"),
                asked(project.pk, "pay", 12, method="gold", intents=[], margin=1.0),
                asked(other.pk, "pay", 1),
                asked(other.pk + 1, "pay", 1),
                asked(project.pk, "labelled", 1, method="gold"),
            ]
        )
    first, second, third = Question.objects.order_by("id")
    assert {ids[0], ids[1], ids[2], ids[3]} == {ids[0]}
    assert {ids[0], ids[4], ids[6]} == {first.pk, second.pk, third.pk}
    assert ids[5] is None  # its project is not there
    pay = Question.objects.of(project).get(pk=ids[0])
    assert (pay.text, pay.occurrences, pay.predicted_by) == ("Pay!", 4, "2")
    assert (pay.is_conflict, pay.margin, pay.method) == (True, 0.1, "model")
    assert pay.predicted == [{"code": "a", "confidence": 0.5}]
    assert (pay.first_seen, pay.last_seen) == (
        at + timedelta(seconds=3),
        at + timedelta(seconds=12),
    )
    assert pay.priority == pytest.approx(
        priority.score(margin=0.1, occurrences=4, diversity=priority.UNRANKED),
        rel=1e-12,
    )
    labelled = Question.objects.get(text="labelled")
    assert (labelled.predicted, labelled.method) == (None, "")
    assert log_questions([]) == []
