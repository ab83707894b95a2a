"""What each rule says of a version, judged on what would serve."""

from typing import Any

from django.db import transaction

from registry import versions
from registry.models import Evaluation, Version
from training import evaluation

Reason = dict[str, Any]

MIN_TEST_QUESTIONS = 20
"""Fewer say nothing: one mistake more or less would be 5 points."""

MIN_INTENT_QUESTIONS = 5
"""Test questions of an intent below which its recall is not judged."""

MAX_INTENT_LOSS = 0.1
"""Recall that an old intent may lose, if the loss is no accident."""

SIGNIFICANT_P = 0.05

MIN_AGREEMENT = 0.98
"""Share of samples on which the int8 model must answer like the exact one."""


def verdict(
    measured: dict[str, Any],
    *,
    comparison: dict[str, Any] | None,
    export: dict[str, Any] | None,
) -> list[Reason]:
    """What each rule says of a version.

    Args:
        measured: From `evaluation.measure`, on the test questions.
        comparison: From `evaluation.compare` with the active version; None without one.
        export: `served`, `int8_kept` and `agreement` of the export; None when unknown.
    """
    reasons = [_enough(measured, replaces=comparison is not None)]
    if measured["n"]:
        reasons.append(_beats_majority(measured))
    if comparison is not None and measured["n"]:
        reasons.append(_no_loss(comparison))
        reasons.append(_nothing_forgotten(comparison))
    if export is not None:
        reasons.append(_int8_agrees(export))
    return reasons


def passed(reasons: list[Reason]) -> bool:
    """Whether all rules are content."""
    return all(reason["passed"] for reason in reasons)


def judge(version: Version) -> Version:
    """Measures a version and the active one on the same test questions, and decides.

    Keeps one evaluation of `version`, and the verdict with its reasons on it. Takes
    seconds to a minute: both models answer every test question.

    Raises:
        registry.artifacts.ArtifactError, registry.onnx.session.ArtifactError
    """
    project = version.project
    scope = evaluation.scope_of(project)
    rows = evaluation.test_rows(project)
    after = evaluation.answer_with(version, rows, scope)
    measured = evaluation.measure(rows, after, scope)
    active = versions.active(project)
    comparison = None
    if active is not None and active.pk != version.pk:
        before = evaluation.answer_with(active, rows, scope)
        comparison = evaluation.compare(rows, before, after, scope)
    reasons = verdict(
        measured, comparison=comparison, export=version.provenance.get("export")
    )
    with transaction.atomic():
        evaluation.record(version, measured, kind=Evaluation.Kind.TEST)
        version.gate = gate_of(reasons)
        version.gate_reasons = reasons
        version.save(update_fields=["gate", "gate_reasons"])
    return version


def gate_of(reasons: list[Reason]) -> str:
    """The state that the reasons add up to."""
    return Version.Gate.PASSED if passed(reasons) else Version.Gate.REFUSED


def _reason(code: str, ok: bool, **values: Any) -> Reason:
    return {"code": code, "passed": bool(ok), "values": values}


def _enough(measured: dict[str, Any], *, replaces: bool) -> Reason:
    # A first version replaces nothing: too few test questions are a remark, since only
    # more traffic brings more of them. What serves now is replaced on evidence alone.
    n = measured["n"]
    ok = n >= MIN_TEST_QUESTIONS or not replaces
    return _reason("enough_test_questions", ok, n=n, needed=MIN_TEST_QUESTIONS)


def _beats_majority(measured: dict[str, Any]) -> Reason:
    accuracy, floor = measured["accuracy"], measured["majority_accuracy"]
    # With a single intent among the test questions, nothing can beat the floor.
    ok = accuracy > floor or accuracy == 1.0
    return _reason("beats_majority", ok, accuracy=accuracy, floor=floor)


def _no_loss(comparison: dict[str, Any]) -> Reason:
    low, high = comparison["macro_f1_interval"]
    return _reason(
        "no_loss",
        high >= 0.0,
        difference=comparison["macro_f1"],
        low=low,
        high=high,
        fixed=comparison["fixed"],
        broken=comparison["broken"],
    )


def _nothing_forgotten(comparison: dict[str, Any]) -> Reason:
    losses = [
        {"intent": code, "before": one["before"], "after": one["after"], "n": one["n"]}
        for code, one in comparison["per_intent"].items()
        if one["n"] >= MIN_INTENT_QUESTIONS
        and one["before"] - one["after"] > MAX_INTENT_LOSS
        and one["p"] < SIGNIFICANT_P
    ]
    losses.sort(key=lambda loss: loss["after"] - loss["before"])
    return _reason("nothing_forgotten", not losses, intents=losses)


def _int8_agrees(export: dict[str, Any]) -> Reason:
    kept = bool(export.get("int8_kept"))
    agreement = float(export.get("agreement") or 0.0)
    return _reason(
        "int8_agrees",
        agreement >= MIN_AGREEMENT or not kept,
        agreement=agreement,
        kept=kept,
        needed=MIN_AGREEMENT,
    )
