"""Classification metrics in plain numpy."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from training.ml.interface import Epoch

Bools = npt.NDArray[np.bool_]


def answers(logits: npt.NDArray[np.floating], *, multi: bool) -> Bools:
    """Turn logits (N, C) into yes / no for each intent, bool (N, C).

    Single-intent: the largest. Multi-intent: all with probability above one half.
    """
    if multi:
        return np.asarray(logits > 0.0)
    chosen = np.zeros(logits.shape, bool)
    chosen[np.arange(len(logits)), logits.argmax(axis=1)] = True
    return chosen


def accuracy(truth: Bools, chosen: Bools) -> float:
    """Share of rows (N, C) on which every intent is right; 0.0 for no rows."""
    return float((truth == chosen).all(axis=1).mean()) if len(truth) else 0.0


def macro_f1(truth: Bools, chosen: Bools) -> float:
    """Unweighted mean F1 of the intents that occur in `truth` (N, C); 0.0 if none."""
    hits = (truth & chosen).sum(axis=0)  # (C,)
    wanted, given = truth.sum(axis=0), chosen.sum(axis=0)  # (C,)
    occurs = wanted > 0
    if not occurs.any():
        return 0.0
    return float((2 * hits[occurs] / (wanted + given)[occurs]).mean())


def is_better(line: Epoch, best: Epoch | None, *, rows: int, is_last: bool) -> bool:
    """Whether a pass's weights are kept rather than the best ones so far.

    The last pass ends at the smallest learning rate: it is kept unless an earlier one
    is ahead by more than one standard error on so many `rows`. By macro-F1 alone a rare
    intent's single question would decide, and cost a point of accuracy.

    Args:
        line: the pass.
        best: the best one so far, if there is one.
        rows: validation rows.
        is_last: whether all steps are done; not where training stops early.
    """
    if best is None or best.macro_f1 is None or line.macro_f1 is None:
        return True
    if not is_last:
        return line.macro_f1 > best.macro_f1
    ahead = best.macro_f1 - line.macro_f1
    return ahead <= math.sqrt(best.macro_f1 * (1.0 - best.macro_f1) / rows)
