"""Accuracy of production: weighted by traffic, unbiased, honest about small numbers."""

import random
from typing import Any

import pytest
from django.utils import timezone

from labeling.models import GoldLabel, IntentAlias, Project, Question
from labeling.reports import audit
from labeling.rules.wilson import wilson
from tests.makers import make_intent, make_labelled, make_project

pytestmark = pytest.mark.django_db


def audited(
    project: Project, text: str, gold: str, answer: str | None, **overrides: Any
) -> Question:
    """A test question that was asked, answered and then labelled blind."""
    intent = project.intents.filter(code=gold).first() or make_intent(project, gold)
    said = [] if answer is None else [{"code": answer, "confidence": 0.8}]
    values: dict[str, Any] = {
        "split": "test",
        "occurrences": 1,
        "predicted": [*said, {"code": "second", "confidence": 0.1}] if said else [],
        "predicted_by": "1",
    }
    question = make_labelled(project, intent, text, **{**values, **overrides})
    question.gold_labels.update(source=GoldLabel.Source.ANNOTATION)
    return question


def test_nothing_labelled_is_undefined_and_says_so() -> None:
    report = audit.accuracy(make_project())
    assert report.overall.share is None
    assert (report.overall.n, report.per_intent) == (0, {})
    assert "no question" in report.overall.why


def test_few_labels_are_undefined_and_say_how_many() -> None:
    project = make_project()
    for n in range(9):
        audited(project, f"q{n}", "a", "a")
    few = audit.accuracy(project).overall
    assert (few.share, few.n) == (None, 9)
    assert "9 blind labels" in few.why
    audited(project, "q9", "a", "a")
    assert audit.accuracy(project).overall.share == 1.0


def test_one_text_with_all_the_traffic_is_one_case() -> None:
    project = make_project()
    for n in range(20):
        audited(project, f"q{n}", "a", "a", occurrences=1 if n else 10_000)
    lone = audit.accuracy(project).overall
    assert lone.share is None
    assert lone.effective == pytest.approx(1.0, abs=0.01)
    assert "few texts" in lone.why


def test_each_text_counts_as_often_as_it_was_asked() -> None:
    project = make_project()
    for n in range(30):
        audited(project, f"right {n}", "a", "a", occurrences=3)
        audited(project, f"wrong {n}", "a", "b", occurrences=1)
    found = audit.accuracy(project).overall
    assert found.share == 0.75
    assert (found.n, found.asked) == (60, 120)
    assert found.effective == pytest.approx(120**2 / (30 * 9 + 30))
    expected = wilson(0.75 * found.effective, found.effective)
    assert (found.low, found.high) == (expected.low, expected.high)


def test_equal_traffic_is_plain_wilson() -> None:
    found = audit.estimate([(1.0, n < 15) for n in range(20)])
    low, _centre, high = wilson(15, 20)
    assert (found.share, found.low, found.high) == (0.75, low, high)
    assert found.effective == 20


def test_only_blind_labels_of_asked_test_questions_count() -> None:
    project = make_project()
    for n in range(10):
        audited(project, f"q{n}", "a", "a")
    audited(project, "never asked", "a", "b", occurrences=0)
    audited(project, "for training", "a", "b", split="train")
    audited(project, "never answered", "a", "b", predicted=None)
    imported = audited(project, "imported", "a", "b")
    imported.gold_labels.update(source=GoldLabel.Source.IMPORT)
    audited(make_project(), "elsewhere", "a", "b")
    old = audited(project, "old version's", "a", "b", predicted_by="0")
    assert audit.accuracy(project, version="1").overall.n == 10
    assert audit.accuracy(project).overall.n == 11
    old.delete()
    assert audit.accuracy(project).overall.share == 1.0


def test_by_the_intent_that_was_really_asked_for() -> None:
    project = make_project()
    for n in range(12):
        audited(project, f"a{n}", "a", "a" if n < 9 else "b")
        audited(project, f"b{n}", "b", "b", occurrences=2)
    audited(project, "c0", "c", "a")
    found = audit.accuracy(project).per_intent
    assert list(found) == ["b", "a", "c"]
    assert (found["a"].share, found["b"].share) == (0.75, 1.0)
    assert (found["c"].share, found["c"].n) == (None, 1)


def test_old_codes_and_the_fallback_intent() -> None:
    project = make_project()
    make_intent(project, "none", is_fallback=True)
    for n in range(10):
        audited(project, f"n{n}", "none", None if n < 5 else "none")
        audited(project, f"o{n}", "new", "old")
    intent = project.intents.get(code="new")
    assert audit.accuracy(project).per_intent["new"].share == 0.0
    IntentAlias.objects.create(project=project, code="old", intent=intent)
    found = audit.accuracy(project)
    assert found.overall.share == 1.0
    assert found.per_intent["none"].n == 10


def test_several_intents_are_right_together_or_not() -> None:
    project = make_project(is_multi_intent=True)
    for n in range(10):
        both = audited(project, f"q{n}", "a", "a")
        second = project.intents.filter(code="second").first()
        GoldLabel.objects.create(
            question=both,
            intent=second or make_intent(project, "second"),
            source="annotation",
            set_at=timezone.now(),
        )
    for n in range(10):
        audited(project, f"r{n}", "a", "a")  # "second" was answered, too
    assert audit.accuracy(project).overall.share == 0.5


def test_the_interval_covers_the_truth() -> None:
    rng = random.Random(7)
    texts = [(1 + int(rng.paretovariate(1.6)), rng.random() < 0.8) for _ in range(4000)]
    truth = sum(w for w, right in texts if right) / sum(w for w, _right in texts)
    hits = 0
    for _trial in range(300):
        found = audit.estimate(rng.sample(texts, 150))
        if found.share is None:
            hits += 1
            continue
        assert found.low is not None
        assert found.high is not None
        hits += found.low <= truth <= found.high
    assert hits / 300 > 0.85


def test_two_queries(django_assert_num_queries: Any) -> None:
    project = make_project()
    for n in range(3):
        audited(project, f"q{n}", "a", "a")
    with django_assert_num_queries(2):
        audit.accuracy(project)
