"""What logits say: probabilities, the out-of-scope score, codes of today, choices."""

from __future__ import annotations

import numpy as np
import pytest

from registry.onnx.reading import OutOfScope, Reading

LABELS = ("greet", "none", "order")
SCORE = OutOfScope("none", energy=0.7, margin=0.4, bias=1.5)


def same(code: str) -> str:
    return code


def test_one_intent_is_a_softmax() -> None:
    logits = np.array([[2.0, 0.0, -1000.0], [1000.0, 1000.0, 0.0]])
    p = Reading(LABELS, False).probabilities(logits)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    np.testing.assert_allclose(p[1], [0.5, 0.5, 0.0])
    warm = Reading(LABELS, False, temperature=2.0).probabilities(logits)
    assert 0.5 < warm[0, 0] < p[0, 0]


def test_several_intents_are_a_sigmoid_each() -> None:
    logits = np.array([[2.0, 0.0, -1000.0]])
    p = Reading(LABELS, True).probabilities(logits)
    np.testing.assert_allclose(p[0], [0.8808, 0.5, 0.0], atol=1e-4)
    scored = Reading(LABELS, True, out_of_scope=SCORE)
    assert scored.codes == LABELS
    np.testing.assert_array_equal(scored.probabilities(logits), p)


def test_an_out_of_scope_score_takes_its_part_of_the_softmax() -> None:
    logits = np.array([[3.0, 1.0, -1.0]])
    reading = Reading(LABELS, False, temperature=2.0, out_of_scope=SCORE)
    assert reading.codes == LABELS
    lse = np.log(np.exp(3.0) + np.exp(-1.0))
    o = 1 / (1 + np.exp(-(0.7 * -lse + 0.4 * (1.0 - lse) + 1.5)))
    inside = np.exp([1.5, -0.5]) / np.exp([1.5, -0.5]).sum() * (1 - o)
    expected = [inside[0], o, inside[1]]
    np.testing.assert_allclose(reading.probabilities(logits)[0], expected)


def test_the_plain_softmax_is_one_of_the_scores() -> None:
    logits = np.random.default_rng(0).normal(0, 3, (20, 3))
    plain = Reading(LABELS, False)
    margin = Reading(LABELS, False, out_of_scope=OutOfScope("none", 0.0, 1.0, 0.0))
    np.testing.assert_allclose(
        margin.probabilities(logits), plain.probabilities(logits)
    )


def test_an_intent_without_an_output_is_told_by_the_energy() -> None:
    score = OutOfScope("none", energy=1.0, margin=0.0, bias=2.0)
    reading = Reading(("greet", "order"), False, out_of_scope=score)
    assert reading.codes == ("greet", "order", "none")
    p = reading.probabilities(np.array([[5.0, 0.0], [0.5, 0.0]]))
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    # As a class more, whose logit is always 2.
    as_class = Reading(reading.codes, False).probabilities(
        np.array([[5.0, 0.0, 2.0], [0.5, 0.0, 2.0]])
    )
    np.testing.assert_allclose(p, as_class)
    assert p.argmax(axis=1).tolist() == [0, 2]


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e4, 1e30])
def test_no_logits_overflow(size: float) -> None:
    logits = np.array([[1.0, -1.0, 0.5], [-1.0, 1.0, -1.0], [0.0, 0.0, 0.0]]) * size
    for temperature in (0.05, 20.0):
        for score in (None, SCORE, OutOfScope("new", 5.0, 0.0, -40.0)):
            reading = Reading(LABELS, False, temperature, out_of_scope=score)
            with np.errstate(over="raise", invalid="raise", divide="raise"):
                p = reading.probabilities(logits.astype(np.float32))
            assert np.isfinite(p).all()
            np.testing.assert_allclose(p.sum(axis=1), 1.0)


def test_merged_and_retired_intents_by_the_codes_of_today() -> None:
    names = {"bill": "pay", "pay": "pay", "ship": "ship", "old": None}
    p = np.array([[0.5, 0.1, 0.3, 0.1]])
    one = Reading(tuple(names), False).under(names.__getitem__)
    assert one.codes == ("pay", "ship")
    np.testing.assert_allclose(one.join(p), [[0.6, 0.3]])
    np.testing.assert_allclose(one.join(p[0]), [0.6, 0.3])


def test_of_merged_thresholds_the_lowest_stays_whatever_their_order() -> None:
    names = {"bill": "pay", "ship": "ship", "pay": "pay"}
    for bill, pay in ((0.2, 0.9), (0.9, 0.2)):
        reading = Reading(tuple(names), True, thresholds={"bill": bill, "pay": pay})
        several = reading.under(names.__getitem__)
        assert several.thresholds == {"pay": 0.2, "ship": 0.5}
        np.testing.assert_allclose(
            several.join(np.array([[0.3, 0.1, 0.4]])), [[0.4, 0.1]]
        )


def test_a_merged_out_of_scope_intent_keeps_its_score() -> None:
    reading = Reading(("greet", "order"), False, out_of_scope=SCORE)
    columns = reading.under({"none": "other", "greet": "greet"}.get)
    assert columns.codes == ("greet", "other")
    p = reading.probabilities(np.array([[-9.0, -9.0]]))
    assert columns.join(p)[0, 1] == p[0, 2] > 0.9


def test_below_the_accept_threshold_nothing_is_chosen() -> None:
    columns = Reading(("b", "a"), False).under(same)
    p = np.array([[0.6, 0.4], [0.4, 0.6], [0.5, 0.5], [0.5 + 1e-9, 0.5 - 1e-9]])
    chosen = columns.choose(p, accept=0.6, fallback=None)
    assert chosen.tolist() == [[True, False], [False, True], [False] * 2, [False] * 2]
    # Of equally sure ones the first by code.
    tied = columns.choose(p, accept=0.5, fallback=None)
    assert tied[2:].tolist() == [[False, True], [False, True]]


def test_the_fallback_never_stands_beside_another_intent() -> None:
    columns = Reading(LABELS, True, thresholds={"order": 0.3}).under(same)
    p = np.array([[0.9, 0.8, 0.3], [0.1, 0.8, 0.2], [0.1, 0.1, 0.1], [0.5, 0.1, 0.1]])
    chosen = columns.choose(p, accept=0.9, fallback="none")
    assert chosen.tolist() == [
        [True, False, True],
        [False, True, False],
        [False, False, False],
        [True, False, False],
    ]
    assert columns.choose(p, accept=0.9, fallback=None)[0].all()


def test_no_rows() -> None:
    for multi in (False, True):
        reading = Reading(LABELS, multi, out_of_scope=SCORE)
        p = reading.probabilities(np.empty((0, 3), np.float32))
        columns = reading.under(same)
        chosen = columns.choose(columns.join(p), accept=0.3, fallback="none")
        assert chosen.shape == (0, 3)
