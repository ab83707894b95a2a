"""Priority: one formula in Python and SQL, its factors, and what is left alone."""

import itertools
from typing import Any

import pytest
from django.db import connection

from labeling.models import Project, Question
from labeling.ranking import priority
from tests.makers import make_intent, make_labelled, make_project, make_question

pytestmark = pytest.mark.django_db

MARGINS = (None, 0.0, 0.1, 1 / 3, 0.7, 0.999999, 1.0)
OCCURRENCES = (0, 1, 2, 7, 1000, 10**9)


def asked(project: Project, text: str, code: str = "a", **overrides: Any) -> Question:
    values: dict[str, Any] = {
        "predicted": [{"code": code, "confidence": 0.5}],
        "margin": 0.2,
        "occurrences": 1,
        "split": "train",
    }
    return make_question(project, text, **{**values, **overrides})


def own_score(question: Question, *, need: float = 1.0) -> float:
    return priority.score(
        margin=question.margin,
        occurrences=question.occurrences,
        diversity=question.diversity,
        need=need,
        method=question.method,
    )


def test_the_formula_is_the_same_in_python_and_in_sql() -> None:
    project = make_project()
    make_intent(project, "a", need=1.3)
    cases = itertools.product(MARGINS, OCCURRENCES, (0.1, 1.0), ("", "llm"))
    for n, (margin, occurrences, diversity, method) in enumerate(cases):
        asked(
            project,
            f"q{n}",
            margin=margin,
            occurrences=occurrences,
            diversity=diversity,
            method=method,
            priority=-1,
        )
    questions = list(Question.objects.all())
    assert priority.recompute(project.pk, [q.pk for q in questions]) == len(questions)
    for q in Question.objects.all():
        assert q.priority == pytest.approx(own_score(q, need=1.3), rel=1e-12, abs=1e-12)


def test_each_factor_pulls_its_way() -> None:
    plain: dict[str, Any] = {"margin": 0.5, "occurrences": 3, "diversity": 0.5}
    usual = priority.score(**plain)
    for change in (
        {"margin": 0.4},
        {"occurrences": 4},
        {"diversity": 0.6},
        {"need": 1.1},
        {"method": "llm"},
    ):
        assert priority.score(**{**plain, **change}) > usual
    assert priority.score(margin=None, occurrences=3, diversity=0.5) == usual


def test_no_score_reaches_what_a_client_raised() -> None:
    most = priority.score(
        margin=0.0,
        occurrences=2**31,
        diversity=1.0,
        need=priority.MOST_NEED,
        method=priority.LLM,
    )
    assert most < priority.RAISED


def test_recompute_leaves_raised_labelled_and_disputed_questions_alone() -> None:
    project = make_project()
    asked(project, "open")
    asked(project, "raised", priority=priority.RAISED)
    asked(project, "disputed", state="disputed", priority=0.25)
    asked(project, "labelled", state="labelled", priority=7.0)
    other = asked(make_project(), "another project's", priority=7.0)
    ids = list(Question.objects.values_list("pk", flat=True))
    assert priority.recompute(project.pk, ids) == 1
    assert priority.recompute(project.pk, ids) == 0
    kept = dict(Question.objects.values_list("text", "priority"))
    assert kept["raised"] == priority.RAISED
    assert (kept["disputed"], kept["labelled"], kept[other.text]) == (0.25, 7.0, 7.0)


def test_chunks_reach_all_open_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        priority,
        "_RECOMPUTE_BELOW",
        priority._RECOMPUTE_BELOW.replace(f"LIMIT {priority.CHUNK}", "LIMIT 3"),
    )
    monkeypatch.setattr(priority, "CHUNK", 3)
    project = make_project()
    questions = [asked(project, f"q{n}", priority=5.0) for n in range(7)]
    near = asked(project, "as good as right", priority=own_score(questions[0]) * 1.005)
    below, changed, calls = None, 0, 0
    while calls == 0 or below is not None:
        one, below = priority.recompute_below(project.pk, below)
        changed, calls = changed + one, calls + 1
    assert (changed, calls) == (7, 3)
    left = near.priority
    near.refresh_from_db()
    assert near.priority == left


@pytest.mark.django_db(transaction=True)
def test_recompute_waits_for_no_row_that_somebody_holds() -> None:
    import threading

    project = make_project()
    held, free = (asked(project, text, priority=5.0) for text in ("held", "free"))
    done = threading.Event()

    def recompute() -> None:
        try:
            assert priority.recompute(project.pk, [held.pk, free.pk]) == 1
            assert priority.recompute_below(project.pk, None) == (0, None)
            done.set()
        finally:
            connection.close()

    from django.db import transaction

    with transaction.atomic():
        Question.objects.select_for_update().get(pk=held.pk)
        thread = threading.Thread(target=recompute)
        thread.start()
        assert done.wait(10)
        thread.join()


def test_need_is_high_where_labels_are_few() -> None:
    project = make_project()
    many, few, none = (make_intent(project, code) for code in ("many", "few", "none"))
    for n in range(40):
        make_labelled(project, many, f"m{n}", split="train")
    make_labelled(project, few, "f", split="train")
    for n in range(30):  # nothing is trained on them
        make_labelled(project, none, f"t{n}", split="test")
    assert priority.renew_need(project.pk) == 3
    assert priority.renew_need(project.pk) == 0
    need = dict(project.intents.values_list("code", "need"))
    assert need["none"] > need["few"] > 1.0 > need["many"] >= priority.LEAST_NEED


def test_need_says_nothing_without_labels() -> None:
    assert priority.intent_need({1: 0, 2: 0}) == {1: 1.0, 2: 1.0}
    assert priority.intent_need({}) == {}
    assert priority.intent_need({1: 10**6, 2: 0}) == {
        1: 0.7,
        2: priority.MOST_NEED,
    }
