"""Measuring versions whose answers are known, word by word."""

from typing import Any

import pytest

from labeling import taxonomy
from labeling.models import GoldLabel, Project
from tests.makers import make_intent, make_labelled, make_project, make_question
from tests.registry.makers import make_version
from training import evaluation, gate
from training.ml.interface import Example

pytestmark = pytest.mark.django_db


def rows(*pairs: tuple[str, str]) -> list[Example]:
    return [Example(text, (label,)) for text, label in pairs]


def measured(version: Any, *pairs: tuple[str, str]) -> dict[str, Any]:
    return evaluation.evaluate(version, rows=rows(*pairs), source="f.jsonl").metrics


def test_a_version_is_measured_on_the_test_questions_alone() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    greet, order = project.intents.order_by("id")
    make_labelled(project, greet, "greet me", split="test")
    make_labelled(project, order, "greet wrongly", split="test")
    make_labelled(project, greet, "order in train", split="train")
    make_labelled(project, greet, "order in validation", split="validation")
    make_question(project, "greet unlabelled", split="test")
    done = evaluation.evaluate(version)
    assert (done.kind, done.n, done.accuracy) == ("test", 2, 0.5)
    assert done.metrics["confusion"] == [
        {"intent": "order", "answered": "greet", "n": 1}
    ]
    assert done.metrics["per_intent"]["order"] == {
        "precision": 0.0,
        "recall": 0.0,
        "f1": 0.0,
        "n": 1,
        "interval": [0.0, 0.0],
    }
    assert done.metrics["per_intent"]["greet"]["f1"] == pytest.approx(2 / 3)
    assert done.metrics["majority_accuracy"] == 0.5
    assert done.metrics["model_file"] in ("model.onnx", "model.int8.onnx")


def test_a_label_that_the_version_does_not_know_counts_as_wrong() -> None:
    version = make_version(make_project(), ["greet", "order"])
    found = measured(version, ("greet", "greet"), ("hm", "return"), ("hm", "return"))
    assert found["accuracy"] == pytest.approx(1 / 3)
    assert found["unknown"] == {"return": 2}
    assert found["per_intent"]["return"]["n"] == 2
    assert found["macro_f1"] < 0.5


def test_an_old_code_is_the_intent_that_it_became() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    taxonomy.rename(project.intents.get(code="greet"), code="hello", by=None)
    found = measured(version, ("greet me", "hello"), ("greet me", "greet"))
    assert found["accuracy"] == 1.0
    assert set(found["per_intent"]) == {"hello"}


def test_out_of_scope_by_an_intent_of_its_own() -> None:
    project = make_project()
    make_intent(project, "none", is_fallback=True)
    version = make_version(project, ["greet", "none"], words={"none": ["weather"]})
    found = measured(
        version,
        ("greet", "greet"),
        ("greet weather weather", "greet"),
        ("weather", "none"),
        ("greet", "none"),
    )
    outside = found["out_of_scope"]
    assert outside["n"] == 2
    assert outside["recall"] == 0.5
    assert outside["precision"] == 0.5
    assert found["in_scope_accuracy"] == 0.5
    # Of the four pairs of one in and one out: one right, two ties, one wrong.
    assert outside["auroc"] == pytest.approx(0.5)


def test_out_of_scope_by_the_accept_threshold_without_such_an_intent() -> None:
    project = make_project(accept_threshold=0.6)
    make_intent(project, "none", is_fallback=True)
    version = make_version(project, ["greet", "order"])
    found = measured(version, ("greet", "greet"), ("weather", "none"))
    assert found["accuracy"] == 1.0, "0.5 for each intent is nobody's answer"
    assert found["out_of_scope"] == {
        "n": 1,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "auroc": 1.0,
    }
    assert found["unknown"] == {}


def test_without_out_of_scope_rows_nothing_is_said_of_them() -> None:
    found = measured(make_version(make_project()), ("greet", "greet"))
    assert found["out_of_scope"] == {
        "n": 0,
        "precision": None,
        "recall": None,
        "f1": None,
        "auroc": None,
    }


def test_multi_intent_answers_are_sets() -> None:
    project = make_project(is_multi_intent=True)
    version = make_version(project, ["greet", "order"], strength=9.0)
    both = Example("greet and order", ("greet", "order"))
    half = Example("greet", ("greet", "order"))
    none = Example("weather", ())
    found = evaluation.evaluate(version, rows=[both, half, none]).metrics
    assert found["exact_match"] == found["accuracy"] == pytest.approx(2 / 3)
    assert found["micro_f1"] == pytest.approx(2 * 3 / (4 + 3))
    assert found["per_intent"]["order"]["recall"] == 0.5


def test_thresholds_of_the_version_decide_in_multi_intent_projects() -> None:
    project = make_project(is_multi_intent=True)
    strict = make_version(
        project, ["greet", "order"], strength=1.0, thresholds={"greet": 0.99}
    )
    found = evaluation.evaluate(
        strict, rows=[Example("greet order", ("order",))]
    ).metrics
    assert found["exact_match"] == 1.0


def test_two_versions_are_compared_row_by_row() -> None:
    project = make_project()
    old = make_version(project, ["greet", "order"])
    new = make_version(project, ["greet", "order", "pay"], words={"greet": ["hi"]})
    questions = rows(
        ("order", "order"), ("hi", "greet"), ("pay", "pay"), ("greet pay", "greet")
    )
    scope = evaluation.scope_of(project)
    before = evaluation.answer_with(old, questions, scope)
    after = evaluation.answer_with(new, questions, scope)
    found = evaluation.compare(questions, before, after, scope)
    # "hi" was greet by chance, the first of equals; "pay" is new.
    assert (found["fixed"], found["broken"]) == (1, 1)
    assert found["accuracy"] == 0.0
    assert found["p"] == 1.0
    assert set(found["per_intent"]) == {"greet", "order"}, "pay was not known before"
    assert found["per_intent"]["greet"]["before"] == 1.0
    assert found["per_intent"]["greet"]["after"] == 0.5


def test_judge_measures_both_and_refuses_what_is_worse() -> None:
    project = make_project()
    good = make_version(project, ["greet", "order"], active=True)
    bad = make_version(
        project,
        ["greet", "order"],
        words={"greet": ["order"], "order": ["nothing"]},
        gate="pending",
    )
    _test_questions(project, 30)
    judged = gate.judge(bad)
    assert judged.gate == "refused"
    refused = {r["code"] for r in judged.gate_reasons if not r["passed"]}
    assert refused == {
        "beats_majority",
        "no_loss",
        "nothing_forgotten",
        "little_forgotten",
        "calibration_kept",
    }
    assert bad.evaluations.get().accuracy < 0.6
    assert gate.judge(good).gate == "passed", "not compared with itself"


def test_no_rows_measure_nothing() -> None:
    done = evaluation.evaluate(make_version(make_project()))
    assert (done.n, done.accuracy, done.macro_f1) == (0, None, None)


def _test_questions(project: Project, count: int) -> None:
    for n in range(count):
        code = ("greet", "order")[n % 2]
        intent = project.intents.get(code=code)
        make_labelled(project, intent, f"{code} {n}", split="test")
    assert GoldLabel.objects.count() == count
