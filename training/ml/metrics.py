"""Classification metrics in plain numpy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

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
