"""Fusion: the table of who speaks, and what follows from it."""

from collections.abc import Mapping

import numpy as np
import pytest

from registry.onnx.reading import Reading
from registry.serving.fusion import (
    Candidate,
    Decision,
    Limits,
    Method,
    decide,
    fuse,
)

RULE, MODEL = 0.3, 0.7


def confidences(
    rules: Mapping[str, float],
    model: Mapping[str, float] | None,
    *,
    weights: tuple[float, float] = (RULE, MODEL),
    multi: bool = False,
) -> dict[str, float]:
    found = fuse(
        rules, model, rule_weight=weights[0], model_weight=weights[1], multi=multi
    )
    assert found == sorted(found, key=lambda c: -c.confidence)
    return {c.code: pytest.approx(c.confidence) for c in found}


@pytest.mark.parametrize(
    ("case", "rules", "model", "expected"),
    [
        ("model alone keeps its confidence", {}, {"a": 0.9, "b": 0.1}, {"a": 0.9}),
        ("rules alone keep theirs", {"a": 0.9}, None, {"a": 0.9}),
        (
            "both agree: the weighted mean",
            {"a": 0.9},
            {"a": 0.8, "b": 0.2},
            {"a": 0.3 * 0.9 + 0.7 * 0.8, "b": 0.7 * 0.2},
        ),
        (
            "they disagree: neither is sure",
            {"a": 0.9},
            {"a": 0.02, "b": 0.98},
            {"a": 0.3 * 0.9 + 0.7 * 0.02, "b": 0.7 * 0.98},
        ),
        (
            "an intent that the model has not learned is its rules'",
            {"new": 0.9},
            {"a": 0.6, "b": 0.4},
            {"new": 0.9, "a": 0.7 * 0.6},
        ),
        ("nobody says anything", {}, {}, {}),
        ("no rule and no model", {}, None, {}),
    ],
)
def test_single_intent(
    case: str,
    rules: dict[str, float],
    model: dict[str, float] | None,
    expected: dict[str, float],
) -> None:
    found = confidences(rules, model)
    assert {code: found[code] for code in expected} == expected, case


def test_in_multi_intent_projects_a_rule_says_nothing_of_other_intents() -> None:
    found = confidences({"a": 0.9}, {"a": 0.8, "b": 0.95}, multi=True)
    assert found == {"a": 0.83, "b": 0.95}


@pytest.mark.parametrize(
    ("case", "weights", "rules", "expected"),
    [
        ("rules switched off", (0.0, 0.7), {"b": 0.9}, {"a": 0.6, "b": 0.4}),
        ("model switched off", (0.3, 0.0), {"b": 0.9}, {"b": 0.9}),
        ("model switched off, no rule found", (0.3, 0.0), {}, {"a": 0.6, "b": 0.4}),
        ("both off: the model as it is", (0.0, 0.0), {"b": 0.9}, {"a": 0.6, "b": 0.4}),
        ("weights need not sum to 1", (0.6, 1.4), {"b": 1.0}, {"a": 0.42, "b": 0.58}),
    ],
)
def test_weights(
    case: str,
    weights: tuple[float, float],
    rules: dict[str, float],
    expected: dict[str, float],
) -> None:
    found = confidences(rules, {"a": 0.6, "b": 0.4}, weights=weights)
    assert found == expected, case


def test_weights_change_nothing_for_rules_alone() -> None:
    assert confidences({"a": 0.8}, None, weights=(0.0, 0.0)) == {"a": 0.8}


def test_sources_say_who_spoke() -> None:
    found = fuse(
        {"a": 0.9}, {"a": 0.8, "b": 0.2}, rule_weight=0.3, model_weight=0.7, multi=False
    )
    assert [dict(c.sources) for c in found] == [
        {"model": 0.8, "rule": 0.9},
        {"model": 0.2},
    ]


def candidates(**confidence: float) -> list[Candidate]:
    found = [Candidate(code, p, {"model": p}) for code, p in confidence.items()]
    return sorted(found, key=lambda c: -c.confidence)


def codes(decision: Decision) -> list[str]:
    return [c.code for c in decision.intents]


