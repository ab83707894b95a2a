"""What answers are worth: pure functions on numpy arrays.

Rows are questions, columns intents. `truth` and `chosen` are bool (N, C): which intents
a question has and which it was given. A single-intent question has one of each.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.floating[Any]]

CALIBRATION_BINS = 15


def largest(scores: Floats) -> Bools:
    """The largest score of each row, bool (N, C); the first of equals."""
    chosen = np.zeros(scores.shape, bool)
    if len(scores):
        chosen[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return chosen


def exact_match(truth: Bools, chosen: Bools) -> float:
    """Share of rows on which every intent is right; 0.0 for no rows."""
    return float((truth == chosen).all(axis=1).mean()) if len(truth) else 0.0


def precision_recall_f1(
    truth: Bools, chosen: Bools
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Precision, recall and F1 of each intent, float64 (C,); 0.0 where undefined."""
    hits = (truth & chosen).sum(axis=0)
    wanted, given = truth.sum(axis=0), chosen.sum(axis=0)
    return (
        _ratio(hits, given),
        _ratio(hits, wanted),
        _ratio(2 * hits, wanted + given),
    )


def macro_f1(truth: Bools, chosen: Bools) -> float:
    """Unweighted mean F1 of the intents that occur in `truth`; 0.0 if none does.

    An intent without a test question has no recall to speak of; counting it as 0 would
    punish a version for what was never asked of it. Wrong answers that name it still
    cost the intents that they were taken from.
    """
    occurs = truth.any(axis=0)
    if not occurs.any():
        return 0.0
    return float(precision_recall_f1(truth, chosen)[2][occurs].mean())


def micro_f1(truth: Bools, chosen: Bools) -> float:
    """F1 of all decisions (row, intent) together; 0.0 without any."""
    hits = int((truth & chosen).sum())
    total = int(truth.sum()) + int(chosen.sum())
    return 2 * hits / total if total else 0.0


def example_f1(truth: Bools, chosen: Bools) -> float:
    """Mean over rows of the F1 of each row's intents; 1.0 where none is right.

    Source: Godbole and Sarawagi 2004, example-based F1.
    """
    if not len(truth):
        return 0.0
    hits = (truth & chosen).sum(axis=1)
    total = truth.sum(axis=1) + chosen.sum(axis=1)
    return float(np.where(total > 0, 2 * hits / np.maximum(total, 1), 1.0).mean())


def confusion_cells(truth: Bools, chosen: Bools) -> list[tuple[int, int, int]]:
    """All cells of the confusion matrix that hold rows: (right, answered, rows).

    A hit lies on the diagonal. What was missed is paired with all that was given
    wrongly; where one side is empty, column C stands for no intent at all.
    """
    missed, invented = truth & ~chosen, chosen & ~truth
    right = np.concatenate([missed, ~missed.any(axis=1, keepdims=True)], axis=1)
    answered = np.concatenate([invented, ~invented.any(axis=1, keepdims=True)], axis=1)
    table = _counts(right, answered)  # (C + 1, C + 1)
    # No intent against no intent: rows without a mistake. Those that have none lie
    # there, the others on the diagonal.
    table[-1, -1] = int((~truth.any(axis=1) & ~chosen.any(axis=1)).sum())
    table[:-1, :-1] += np.diag((truth & chosen).sum(axis=0))
    return [(int(a), int(b), int(table[a, b])) for a, b in np.argwhere(table)]


def auroc(scores: Floats, positive: Bools) -> float | None:
    """Chance that a positive row scores above a negative one; ties count half.

    Args:
        scores: (N,), higher means more likely positive.
        positive: bool (N,).

    Returns:
        None if one of the two sides is empty.

    Source: Mann-Whitney U, Hanley and McNeil 1982.
    """
    positives = int(positive.sum())
    negatives = len(positive) - positives
    if not positives or not negatives:
        return None
    _values, inverse, counts = np.unique(
        scores, return_inverse=True, return_counts=True
    )
    # Mean rank of each group of equal scores, counted from 1.
    ranks = np.cumsum(counts) - (counts - 1) / 2
    rank_sum = float(ranks[inverse][positive].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def calibration(
    confidence: Floats, correct: Bools, *, bins: int = CALIBRATION_BINS
) -> dict[str, Any]:
    """How far stated confidence is from the share that is right.

    Args:
        confidence: (N,), 0 to 1.
        correct: bool (N,).
        bins: equally wide ones.

    Returns:
        `ece`, and `bins`: {low, high, n, confidence, accuracy} of each that is not
        empty.

    Source: expected calibration error, Guo et al. 2017, equation 3.
    """
    index = np.minimum((np.asarray(confidence) * bins).astype(int), bins - 1)
    filled, ece = [], 0.0
    for b in range(bins):
        member = index == b
        n = int(member.sum())
        if not n:
            continue
        mean_confidence = float(confidence[member].mean())
        accuracy = float(correct[member].mean())
        ece += n / len(index) * abs(mean_confidence - accuracy)
        filled.append(
            {
                "low": b / bins,
                "high": (b + 1) / bins,
                "n": n,
                "confidence": mean_confidence,
                "accuracy": accuracy,
            }
        )
    return {"ece": ece if len(index) else None, "bins": filled}


def confused_pairs(
    truth: Bools, chosen: Bools, *, limit: int
) -> list[tuple[int, int, int]]:
    """The commonest mistakes: (column meant, column answered, rows), most first.

    A pair counts once for each row where the first was missed and the second given
    wrongly.
    """
    missed, invented = truth & ~chosen, chosen & ~truth
    table = _counts(missed, invented)  # (C, C)
    order = np.argsort(-table, axis=None, kind="stable")[:limit]
    pairs = (np.unravel_index(flat, table.shape) for flat in order)
    return [(int(a), int(b), int(table[a, b])) for a, b in pairs if table[a, b]]


def mcnemar_p(before: Bools, after: Bools) -> float:
    """Two-sided exact McNemar test on paired right / wrong answers, bool (N,).

    Source: McNemar 1947; the exact form is a binomial test of the discordant pairs.
    """
    broken = int((before & ~after).sum())
    fixed = int((~before & after).sum())
    n, fewer = broken + fixed, min(broken, fixed)
    return min(1.0, 2 * _binomial_tail(fewer, n)) if n else 1.0


def loss_p(before: Bools, after: Bools) -> float:
    """One-sided exact sign test: chance of so many losses if nothing had changed."""
    broken = int((before & ~after).sum())
    fixed = int((~before & after).sum())
    return _binomial_tail(fixed, broken + fixed) if broken + fixed else 1.0


def _binomial_tail(k: int, n: int) -> float:
    """P(X <= k) of n fair coin tosses."""
    log_half = n * math.log(0.5)
    log_n = math.lgamma(n + 1)
    return min(
        1.0,
        sum(
            math.exp(log_n - math.lgamma(i + 1) - math.lgamma(n - i + 1) + log_half)
            for i in range(k + 1)
        ),
    )


def _counts(left: Bools, right: Bools) -> npt.NDArray[np.int64]:
    """Rows in which both columns hold, (A, B); exact, and fast as floats are."""
    product = left.T.astype(np.float64) @ right.astype(np.float64)
    return product.astype(np.int64)


def _ratio(
    part: npt.NDArray[np.int_], whole: npt.NDArray[np.int_]
) -> npt.NDArray[np.float64]:
    return np.where(whole > 0, part / np.maximum(whole, 1), 0.0)
