"""The gate: may this version serve? A verdict with reasons, judged on what would serve.

Each rule gives one reason, {code, passed, values}, kept on the version. `sentence` says
it in the reader's language.
"""

from typing import Any

from django.db import transaction
from django.utils.translation import gettext as _

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


# --- Words ------------------------------------------------------------------------


def sentence(reason: Reason) -> str:
    """The reason as a sentence in the active language."""
    say = _SENTENCES.get(reason["code"])
    return say(reason["values"], reason["passed"]) if say else str(reason["code"])


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"


def _say_enough(values: dict[str, Any], ok: bool) -> str:
    n, needed = values["n"], values["needed"]
    if n >= needed:
        return _("Measured on %(n)d test questions.") % values
    if ok:
        return (
            _(
                "Only %(n)d test questions: the figures below are rough. Accepted for"
                " a first version; the next needs at least %(needed)d."
            )
            % values
        )
    return (
        _(
            "Only %(n)d test questions: at least %(needed)d are needed to replace the"
            " active version."
        )
        % values
    )


def _say_majority(values: dict[str, Any], ok: bool) -> str:
    words = {
        "accuracy": _percent(values["accuracy"]),
        "floor": _percent(values["floor"]),
    }
    if ok:
        return (
            _(
                "%(accuracy)s right; always answering the commonest intent gives"
                " %(floor)s."
            )
            % words
        )
    return (
        _(
            "%(accuracy)s right is no better than always answering the commonest"
            " intent (%(floor)s)."
        )
        % words
    )


def _say_no_loss(values: dict[str, Any], ok: bool) -> str:
    words = {
        "difference": _points(values["difference"]),
        "low": _points(values["low"]),
        "high": _points(values["high"]),
        "fixed": values["fixed"],
        "broken": values["broken"],
    }
    if ok:
        return (
            _(
                "Macro-F1 against the active version: %(difference)s points (95 %%"
                " interval %(low)s to %(high)s); %(fixed)d questions fixed, %(broken)d"
                " broken."
            )
            % words
        )
    return (
        _(
            "Macro-F1 falls against the active version, and not by accident:"
            " %(difference)s points (95 %% interval %(low)s to %(high)s); %(fixed)d"
            " questions fixed, %(broken)d broken."
        )
        % words
    )


def _say_forgotten(values: dict[str, Any], ok: bool) -> str:
    if ok:
        return _("No intent of the active version is forgotten.")
    named = ", ".join(
        f"{loss['intent']} {_percent(loss['before'])} → {_percent(loss['after'])}"
        for loss in values["intents"][:5]
    )
    return _("Forgotten intents (recall before → after): %(intents)s.") % {
        "intents": named
    }


def _say_int8(values: dict[str, Any], ok: bool) -> str:
    words = {
        "agreement": _percent(values["agreement"]),
        "needed": _percent(values["needed"]),
    }
    if not values["kept"]:
        return (
            _("The exact model serves: the small one agrees on %(agreement)s only.")
            % words
        )
    if ok:
        return _("The small int8 model serves; it agrees on %(agreement)s.") % words
    return (
        _("The int8 model agrees on %(agreement)s only; %(needed)s are needed.") % words
    )


_SENTENCES = {
    "enough_test_questions": _say_enough,
    "beats_majority": _say_majority,
    "no_loss": _say_no_loss,
    "nothing_forgotten": _say_forgotten,
    "int8_agrees": _say_int8,
}
