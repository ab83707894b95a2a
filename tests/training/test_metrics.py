"""Metrics against scikit-learn, and where scikit-learn has none, against arithmetic."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.metrics import (
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
    roc_auc_score,
)

from training.statistics import metrics

CLASSES = 7


def one_hot(values: np.ndarray) -> np.ndarray:
    return np.eye(CLASSES, dtype=bool)[values]


@pytest.fixture
def random() -> np.random.Generator:
    return np.random.default_rng(7)


@pytest.mark.parametrize("n", [3, 40, 500])
def test_single_intent_scores_are_scikit_learns(
    random: np.random.Generator, n: int
) -> None:
    truth = random.integers(0, CLASSES, n)
    chosen = np.where(random.random(n) < 0.6, truth, random.integers(0, CLASSES, n))
    precision, recall, f1 = metrics.precision_recall_f1(one_hot(truth), one_hot(chosen))
    wanted = precision_recall_fscore_support(
        truth, chosen, labels=range(CLASSES), zero_division=0
    )
    np.testing.assert_allclose(precision, wanted[0])
    np.testing.assert_allclose(recall, wanted[1])
    np.testing.assert_allclose(f1, wanted[2])
    assert metrics.macro_f1(one_hot(truth), one_hot(chosen)) == pytest.approx(
        f1_score(
            truth, chosen, labels=np.unique(truth), average="macro", zero_division=0
        )
    )
    assert metrics.exact_match(one_hot(truth), one_hot(chosen)) == pytest.approx(
        (truth == chosen).mean()
    )


def test_an_intent_without_a_question_is_no_part_of_the_mean() -> None:
    truth, chosen = one_hot(np.array([0, 0, 1])), one_hot(np.array([0, 2, 1]))
    assert metrics.macro_f1(truth, chosen) == pytest.approx((2 / 3 + 1) / 2)


def test_multi_intent_scores_are_scikit_learns(random: np.random.Generator) -> None:
    truth = random.random((200, CLASSES)) < 0.3
    chosen = truth ^ (random.random((200, CLASSES)) < 0.1)
    assert metrics.micro_f1(truth, chosen) == pytest.approx(
        f1_score(truth, chosen, average="micro")
    )
    assert metrics.macro_f1(truth, chosen) == pytest.approx(
        f1_score(truth, chosen, average="macro")
    )


def test_auroc_counts_ties_half(random: np.random.Generator) -> None:
    positive = random.random(300) < 0.3
    scores = np.round(random.random(300) + 0.4 * positive, 1)
    got = metrics.auroc(scores, positive)
    assert got == pytest.approx(roc_auc_score(positive, scores))
    assert metrics.auroc(scores, np.zeros(300, bool)) is None


def test_calibration_error_of_known_bins() -> None:
    # Nine in ten right at 0.9: no error. Half right at 0.9: an error of 0.4.
    confidence = np.full(10, 0.9)
    right = np.arange(10) < 9
    assert metrics.calibration(confidence, right)["ece"] == pytest.approx(0.0)
    half = metrics.calibration(confidence, np.arange(10) < 5)
    assert half["ece"] == pytest.approx(0.4)
    assert [(b["n"], b["accuracy"]) for b in half["bins"]] == [(10, 0.5)]
    assert metrics.calibration(np.zeros(0), np.zeros(0, bool))["ece"] is None
    assert metrics.calibration(np.ones(2), np.ones(2, bool))["ece"] == 0.0


def test_confused_pairs_come_most_frequent_first() -> None:
    truth = one_hot(np.array([0, 0, 0, 1, 2, 3]))
    chosen = one_hot(np.array([1, 1, 0, 2, 2, 4]))
    assert metrics.confused_pairs(truth, chosen, limit=2) == [(0, 1, 2), (1, 2, 1)]


def test_mcnemar_is_the_exact_binomial_test() -> None:
    before = np.array([True] * 60 + [False] * 40)
    after = np.array([True] * 45 + [False] * 15 + [True] * 4 + [False] * 36)
    wanted = binomtest(4, 19, 0.5)
    assert metrics.mcnemar_p(before, after) == pytest.approx(wanted.pvalue)
    one_sided = binomtest(4, 19, 0.5, alternative="less")
    assert metrics.loss_p(before, after) == pytest.approx(one_sided.pvalue)
    assert metrics.mcnemar_p(before, before) == 1.0


def test_example_f1_is_the_mean_over_rows() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], bool)
    chosen = np.array([[1, 0, 0], [1, 0, 1], [0, 0, 0], [0, 0, 0]], bool)
    wanted = f1_score(truth, chosen, average="samples", zero_division=1.0)
    assert metrics.example_f1(truth, chosen) == pytest.approx(wanted)


def test_confusion_cells_are_sklearns(random: np.random.Generator) -> None:
    values, given = random.integers(0, CLASSES, (2, 300))
    table = confusion_matrix(values, given, labels=range(CLASSES))
    wanted = [[int(a), int(b), int(table[a, b])] for a, b in np.argwhere(table)]
    found = metrics.confusion_cells(one_hot(values), one_hot(given))
    assert [list(cell) for cell in found] == wanted


def test_confusion_of_sets_names_no_intent_by_a_column_more() -> None:
    truth = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 1]], bool)
    chosen = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 0], [0, 0, 1]], bool)
    assert metrics.confusion_cells(truth, chosen) == [
        (0, 0, 1),  # the first row's hit
        (0, 1, 1),
        (1, 3, 1),  # the first row's second intent was missed
        (2, 2, 1),
        (3, 3, 1),  # no intent, rightly
    ]


def test_nothing_is_measured_on_no_rows() -> None:
    none = np.zeros((0, CLASSES), bool)
    assert metrics.exact_match(none, none) == 0.0
    assert metrics.macro_f1(none, none) == 0.0
    assert metrics.micro_f1(none, none) == 0.0
    assert metrics.confused_pairs(none, none, limit=5) == []
