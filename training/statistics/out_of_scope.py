"""How likely a question is none of a version's intents: found on validation rows."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from registry.onnx.reading import Bools, Floats, OutOfScope, log_sum_exp
from training.statistics import metrics

MIN_LABELLED = 20
"""Out-of-scope validation rows below which only the in-scope ones are gone by."""

ASSUMED_SHARE = 0.1
"""Share of questions that are taken to be out of scope, whatever was collected."""

MAX_LOST = 0.01
"""Share of right in-scope answers that are given up where no out-of-scope rows say
what that is worth."""


class Source(StrEnum):
    """What a score was found on."""

    LABELLED = "labelled"
    IN_SCOPE_ONLY = "in_scope_only"


def source(outside: Bools) -> Source:
    """What there is to find a score on; `outside` says which rows (N,) are."""
    enough = outside.sum() >= MIN_LABELLED
    return Source.LABELLED if enough else Source.IN_SCOPE_ONLY


def fit(
    z: Floats,
    truth: Bools,
    *,
    own: Bools,
    code: str,
    temperature: float,
    source: Source,
) -> OutOfScope:
    """The score with which the best is answered.

    With labelled rows: energy and margin by logistic regression, then the bias of the
    largest F1. Without: energy alone, or both in equal parts where the model has an
    output for the intent; then the bias that costs `MAX_LOST` of the right answers.

    Args:
        z: Logits (N, C).
        truth: bool (N, C); rows without an in-scope intent are out of scope.
        own: bool (C,): the output of the out-of-scope intent, if the model has one.
        code: The out-of-scope intent.
        temperature: Of the in-scope probabilities, which it competes with.
        source: What to go by.
    """
    outside = is_outside(truth, own)
    inside = z[:, ~own]
    lse = log_sum_exp(inside)
    margin = z[:, own].sum(axis=1) - lse if own.any() else np.zeros(len(z))
    features = np.stack([-lse, margin], axis=1)  # (N, 2)
    if source == Source.LABELLED:
        weights = _regression(features, outside, has_margin=bool(own.any()))
    else:
        weights = np.array([0.5, 0.5] if own.any() else [1.0, 0.0])
    # The intent is answered where it is likelier than the likeliest in-scope one:
    # where this and the bias are above zero.
    surest = inside.max(axis=1) / temperature - log_sum_exp(inside / temperature)
    level = features @ weights - surest  # (N,)
    if source == Source.LABELLED:
        cut = _best_cut(level, outside)
    else:
        right = ~outside & truth[:, ~own][np.arange(len(z)), inside.argmax(axis=1)]
        cut = float(
            np.quantile(level[right if right.any() else ~outside], 1 - MAX_LOST)
        )
    return OutOfScope(
        code,
        energy=round(float(weights[0]), 6),
        margin=round(float(weights[1]), 6),
        bias=round(-cut, 6),
    )


def is_outside(truth: Bools, own: Bools) -> Bools:
    """Which rows (N,) have no in-scope intent."""
    return np.asarray(~truth[:, ~own].any(axis=1), bool)


def measure(
    p: Floats, codes: tuple[str, ...], truth: Bools, *, own: Bools, code: str
) -> dict[str, Any]:
    """How well probabilities tell what is out of scope, ready for JSON.

    Args:
        p: (N, len(codes)).
        codes: What the columns of `p` are of.
        truth: bool (N, C) of the model's labels.
        own: bool (C,): see `fit`.
        code: The out-of-scope intent.

    Returns:
        n; f1 (rows weighted to `ASSUMED_SHARE`) and auroc, None without such rows;
        lost: the share of right in-scope answers that it costs.
    """
    outside = is_outside(truth, own)
    column = codes.index(code)
    called = p.argmax(axis=1) == column
    inside = np.flatnonzero([one != code for one in codes])
    best = p[:, inside].argmax(axis=1)
    right = ~outside & truth[:, ~own][np.arange(len(p)), best]
    return {
        "n": int(outside.sum()),
        "f1": weighted_f1(called, outside) if outside.any() else None,
        "auroc": metrics.auroc(p[:, column], outside),
        "lost": float(called[right].mean()) if right.any() else None,
    }


def weighted_f1(called: Bools, outside: Bools) -> float:
    """F1 of `called`, were `ASSUMED_SHARE` of the rows out of scope."""
    w = _row_weights(outside)
    total = float(w[outside].sum() + w[called].sum())
    return 2 * float(w[called & outside].sum()) / total if total else 0.0


def _row_weights(outside: Bools) -> Floats:
    share = outside.mean()
    weights = np.where(
        outside,
        ASSUMED_SHARE / max(share, 1e-12),
        (1 - ASSUMED_SHARE) / max(1 - share, 1e-12),
    )
    return np.asarray(weights, np.float64)


def _regression(features: Floats, outside: Bools, *, has_margin: bool) -> Floats:
    """Weights (2,) of energy and margin, none below zero."""
    from sklearn.linear_model import LogisticRegression

    used = [0, 1] if has_margin else [0]
    while used:
        x = features[:, used]
        scale = np.maximum(x.std(axis=0), 1e-9)
        model = LogisticRegression(C=1.0, max_iter=1000)
        model.fit((x - x.mean(axis=0)) / scale, outside, _row_weights(outside))
        weights = model.coef_[0] / scale
        if (weights >= 0).all():
            found = np.zeros(2)
            found[used] = weights
            return found
        # More evidence for some intent must never speak for none of them.
        del used[int(weights.argmin())]
    return np.array([1.0, 0.0])


def _best_cut(level: Floats, outside: Bools) -> float:
    """The cut above which calling rows out of scope has the largest F1."""
    order = np.argsort(-level, kind="stable")
    weights = _row_weights(outside)[order]
    hits = np.cumsum(weights * outside[order])
    f1: npt.NDArray[np.float64] = (
        2 * hits / (weights[outside[order]].sum() + np.cumsum(weights))
    )
    best = int(f1.argmax())
    below = min(best + 1, len(level) - 1)
    return float(level[order[best]] + level[order[below]]) / 2
