"""What is kept of an evaluation, and what stands beside a version: floor, rules, the
active version."""

from typing import Any

import numpy as np
import pytest

from labeling import datasets
from labeling.models import GoldLabel, KeywordRule, Project, Question
from registry.models import EvaluationAnswer, Version
from tests.makers import make_intent, make_labelled, make_project
from tests.registry.makers import make_version
from training import evaluation, gate
from training.ml.interface import Example
from training.models import GateRules
from training.statistics import metrics

pytestmark = pytest.mark.django_db


def ask(project: Project, count: int, *, split: str = "test") -> list[Question]:
    """`count` labelled questions in turn of the intents greet and order."""
    made = []
    for n in range(count):
        intent = project.intents.get(code=("greet", "order")[n % 2])
        made.append(
            make_labelled(project, intent, f"{intent.code} {split} {n}", split=split)
        )
    return made


def learned(project: Project, version: Version) -> None:
    """The version says that it was trained on the project's labels of today."""
    dataset = datasets.freeze(project, by=None)
    version.provenance = {"dataset": {"id": dataset.pk}}
    version.save(update_fields=["provenance"])


# --- Answers ------------------------------------------------------------------------


def test_each_answer_is_kept_with_its_question() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    questions = ask(project, 4)
    GoldLabel.objects.filter(question=questions[3]).update(
        intent=project.intents.get(code="greet")
    )
    done = evaluation.evaluate(version)
    kept = list(done.answers.all())
    assert [one.row for one in kept] == [0, 1, 2, 3]
    assert [one.question_id for one in kept] == [q.pk for q in questions]
    assert [one.is_right for one in kept] == [True, True, True, False]
    assert (kept[3].wanted, kept[3].given) == (["greet"], ["order"])
    assert kept[0].confidence > 0.9


def test_rows_of_a_file_belong_to_no_question_and_many_are_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("training.evaluation.keeping.MAX_ANSWERS", 2)
    version = make_version(make_project(), ["greet", "order"])
    rows = [Example(f"greet {n}", ("greet",)) for n in range(5)]
    done = evaluation.run(version, kind="file", rows=rows, source="f.jsonl")
    assert (done.kind, done.source, done.n) == ("file", "f.jsonl", 5)
    assert [(a.question_id, a.text) for a in done.answers.all()] == [
        (None, "greet 0"),
        (None, "greet 1"),
    ]


def test_the_audit_share_is_what_users_asked_and_people_labelled() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    asked, imported, never_asked = ask(project, 3)
    ask(project, 2, split="train")
    for question, source, occurrences in (
        (asked, "annotation", 4),
        (imported, "import", 4),
        (never_asked, "annotation", 0),
    ):
        GoldLabel.objects.filter(question=question).update(source=source)
        Question.objects.filter(pk=question.pk).update(occurrences=occurrences)
    done = evaluation.run(version, kind="audit")
    assert (done.kind, done.n) == ("audit", 1)
    assert done.answers.get().question == asked
    assert len(evaluation.audit_rows(project)) == 1


# --- Figures ------------------------------------------------------------------------


def test_figures_have_intervals_and_a_whole_matrix() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    rows = [Example(f"greet {n}", ("greet",)) for n in range(30)]
    rows += [Example(f"order {n}", ("order",)) for n in range(20)]
    rows += [Example(f"greet so {n}", ("order",)) for n in range(10)]
    found = evaluation.evaluate(version, rows=rows).metrics
    low, high = found["intervals"]["accuracy"]
    assert found["accuracy"] == pytest.approx(50 / 60)
    assert low < found["accuracy"] < high
    low, high = found["per_intent"]["greet"]["interval"]
    assert 0.6 < low < found["per_intent"]["greet"]["f1"] < high < 1.0
    assert found["matrix"] == {
        "codes": ["greet", "order"],
        "cells": [[0, 0, 30], [1, 0, 10], [1, 1, 20]],
    }
    assert found == evaluation.evaluate(version, rows=rows).metrics, "seeded"


def test_several_intents_and_none_in_the_matrix() -> None:
    project = make_project(is_multi_intent=True)
    version = make_version(project, ["greet", "order"], strength=9.0)
    rows = [
        Example("greet and order", ("greet", "order")),
        Example("greet", ("greet", "order")),
        Example("weather", ()),
    ]
    found = evaluation.evaluate(version, rows=rows).metrics
    assert found["matrix"] == {
        "codes": ["greet", "order", evaluation.NO_INTENT],
        "cells": [[0, 0, 2], [1, 1, 1], [1, 2, 1], [2, 2, 1]],
    }
    assert found["example_f1"] == pytest.approx((1 + 2 / 3 + 1) / 3)
    assert found["intervals"]["micro_f1"][0] <= found["micro_f1"]


