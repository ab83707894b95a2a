"""Calibration on logits whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from registry.onnx.reading import Reading
from training.statistics import calibration, metrics, out_of_scope

Logits = npt.NDArray[np.float64]
Truth = npt.NDArray[np.bool_]

LABELS = tuple(f"i{n}" for n in range(8))
WITH_NONE = (*LABELS[:7], "none")


def drawn(
    n: int, *, sharpness: float = 1.0, seed: int = 0, classes: int = 8
) -> tuple[Logits, Truth]:
    """Logits that are `sharpness` times as sure as they should be, with their truth."""
    chance = np.random.default_rng(seed)
    z = chance.normal(0, 2, (n, classes))
    # Gumbel noise on logits draws from their softmax.
    meant = (z + chance.gumbel(size=z.shape)).argmax(axis=1)
    return z * sharpness, np.eye(classes, dtype=bool)[meant]


def with_outside(
    n: int, outside: int, *, seed: int = 0
) -> tuple[Logits, Truth, npt.NDArray[np.bool_]]:
    """Rows of seven intents, each with a high logit of its own, and rows without: there
    all are low, and the eighth is a little higher."""
    chance = np.random.default_rng(seed)
    meant = chance.integers(0, 7, n + outside)
    z = chance.normal(0, 1, (n + outside, 8))
    z[np.arange(n), meant[:n]] += 8
    z[n:, 7] += 1.5
    truth = np.eye(8, dtype=bool)[meant]
    truth[n:] = False
    truth[n:, 7] = True
    return z, truth, truth[:, 7].copy()


def test_a_temperature_is_found_and_kept_where_it_helps() -> None:
    z, truth = drawn(1500, sharpness=3.0)
    found = calibration.fit(z, truth, LABELS, multi=False, fallback=None)
    assert found.temperature == pytest.approx(3.0, rel=0.15)
    assert found.report["kept"]
    assert found.report["ece_after"] < 0.05 < found.report["ece_before"]
    assert (found.out_of_scope, found.thresholds) == (None, {})

    unsure, truth = drawn(1500, sharpness=0.25)
    found = calibration.fit(unsure, truth, LABELS, multi=False, fallback=None)
    assert found.temperature == pytest.approx(0.25, rel=0.15)


def test_a_temperature_that_helps_nobody_is_not_kept() -> None:
    kept = []
    for seed in range(8):
        z, truth = drawn(60, seed=seed)
        found = calibration.fit(z, truth, LABELS, multi=False, fallback=None)
        kept.append(found.report["kept"])
        assert (found.temperature == 1.0) == (not kept[-1])
    assert sum(kept) <= 4


def test_a_model_that_is_always_right_stays_modest() -> None:
    z = np.where(np.eye(8, dtype=bool)[np.arange(80) % 8], 2.0, 0.0)
    found = calibration.fit(z, z > 0, LABELS, multi=False, fallback=None)
    p = found.reading(LABELS, multi=False).probabilities(z)
    # Surer than it was (0.51), and less sure than 80 right answers in a row could be.
    assert 0.9 < p.max() < 0.999


def test_few_rows_calibrate_nothing() -> None:
    z, truth = drawn(calibration.MIN_ROWS - 1, sharpness=5.0)
    for multi in (False, True):
        found = calibration.fit(z, truth, LABELS, multi=multi, fallback="i7")
        assert found.as_json() == {
            "temperature": 1.0,
            "thresholds": {},
            "out_of_scope": {},
        }
        assert found.report["n"] == 49
        assert found.report["ece_before"] is None
    nothing = calibration.fit(z[:0], truth[:0], LABELS, multi=False, fallback=None)
    assert nothing.report["n"] == 0


def test_out_of_scope_by_labelled_rows() -> None:
    z, truth, outside = with_outside(600, 60)
    found = calibration.fit(z, truth, WITH_NONE, multi=False, fallback="none")
    score = found.out_of_scope
    assert score is not None
    assert (score.code, score.energy >= 0, score.margin > 0) == ("none", True, True)
    report = found.report["out_of_scope"]
    assert (report["n"], report["source"]) == (60, "labelled")
    assert report["f1"] > 0.9
    assert report["auroc"] > 0.97
    new, meant, outside = with_outside(600, 60, seed=1)
    p = found.reading(WITH_NONE, multi=False).probabilities(new)
    assert out_of_scope.weighted_f1(p.argmax(axis=1) == 7, outside) > 0.9
    assert (p.argmax(axis=1) == meant.argmax(axis=1))[:600].mean() > 0.97


def test_no_other_bias_tells_the_labelled_rows_better() -> None:
    z, truth, outside = with_outside(300, 80)
    noise = np.random.default_rng(1).normal(0, 2, (380, 1))
    z[:, :7] += noise  # so that some of them are told wrongly
    own = np.arange(8) == 7
    score = out_of_scope.fit(
        z,
        truth,
        own=own,
        code="none",
        temperature=1.3,
        source=out_of_scope.Source.LABELLED,
    )

    def f1(shift: float) -> float:
        moved = replace(score, bias=score.bias + shift)
        reading = Reading(WITH_NONE, False, 1.3, out_of_scope=moved)
        called = reading.probabilities(z).argmax(axis=1) == 7
        return out_of_scope.weighted_f1(called, outside)

    best = f1(0.0)
    assert 0.7 < best < 1.0
    assert max(f1(shift) for shift in np.linspace(-4, 4, 41)) <= best + 1e-9
    assert f1(3.0) < best


def test_out_of_scope_without_such_rows_costs_one_answer_in_a_hundred() -> None:
    z, truth, _outside = with_outside(2000, 0)
    inside = (z[:, :7], truth[:, :7], WITH_NONE[:7])
    for logits, meant, labels in (inside, (z, truth, WITH_NONE)):
        found = calibration.fit(logits, meant, labels, multi=False, fallback="none")
        report = found.report["out_of_scope"]
        assert (report["n"], report["f1"], report["auroc"]) == (0, None, None)
        assert report["source"] == "in_scope_only"
        assert report["lost"] == pytest.approx(0.01, abs=0.005)
        new, _truth, outside = with_outside(500, 100, seed=2)
        reading = found.reading(labels, multi=False)
        assert reading.codes == WITH_NONE
        called = reading.probabilities(new[:, : len(labels)]).argmax(axis=1) == 7
        assert called[outside].mean() > 0.9
        assert called[~outside].mean() < 0.03
    assert found.out_of_scope is not None
    assert found.out_of_scope.margin == 0.5


def test_too_few_out_of_scope_rows_to_learn_from() -> None:
    z, truth, _outside = with_outside(300, out_of_scope.MIN_LABELLED - 1)
    found = calibration.fit(z, truth, WITH_NONE, multi=False, fallback="none")
    assert found.report["out_of_scope"]["source"] == "in_scope_only"
    assert found.report["out_of_scope"]["n"] == 19
    assert found.report["out_of_scope"]["f1"] > 0.5


def test_rows_of_an_intent_that_the_version_never_learned_are_out_of_scope() -> None:
    z, truth, _outside = with_outside(400, 50)
    found = calibration.fit(
        z[:, :7], truth[:, :7], WITH_NONE[:7], multi=False, fallback="none"
    )
    score = found.out_of_scope
    assert score is not None
    assert (score.code, score.margin) == ("none", 0.0)
    assert found.report["out_of_scope"]["source"] == "labelled"
    # Without a fallback intent they are nobody's, and left out.
    plain = calibration.fit(
        z[:, :7], truth[:, :7], LABELS[:7], multi=False, fallback=None
    )
    assert (plain.out_of_scope, plain.report["n"]) == (None, 400)


def test_a_model_that_tells_by_itself_gets_no_score() -> None:
    chance = np.random.default_rng(5)
    truth = np.eye(8, dtype=bool)[np.arange(400) % 8]
    outside = truth[:, 7]
    # Out-of-scope rows have more evidence for the others together, and less for each.
    z = np.where(truth, 0.0, -10.0)
    z[outside] = 0.0
    z[:, 7] = np.where(outside, 1.0, -0.5)
    z += chance.normal(0, 0.1, z.shape)
    found = calibration.fit(z, truth, WITH_NONE, multi=False, fallback="none")
    assert found.out_of_scope is None
    p = found.reading(WITH_NONE, multi=False).probabilities(z)
    assert (p.argmax(axis=1) == truth.argmax(axis=1)).all()


def test_more_evidence_never_speaks_for_none() -> None:
    # Out-of-scope rows with the largest logits of all, and nothing else to go by.
    z, truth, outside = with_outside(300, 100)
    z[outside] += 30
    found = calibration.fit(z, truth, WITH_NONE, multi=False, fallback="none")
    if found.out_of_scope is not None:
        assert found.out_of_scope.energy >= 0
        assert found.out_of_scope.margin >= 0


def several(n: int, seed: int = 0) -> tuple[Logits, Truth]:
    """Six intents; the last two are rare, and their logits are 1.5 too low."""
    chance = np.random.default_rng(seed)
    z = chance.normal(-1.5, 2.5, (n, 6))
    z[:, 4:] -= 1.5
    truth = chance.random((n, 6)) < 1 / (1 + np.exp(-z))
    z[:, 4:] -= 1.5
    return z, truth


def test_thresholds_of_several_intents() -> None:
    z, truth = several(600)
    labels = LABELS[:6]
    found = calibration.fit(z, truth, labels, multi=True, fallback=None)
    assert found.thresholds.keys() == set(labels)
    assert all(0 < t < 1 for t in found.thresholds.values())
    assert max(found.thresholds["i4"], found.thresholds["i5"]) < min(
        found.thresholds[code] for code in labels[:4]
    )
    assert found.report["micro_f1_after"] >= found.report["micro_f1_before"]
    new, meant = several(3000, seed=1)
    before, after = (
        _chosen(reading, new)
        for reading in (Reading(labels, True), found.reading(labels, multi=True))
    )
    assert metrics.micro_f1(meant, after) > metrics.micro_f1(meant, before) + 0.01
    rare = slice(4, 6)
    assert metrics.macro_f1(meant[:, rare], after[:, rare]) > metrics.macro_f1(
        meant[:, rare], before[:, rare]
    )


def test_an_intent_with_one_row_has_nearly_the_threshold_of_all() -> None:
    z, truth = several(400)
    truth[:, 5] = False
    truth[7, 5] = True
    z[:, 5] = -12.0
    z[7, 5] = -3.0  # by this row alone, 0.03 would be the threshold
    found = calibration.fit(z, truth, LABELS[:6], multi=True, fallback=None)
    common = [found.thresholds[code] for code in LABELS[:4]]
    assert found.thresholds["i5"] == pytest.approx(np.mean(common), abs=0.12)


def test_nothing_that_calibration_says_is_not_a_number() -> None:
    for size in (1e-6, 1e6):
        z, truth, _outside = with_outside(200, 40)
        found = calibration.fit(
            z * size, truth, WITH_NONE, multi=False, fallback="none"
        )
        p = found.reading(WITH_NONE, multi=False).probabilities(z * size * 100)
        assert np.isfinite(p).all()
        z, truth = several(200)
        found = calibration.fit(z * size, truth, LABELS[:6], multi=True, fallback=None)
        assert np.isfinite([found.temperature, *found.thresholds.values()]).all()
    z[0, 0] = np.nan
    broken = calibration.fit(z, truth, LABELS[:6], multi=True, fallback=None)
    assert broken.temperature == 1.0


def _chosen(reading: Reading, z: Logits) -> Truth:
    columns = reading.under(lambda code: code)
    return columns.choose(reading.probabilities(z), accept=0.0, fallback=None)
