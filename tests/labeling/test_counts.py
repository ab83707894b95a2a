"""Counts: exact in small projects, remembered or bounded in large ones."""

from typing import Any

import pytest
from django.core.cache import cache
from django.utils import translation

from labeling.models import Annotation, Project
from labeling.reports import counts
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
)

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    cache.clear()


@pytest.fixture
def project() -> Project:
    return make_project(min_labels_first=10)


def test_a_small_project_is_counted_anew(project: Project) -> None:
    make_question(project)
    make_question(make_project())
    assert counts.states(project)["open"] == 1
    make_question(project)
    make_labelled(project, make_intent(project))
    assert counts.states(project) == {
        "open": 2,
        "labelled": 1,
        "skipped": 0,
        "disputed": 0,
    }
    assert counts.missing_labels(project) == 9


def test_a_large_one_is_remembered_for_each_project(
    project: Project, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(counts, "SMALL", 0)
    make_labelled(project, make_intent(project))
    assert counts.missing_labels(project) == 9
    make_labelled(project, make_intent(project))
    with django_assert_num_queries(0):
        assert counts.states(project)["labelled"] == 1
        assert counts.missing_labels(project) == 9
    assert counts.states(make_project())["labelled"] == 0
    cache.clear()
    assert counts.states(project)["labelled"] == 2
    assert counts.missing_labels(project) == 8


def test_low_confidence_is_bounded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counts, "AT_MOST", 3)
    for _ in range(6):
        make_question(project, confidence=0.1)
    assert counts.low_confidence(project) == 4


def test_own_labels_are_bounded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    ann = make_person("ann", project)
    for _ in range(6):
        Annotation.objects.create(
            question=make_question(project), annotator=ann, verdict="label"
        )
    everything = {"today": 6, "week": 6, "total": 6}
    assert counts.own_labels(project, ann.pk) == everything
    monkeypatch.setattr(counts, "AT_MOST", 3)
    assert counts.own_labels(project, ann.pk)["total"] == 4


def test_accuracy_is_remembered_in_each_language(
    project: Project, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(counts, "SMALL", -20)
    english = counts.accuracy(project, version="1").overall.why
    with django_assert_num_queries(0):
        assert counts.accuracy(project, version="1").overall.why == english
    with translation.override("zh-hans"), django_assert_num_queries(2):
        counts.accuracy(project, version="1")


def test_accuracy_is_of_one_version_and_remembered_for_each(
    project: Project, monkeypatch: pytest.MonkeyPatch, django_assert_num_queries: Any
) -> None:
    monkeypatch.setattr(counts, "SMALL", -20)
    intent = make_intent(project, "a")
    for version, said, times in (("1", "x", 12), ("2", "a", 11), ("", "x", 10)):
        for _ in range(times):
            question = make_labelled(
                project,
                intent,
                split="test",
                occurrences=1,
                predicted=[{"code": said, "confidence": 0.9}],
                predicted_by=version,
            )
            question.gold_labels.update(source="annotation")

    def found() -> dict[str, tuple[int, float | None]]:
        reports = {v: counts.accuracy(project, version=v).overall for v in "12"}
        reports[""] = counts.accuracy(project, version="").overall
        return {version: (one.n, one.share) for version, one in reports.items()}

    expected = {"1": (12, 0.0), "2": (11, 1.0), "": (10, 0.0)}
    assert found() == expected
    with django_assert_num_queries(0):
        assert found() == expected
