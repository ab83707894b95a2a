"""What the gate says of measurements, and how it says it."""

from typing import Any

import pytest
from django.utils import translation

from training import gate


def measured(**values: Any) -> dict[str, Any]:
    return {"n": 200, "accuracy": 0.9, "majority_accuracy": 0.2, **values}


def compared(**values: Any) -> dict[str, Any]:
    return {
        "n": 200,
        "macro_f1": 0.01,
        "macro_f1_interval": [-0.02, 0.04],
        "fixed": 7,
        "broken": 5,
        "per_intent": {},
        **values,
    }


def judged(
    found: dict[str, Any],
    comparison: dict[str, Any] | None = None,
    export: dict[str, Any] | None = None,
) -> dict[str, bool]:
    reasons = gate.verdict(found, comparison=comparison, export=export)
    assert gate.passed(reasons) == all(r["passed"] for r in reasons)
    for reason in reasons:
        assert reason["code"] not in gate.sentence(reason), "no words for it"
    return {r["code"]: r["passed"] for r in reasons}


def test_a_good_version_passes_everything() -> None:
    export = {"int8_kept": True, "agreement": 0.99}
    assert judged(measured(), compared(), export) == {
        "enough_test_questions": True,
        "beats_majority": True,
        "no_loss": True,
        "nothing_forgotten": True,
        "int8_agrees": True,
    }


def test_few_test_questions_are_a_remark_for_a_first_version_only() -> None:
    few = measured(n=12)
    assert judged(few)["enough_test_questions"]
    assert not judged(few, compared(n=12))["enough_test_questions"]
    assert judged(measured(n=20), compared(n=20))["enough_test_questions"]


def test_nothing_is_judged_on_no_questions() -> None:
    none = measured(n=0, accuracy=None, majority_accuracy=None)
    assert judged(none) == {"enough_test_questions": True}
    assert judged(none, compared(n=0)) == {"enough_test_questions": False}


@pytest.mark.parametrize(
    ("accuracy", "floor", "passes"),
    [(0.9, 0.2, True), (0.2, 0.2, False), (0.1, 0.2, False), (1.0, 1.0, True)],
)
def test_a_version_must_beat_the_commonest_intent(
    accuracy: float, floor: float, passes: bool
) -> None:
    found = measured(accuracy=accuracy, majority_accuracy=floor)
    assert judged(found)["beats_majority"] is passes


@pytest.mark.parametrize(
    ("interval", "passes"),
    [([-0.05, 0.01], True), ([-0.08, -0.01], False), ([0.0, 0.0], True)],
)
def test_a_loss_beyond_noise_is_refused(interval: list[float], passes: bool) -> None:
    comparison = compared(macro_f1=-0.03, macro_f1_interval=interval)
    assert judged(measured(), comparison)["no_loss"] is passes


@pytest.mark.parametrize(
    ("loss", "passes"),
    [
        ({"n": 20, "before": 0.9, "after": 0.5, "p": 0.004}, False),
        ({"n": 20, "before": 0.9, "after": 0.85, "p": 0.5}, True),
        ({"n": 20, "before": 0.9, "after": 0.7, "p": 0.06}, True),
        ({"n": 4, "before": 1.0, "after": 0.0, "p": 0.01}, True),
        ({"n": 20, "before": 0.5, "after": 0.9, "p": 1.0}, True),
    ],
)
def test_an_intent_that_is_forgotten_is_refused(
    loss: dict[str, float], passes: bool
) -> None:
    comparison = compared(per_intent={"stock": loss})
    assert judged(measured(), comparison)["nothing_forgotten"] is passes
    if not passes:
        (reason,) = [
            r
            for r in gate.verdict(measured(), comparison=comparison, export=None)
            if not r["passed"]
        ]
        assert "stock 90.0 % → 50.0 %" in gate.sentence(reason)


@pytest.mark.parametrize(
    ("export", "passes"),
    [
        ({"int8_kept": True, "agreement": 0.98}, True),
        ({"int8_kept": True, "agreement": 0.97}, False),
        ({"int8_kept": False, "agreement": 0.9}, True),
    ],
)
def test_a_small_model_that_disagrees_does_not_serve(
    export: dict[str, Any], passes: bool
) -> None:
    assert judged(measured(), None, export)["int8_agrees"] is passes


def test_an_unknown_reason_of_a_later_release_is_named_by_its_code() -> None:
    with translation.override("zh-hans"):
        assert gate.sentence({"code": "new_rule", "passed": True, "values": {}})
