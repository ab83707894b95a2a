"""What the gate says of measurements, and how it says it."""

from typing import Any

import pytest
from django.utils import translation

from tests.makers import make_project
from training import gate
from training.models import GateRules


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
    **rules: Any,
) -> dict[str, bool]:
    reasons = gate.verdict(
        found, comparison=comparison, export=export, rules=GateRules(**rules)
    )
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
            for r in gate.verdict(
                measured(), comparison=comparison, export=None, rules=GateRules()
            )
            if not r["passed"]
        ]
        assert "stock 90.0 % → 50.0 %" in gate.sentence(reason)


@pytest.mark.parametrize(
    ("code", "values", "says"),
    [
        (
            "little_forgotten",
            {"difference": -0.05, "low": -0.08, "high": -0.02, "intents": 3, "n": 90},
            "at most 1.5 points may be lost.",
        ),
        ("calibration_kept", {}, "more than 1.5 points worse."),
        ("out_of_scope_kept", {}, "at most 1.5 points may be lost."),
    ],
)
def test_what_a_rule_allows_is_said_in_points(
    code: str, values: dict[str, Any], says: str
) -> None:
    values = {"before": 0.9, "after": 0.85, "allowed": 0.015, **values}
    assert gate.sentence({"code": code, "passed": False, "values": values}).endswith(
        says
    )


def test_a_first_version_without_a_test_question_is_said_to_be_unmeasured() -> None:
    values = {"n": 0, "needed": 20}
    reason = {"code": "enough_test_questions", "passed": True, "values": values}
    assert "nothing was measured" in gate.sentence(reason)


def test_percentages_are_written_as_the_reader_does() -> None:
    values = {"accuracy": 0.889, "floor": 0.157}
    reason = {"code": "beats_majority", "passed": True, "values": values}
    assert "88.9 %" in gate.sentence(reason)
    with translation.override("zh-hans"):
        assert "88.9%" in gate.sentence(reason)


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


def floor(**values: Any) -> dict[str, Any]:
    """A floor that the version is ahead of, in measured figures."""
    return {
        "accuracy": 0.8,
        "micro_f1": 0.8,
        "macro_f1": 0.8,
        "difference": {
            "accuracy": 0.1,
            "accuracy_interval": [0.05, 0.15],
            "micro_f1": 0.1,
            "micro_f1_interval": [0.05, 0.15],
            "macro_f1": 0.1,
            "macro_f1_interval": [0.05, 0.15],
            "p": 0.001,
            **values,
        },
    }


WORSE = {"accuracy": -0.1, "accuracy_interval": [-0.15, -0.05]}
RARER = {"macro_f1": -0.1, "macro_f1_interval": [-0.15, -0.05]}
BY_CHANCE = {"accuracy": -0.1, "accuracy_interval": [-0.25, 0.02]}


@pytest.mark.parametrize(
    ("difference", "passes"),
    [
        ({}, True),
        (WORSE | RARER, False),
        (WORSE, True),
        (RARER, True),
        (BY_CHANCE | RARER, True),
        (WORSE | RARER | {"p": 0.06}, True),
    ],
)
def test_a_version_that_counting_words_beats_is_refused(
    difference: dict[str, Any], passes: bool
) -> None:
    found = measured(floor=floor(**difference))
    assert judged(found)["beats_floor"] is passes
    assert "beats_floor" not in judged(found, beats_floor=False)
    assert "beats_majority" not in judged(found, beats_floor=False)


def test_of_several_intents_the_decisions_are_compared_with_the_floor() -> None:
    worse = {"micro_f1": -0.1, "micro_f1_interval": [-0.15, -0.05]}
    found = measured(floor=floor(**worse, **RARER), micro_f1=0.7)
    assert judged(found)["beats_floor"] is False


def test_without_a_floor_nothing_is_said_of_it() -> None:
    assert "beats_floor" not in judged(measured(floor=None))


def old_intents(difference: float, interval: list[float] | None) -> dict[str, Any]:
    return {
        "forgetting": {
            "intents": 3,
            "n": 90,
            "before": 0.9,
            "after": 0.9 + difference,
            "difference": difference,
            "interval": interval,
        }
    }


@pytest.mark.parametrize(
    ("difference", "interval", "passes"),
    [
        (-0.03, [-0.05, -0.01], False),
        (-0.009, [-0.012, -0.004], True),
        (-0.03, [-0.08, 0.01], True),
        (0.02, [0.01, 0.03], True),
        (-0.03, None, True),
    ],
)
def test_old_intents_may_lose_a_point_or_what_chance_explains(
    difference: float, interval: list[float] | None, passes: bool
) -> None:
    comparison = compared(**old_intents(difference, interval))
    assert judged(measured(), comparison)["little_forgotten"] is passes
    assert judged(measured(), comparison, max_forgetting=0.05)["little_forgotten"]
    assert "little_forgotten" not in judged(measured(), comparison, max_forgetting=None)


@pytest.mark.parametrize(
    ("after", "interval", "passes"),
    [
        (0.09, [0.03, 0.07], False),
        (0.09, [-0.01, 0.09], True),
        (0.05, [0.005, 0.015], True),
        (0.01, [-0.05, -0.01], True),
    ],
)
def test_stated_confidence_gets_no_worse(
    after: float, interval: list[float], passes: bool
) -> None:
    comparison = compared(
        calibration={"before": 0.04, "after": after, "interval": interval}
    )
    assert judged(measured(), comparison)["calibration_kept"] is passes
    assert "calibration_kept" not in judged(
        measured(), comparison, max_calibration_loss=None
    )


@pytest.mark.parametrize(
    ("after", "interval", "passes"),
    [
        (0.6, [-0.3, -0.1], False),
        (0.6, [-0.3, 0.01], True),
        (0.79, [-0.015, -0.005], True),
        (None, None, None),
    ],
)
def test_what_is_out_of_scope_is_recognised_as_well_as_before(
    after: float | None, interval: list[float] | None, passes: bool | None
) -> None:
    comparison = compared(
        out_of_scope={
            "before": {"f1": 0.8},
            "after": {"f1": after, "n": 40},
            "interval": interval,
        }
    )
    assert judged(measured(), comparison).get("out_of_scope_kept") is passes


def test_a_project_says_how_much_may_be_lost() -> None:
    comparison = compared(macro_f1=-0.03, macro_f1_interval=[-0.05, -0.01])
    assert not judged(measured(), comparison)["no_loss"]
    assert judged(measured(), comparison, max_macro_f1_loss=0.04)["no_loss"]
    few = compared(n=30)
    assert not judged(measured(n=30), few, min_test_questions=50)[
        "enough_test_questions"
    ]
    loss = {"n": 20, "before": 0.9, "after": 0.5, "p": 0.004}
    lost = compared(per_intent={"stock": loss})
    assert judged(measured(), lost, max_intent_loss=0.5)["nothing_forgotten"]
    assert "nothing_forgotten" not in judged(measured(), lost, max_intent_loss=None)
    export = {"int8_kept": True, "agreement": 0.97}
    assert judged(measured(), None, export, min_agreement=0.95)["int8_agrees"]


@pytest.mark.django_db
def test_a_project_without_rules_goes_by_the_defaults() -> None:
    project = make_project()
    assert gate.rules_of(project).min_test_questions == 20
    GateRules.objects.create(project=project, min_test_questions=5)
    assert gate.rules_of(project).min_test_questions == 5


def test_an_unknown_reason_of_a_later_release_is_named_by_its_code() -> None:
    with translation.override("zh-hans"):
        assert gate.sentence({"code": "new_rule", "passed": True, "values": {}})