def test_a_label_of_no_intent_is_the_fallback_intents() -> None:
    project = make_project(is_multi_intent=True)
    make_intent(project, "none", is_fallback=True)
    version = make_version(project, ["greet", "order"], strength=9.0)
    found = evaluation.evaluate(version, rows=[Example("weather", ())]).metrics
    assert found["accuracy"] == 1.0
    assert found["out_of_scope"]["n"] == 1


def test_calibration_says_what_it_was_before() -> None:
    version = make_version(
        make_project(), ["greet", "order"], strength=1.0, temperature=0.1
    )
    rows = [Example(f"greet {n}", ("greet",)) for n in range(9)]
    found = evaluation.evaluate(version, rows=rows).metrics["calibration"]
    assert found["ece"] < 0.01, "sure, and right"
    assert found["before"]["ece"] > 0.2, "as right, and not sure"
    plain = make_version(make_project(), ["greet", "order"])
    found = evaluation.evaluate(plain, rows=rows).metrics["calibration"]
    assert found["before"] == {key: found[key] for key in ("ece", "bins")}


# --- The floor and rules ------------------------------------------------------------


def test_a_floor_learns_the_same_dataset_and_answers_the_same_rows() -> None:
    project = make_project()
    version = make_version(
        project, ["greet", "order"], words={"greet": ["nothing"], "order": ["greet"]}
    )
    ask(project, 20, split="train")
    ask(project, 30)
    learned(project, version)
    found = evaluation.evaluate(version).metrics
    floor = found["floor"]
    assert floor["accuracy"] == 1.0
    assert floor["seconds"] > 0
    assert found["accuracy"] == 0.0
    assert floor["difference"]["accuracy"] == -1.0
    judged = gate.judge(version)
    (reason,) = (r for r in judged.gate_reasons if r["code"] == "beats_floor")
    assert not reason["passed"]
    assert "counting words" in gate.sentence(reason)
    GateRules.objects.create(project=project, beats_floor=False)
    codes = {r["code"] for r in gate.judge(version).gate_reasons}
    assert not codes & {"beats_floor", "beats_majority"}


@pytest.mark.parametrize("why", ["no_dataset", "nothing_to_learn", "no_rows"])
def test_where_there_can_be_no_floor_it_says_why(why: str) -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    greet = project.intents.get(code="greet")
    make_labelled(project, greet, "greet one", split="train")
    if why != "no_dataset":
        learned(project, version)
    if why != "no_rows":
        ask(project, 2)
    found = evaluation.evaluate(version).metrics
    assert (found["floor"], found["floor_missing"]) == (None, why)


def test_rules_alone_answer_what_they_know() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"])
    assert evaluation.evaluate(version).metrics["rules"] is None
    ask(project, 4)
    assert evaluation.evaluate(version).metrics["rules"] is None, "there is no rule"
    KeywordRule.objects.create(
        project=project,
        intent=project.intents.get(code="order"),
        pattern="order",
        state="active",
        boost=0.9,
    )
    found = evaluation.evaluate(version).metrics["rules"]
    assert (found["answered"], found["accuracy"]) == (0.5, 0.5)


def test_who_waits_can_stop_an_appraisal() -> None:
    project = make_project()
    version = make_version(project, ["greet", "order"], active=True)
    other = make_version(project, ["greet", "order"])
    ask(project, 10, split="train")
    ask(project, 4)
    learned(project, other)
    calls = [0]
    evaluation.appraise_version(other, check=lambda: calls.__setitem__(0, calls[0] + 1))

    class Stopped(Exception):
        pass

    assert calls[0] > 5
    for stop_at in range(calls[0] - 1):
        seen = [0]

        def check(stop_at: int = stop_at, seen: list[int] = seen) -> None:
            seen[0] += 1
            if seen[0] > stop_at:
                raise Stopped

        with pytest.raises(Stopped):
            evaluation.appraise_version(other, check=check)
    assert version.state == "active"


# --- The active version -------------------------------------------------------------


def pair(**of_new: Any) -> tuple[Project, Version, Version]:
    """An active version that knows greet and order, and one that knows pay too."""
    project = make_project()
    old = make_version(project, ["greet", "order"], active=True)
    new = make_version(project, ["greet", "order", "pay"], **of_new)
    return project, old, new


def test_forgetting_is_of_what_the_active_version_knew() -> None:
    project, _old, new = pair(words={"order": ["nothing"]})
    ask(project, 20)
    pay = make_labelled(project, project.intents.get(code="pay"), "pay", split="test")
    found = evaluation.evaluate(new).metrics["compared"]
    assert found["version"] == 1
    forgetting = found["forgetting"]
    assert (forgetting["intents"], forgetting["n"]) == (2, 20)
    assert (forgetting["before"], forgetting["after"]) == (1.0, 0.5)
    assert forgetting["difference"] == forgetting["backward_transfer"] == -0.5
    low, high = forgetting["interval"]
    assert low < -0.5 < high < 0
    assert (found["fixed"], found["broken"]) == (1, 10)
    assert found["p"] < 0.05
    assert pay.pk not in project.questions.filter(broken_by=2).values_list("pk")


