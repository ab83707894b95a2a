"""What each rule of the gate says of a version: one reason each, or none.

Beyond noise: a difference counts as a loss only where its 95 % interval lies below 0
wholly. With few test questions the intervals are wide, and a version that is worse by
accident passes; so is one that is better by accident, which is what the least number of
test questions is for.
"""

from typing import Any

from training.models import GateRules

Reason = dict[str, Any]

MIN_INTENT_QUESTIONS = 5
"""Test questions of an intent below which its recall is not judged."""

SIGNIFICANT_P = 0.05


def enough(measured: dict[str, Any], rules: GateRules, *, replaces: bool) -> Reason:
    """Whether there are enough test questions.

    A first version replaces nothing: too few are a remark, since only more traffic
    brings more of them. What serves now is replaced on evidence alone.
    """
    n, needed = measured["n"], rules.min_test_questions
    ok = n >= needed or not replaces
    return _reason("enough_test_questions", ok, n=n, needed=needed)


def beats_majority(measured: dict[str, Any]) -> Reason:
    """Whether it is more often right than the commonest intent is."""
    accuracy, floor = measured["accuracy"], measured["majority_accuracy"]
    # With a single intent among the test questions, nothing can beat the floor.
    ok = accuracy > floor or accuracy == 1.0
    return _reason("beats_majority", ok, accuracy=accuracy, floor=floor)


def beats_floor(measured: dict[str, Any]) -> Reason | None:
    """Whether word counts are not better, beyond noise, in accuracy and macro-F1 both.

    Of multi-intent answers micro-F1 stands for accuracy: hardly any floor finds all
    intents of a question, so that its exact matches say little. Noise is judged by
    McNemar's exact test, too: on twenty questions a floor that makes no mistake has an
    interval that is too narrow.
    """
    floor = measured.get("floor")
    if not floor:
        return None
    first = "micro_f1" if "micro_f1" in measured else "accuracy"
    ahead = floor["difference"]
    is_worse = all(_is_loss(ahead, name) for name in (first, "macro_f1"))
    ok = not (is_worse and ahead["p"] < SIGNIFICANT_P)
    return _reason(
        "beats_floor",
        ok,
        measure=first,
        version=measured[first],
        floor=floor[first],
        difference=ahead[first],
        interval=ahead[f"{first}_interval"],
        macro_f1=ahead["macro_f1"],
    )


def no_loss(comparison: dict[str, Any], rules: GateRules) -> Reason:
    """Whether macro-F1 is kept, beyond noise and what may be lost."""
    low, high = comparison["macro_f1_interval"] or (0.0, 0.0)
    lost = -comparison["macro_f1"] > rules.max_macro_f1_loss
    return _reason(
        "no_loss",
        not (lost and high < 0.0),
        difference=comparison["macro_f1"],
        low=low,
        high=high,
        allowed=rules.max_macro_f1_loss,
        fixed=comparison["fixed"],
        broken=comparison["broken"],
        p=comparison.get("p"),
    )


def no_intent_lost(comparison: dict[str, Any], rules: GateRules) -> Reason | None:
    """Whether no intent's recall falls further than allowed, if it is no accident."""
    allowed = rules.max_intent_loss
    if allowed is None:
        return None
    losses = [
        {"intent": code, "before": one["before"], "after": one["after"], "n": one["n"]}
        for code, one in comparison["per_intent"].items()
        if one["n"] >= MIN_INTENT_QUESTIONS
        and one["before"] - one["after"] > allowed
        and one["p"] < SIGNIFICANT_P
    ]
    losses.sort(key=lambda loss: loss["after"] - loss["before"])
    return _reason("nothing_forgotten", not losses, intents=losses, allowed=allowed)


def little_forgotten(comparison: dict[str, Any], rules: GateRules) -> Reason | None:
    """Whether the intents that the active version knew are kept, all together.

    The point estimate is judged, so that "at most a point" means a point; but only
    where chance alone does not explain any loss at all: on 50 questions a single one
    more would be two points.
    """
    allowed, found = rules.max_forgetting, comparison.get("forgetting")
    if allowed is None or not found:
        return None
    low, high = found["interval"] or (0.0, 0.0)
    return _reason(
        "little_forgotten",
        not (-found["difference"] > allowed and high < 0.0),
        intents=found["intents"],
        n=found["n"],
        before=found["before"],
        after=found["after"],
        difference=found["difference"],
        low=low,
        high=high,
        allowed=allowed,
    )


def calibration_kept(comparison: dict[str, Any], rules: GateRules) -> Reason | None:
    """Whether stated confidence is about as true as it was."""
    allowed, found = rules.max_calibration_loss, comparison.get("calibration") or {}
    before, after = found.get("before"), found.get("after")
    if allowed is None or before is None or after is None:
        return None
    low, _high = found["interval"] or (0.0, 0.0)
    ok = not (after - before > allowed and low > 0.0)
    return _reason("calibration_kept", ok, before=before, after=after, allowed=allowed)


def out_of_scope_kept(comparison: dict[str, Any], rules: GateRules) -> Reason | None:
    """Whether questions of no intent are told from the others as well as before."""
    allowed, found = rules.max_out_of_scope_loss, comparison.get("out_of_scope") or {}
    before = (found.get("before") or {}).get("f1")
    after = (found.get("after") or {}).get("f1")
    if allowed is None or before is None or after is None:
        return None
    _low, high = found["interval"] or (0.0, 0.0)
    return _reason(
        "out_of_scope_kept",
        not (before - after > allowed and high < 0.0),
        n=found["after"]["n"],
        before=before,
        after=after,
        allowed=allowed,
    )


def int8_agrees(export: dict[str, Any], rules: GateRules) -> Reason:
    """Whether the small model, if it serves, answers like the exact one."""
    kept = bool(export.get("int8_kept"))
    agreement = float(export.get("agreement") or 0.0)
    return _reason(
        "int8_agrees",
        agreement >= rules.min_agreement or not kept,
        agreement=agreement,
        kept=kept,
        needed=rules.min_agreement,
    )


def _is_loss(difference: dict[str, Any], name: str) -> bool:
    """Whether the interval of a difference lies below 0."""
    interval = difference[f"{name}_interval"]
    return bool(interval and interval[1] < 0.0)


def _reason(code: str, ok: bool, **values: Any) -> Reason:
    return {"code": code, "passed": bool(ok), "values": values}