class TestDecide:
    limits = Limits(accept=0.3, top_k=2, fallback="none")

    def test_the_best_answers_and_the_next_are_listed(self) -> None:
        decision = decide(candidates(a=0.6, b=0.3, c=0.1), self.limits, multi=False)
        assert codes(decision) == ["a", "b"]
        assert decision.method == Method.MODEL
        assert (decision.confidence, decision.margin) == (0.6, 0.3)

    def test_below_the_threshold_the_fallback_answers(self) -> None:
        decision = decide(candidates(a=0.29, none=0.1), self.limits, multi=False)
        assert codes(decision) == ["none", "a"]
        assert (decision.method, decision.confidence) == (Method.FALLBACK, 0.1)

    def test_exactly_the_threshold_is_enough(self) -> None:
        assert codes(decide(candidates(a=0.3), self.limits, multi=False)) == ["a"]

    def test_without_a_fallback_intent_the_answer_is_empty(self) -> None:
        decision = decide(candidates(a=0.2), Limits(0.3, 3), multi=False)
        assert (codes(decision), decision.confidence) == ([], 0.0)

    def test_nothing_at_all(self) -> None:
        decision = decide([], self.limits, multi=False)
        assert (codes(decision), decision.confidence) == (["none"], 0.0)

    def test_several_intents_each_above_its_threshold(self) -> None:
        limits = Limits(0.3, 1, "none", {"b": 0.8})
        found = candidates(a=0.6, b=0.7, c=0.9, d=0.4)
        decision = decide(found, limits, multi=True)
        assert codes(decision) == ["c", "a"]
        assert (decision.confidence, decision.margin) == (0.6, 0.0)

    def test_the_fallback_never_stands_beside_others(self) -> None:
        decision = decide(candidates(a=0.6, none=0.7), self.limits, multi=True)
        assert codes(decision) == ["a"]
        alone = decide(candidates(a=0.2, none=0.7), self.limits, multi=True)
        assert codes(alone) == ["none"]

    def test_no_intent_is_an_answer_as_sure_as_the_others_are_unlikely(self) -> None:
        decision = decide(candidates(a=0.1, b=0.05), self.limits, multi=True)
        assert codes(decision) == ["none"]
        assert (decision.method, decision.confidence) == (Method.FALLBACK, 0.9)


class TestWhatCanMatter:
    """Deciding on the likeliest intents alone is deciding on all of them."""

    LABELS = tuple(f"i{n:02d}" for n in range(40))

    @pytest.mark.parametrize("multi", [False, True])
    @pytest.mark.parametrize("fallback", [None, "i07", "new"])
    @pytest.mark.parametrize(
        "weights", [(0.3, 0.7), (0.0, 1.0), (1.0, 0.0), (0.9, 0.1)]
    )
    def test_the_decision_is_the_same(
        self, multi: bool, fallback: str | None, weights: tuple[float, float]
    ) -> None:
        rng = np.random.default_rng(3)
        thresholds = {"i03": 0.02, "i09": 0.9} if multi else {}
        reading = Reading(self.LABELS, multi, thresholds=thresholds)
        columns = reading.under(lambda code: code)
        compared = 0
        for _ in range(60):
            logits = rng.normal(-3 if multi else 0, rng.uniform(0.5, 4), (1, 40))
            p = reading.probabilities(logits)[0]
            some = rng.choice([*self.LABELS, "new"], rng.integers(0, 4), replace=False)
            rules = {str(code): round(float(rng.uniform()), 3) for code in some}
            for top_k in (1, 3, 8):
                also = {*rules, fallback} if fallback else rules
                limits = Limits(0.3, top_k, fallback, columns.thresholds)
                decisions = [
                    decide(
                        fuse(
                            rules,
                            model,
                            rule_weight=weights[0],
                            model_weight=weights[1],
                            multi=multi,
                        ),
                        limits,
                        multi=multi,
                    )
                    for model in (
                        dict(zip(columns.codes, p.tolist(), strict=True)),
                        columns.likeliest(p, max(5, top_k + 1), also),
                    )
                ]
                assert decisions[0] == decisions[1]
                compared += 1
        assert compared == 180

    def test_equally_likely_ones_by_code(self) -> None:
        columns = Reading(("b", "c", "a"), False).under(lambda code: code)
        kept = columns.likeliest(np.array([0.3, 0.4, 0.3]), 2, ())
        assert list(kept) == ["c", "a"]

    def test_what_the_version_does_not_know_is_left_out(self) -> None:
        columns = Reading(("b", "c", "a"), False).under(lambda code: code)
        kept = columns.likeliest(np.array([0.3, 0.5, 0.2]), 1, ("a", "new", "c"))
        assert kept == {"c": 0.5, "a": 0.2}

    def test_of_many_that_are_answered_the_next_one_counts_too(self) -> None:
        labels = tuple("abcdefgh")
        columns = Reading(labels, True).under(lambda code: code)
        p = np.array([0.9] * 6 + [0.04, 0.01])
        kept = columns.likeliest(p, 3, ())
        assert list(kept) == list("abcdefg")
        found = fuse({}, kept, rule_weight=0.3, model_weight=0.7, multi=True)
        assert decide(found, Limits(0.3, 3), multi=True).margin == 0.86