def test_what_a_version_breaks_waits_for_reviewers() -> None:
    project, old, new = pair(words={"order": ["nothing"]}, gate="pending")
    questions = ask(project, 20)
    evaluation.evaluate(new)
    assert not project.questions.filter(broken_by__isnull=False).exists(), "no verdict"
    judged = gate.judge(new)
    assert judged.gate == "refused"
    broken = project.questions.filter(broken_by=new.number).order_by("id")
    assert list(broken) == questions[1::2]
    gate.judge(old)
    assert broken.count() == 10, "the active one is compared with nobody"


def test_out_of_scope_and_calibration_are_compared() -> None:
    project = make_project()
    make_intent(project, "none", is_fallback=True)
    make_version(project, ["greet", "none"], words={"none": ["weather"]}, active=True)
    new = make_version(
        project, ["greet", "none"], words={"none": ["never"]}, strength=0.5
    )
    for n in range(12):
        make_labelled(
            project, project.intents.get(code="greet"), f"greet {n}", split="test"
        )
        make_labelled(
            project, project.intents.get(code="none"), f"weather {n}", split="test"
        )
    found = evaluation.evaluate(new).metrics["compared"]
    outside = found["out_of_scope"]
    assert (outside["before"]["f1"], outside["after"]["f1"]) == (1.0, 0.0)
    assert outside["interval"] == [-1.0, -1.0]
    calibration = found["calibration"]
    assert calibration["before"] < 0.05 < calibration["after"]
    assert calibration["interval"][0] > 0
    refused = {r["code"] for r in gate.judge(new).gate_reasons if not r["passed"]}
    assert refused >= {"out_of_scope_kept", "calibration_kept", "no_loss"}


def test_an_active_version_that_cannot_be_opened_is_no_comparison() -> None:
    project, old, new = pair()
    ask(project, 4)
    from registry import artifacts

    artifacts.remove(old)
    appraisal = evaluation.appraise_version(new)
    assert appraisal.comparison is None
    assert appraisal.problem
    assert gate.judge(new).gate == "passed"


def test_five_thousand_rows_of_150_intents_take_seconds() -> None:
    import time

    codes = [f"intent_{n}" for n in range(150)]
    random = np.random.default_rng(0)
    values = random.integers(0, 150, 5500)
    rows = [Example(str(n), (codes[v],)) for n, v in enumerate(values)]
    scope = evaluation.scope_of(make_project())

    def answers(right: float) -> evaluation.Answers:
        given = np.where(random.random(5500) < right, values, (values + 1) % 150)
        return evaluation.Answers(
            intents=[frozenset([codes[v]]) for v in given],
            confidence=np.full(5500, 0.9),
            out_of_scope=np.zeros(5500),
            given=[[(codes[v], 0.9)] for v in given],
            labels=frozenset(codes),
            file_name="",
        )

    old, new = answers(0.93), answers(0.95)
    started = time.process_time()
    measured = evaluation.measure(rows, new, scope)
    compared = evaluation.compare(rows, old, new, scope)
    took = time.process_time() - started
    assert took < 10, took
    assert compared["accuracy_interval"][0] > 0
    assert measured["intervals"]["accuracy"][0] > 0.93
    assert metrics.CALIBRATION_BINS == 15
    assert EvaluationAnswer.objects.count() == 0


@pytest.mark.parametrize("multi", [False, True])
def test_differences_are_those_of_the_figures(multi: bool) -> None:
    project = make_project(is_multi_intent=multi)
    if not multi:
        make_intent(project, "none", is_fallback=True)
    labels = ["greet", "order"] if multi else ["greet", "order", "none"]
    words = {"none": ["weather"]}
    make_version(project, labels, words=words, strength=9.0, active=True)
    new = make_version(
        project, labels, words={"greet": ["order"], **words}, strength=9.0
    )
    rows = [Example(f"order {n}", ("order",)) for n in range(4)]
    rows += [Example("greet me", ("greet",)), Example("hi", ("greet",))]
    rows.append(Example("weather", () if multi else ("none",)))
    active = project.versions.get(state="active")
    was = evaluation.evaluate(active, rows=rows).metrics
    found = evaluation.evaluate(new, rows=rows).metrics
    compared = found["compared"]
    names = ["accuracy", "macro_f1", "in_scope_accuracy"] + ["micro_f1"] * multi
    for name in names:
        assert compared[name] == pytest.approx(found[name] - was[name]), name
        low, high = compared[f"{name}_interval"]
        assert low <= compared[name] <= high
    assert compared["accuracy"] != compared["in_scope_accuracy"] or multi
