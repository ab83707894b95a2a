"""Questions that client apps ask: one row a text, counted, with the latest answer."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.utils import timezone

from labeling.intake import log_question
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
