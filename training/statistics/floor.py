"""The floor: what counting words gets right, without any neural network.

TF-IDF of words and of characters within words, and logistic regression on top, trained
on the same dataset as the version that it stands beside. A version that is no better
has learned nothing that was worth its training.

scikit-learn's own solvers can't be stopped; here the loss is asked for once a step, and
whoever waits may stop the training there. The result is the same: L2-regularised
logistic regression, multinomial or one intent against the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from training.ml.interface import Example

Floats = npt.NDArray[np.floating[Any]]

C = 10.0
"""Inverse strength of the regularisation, as scikit-learn names it."""

STEPS = 20
"""Of the optimisation; more gain less than half a point."""

BUDGET_S = 40.0
"""Of one core's work, whoever else wants the core; after so long the training ends with
what it has."""

MAX_WEIGHTS = 2_000_000
"""Features times intents: the optimiser keeps a dozen copies, 8 bytes a weight."""

MAX_ROWS = 50_000
"""Rows that are trained on; of more, every second or third one."""

NAME = "TF-IDF + logistic regression"

_MEMORY = 5
_ROWS_AT_ONCE = 4096


def _nothing() -> None:
    """Nobody waits."""


@dataclass(frozen=True)
class Floor:
    """A trained floor."""

    labels: tuple[str, ...]
    """Intents that occur in its rows, in the order of its logits."""
    seconds: float
    """That its training took."""
    steps: int
    """That the optimisation took; `STEPS` at most."""
    _features: Any
    _weights: npt.NDArray[np.float32]
    """(F + 1, C): the last row is the bias."""

    def logits(self, texts: Sequence[str]) -> Floats:
        """Of each text and intent, float32 (N, C). About 1 s for 5,500 short texts."""
        parts = [
            _times(self._features.transform(part), self._weights)
            for part in (
                list(texts[start : start + _ROWS_AT_ONCE])
                for start in range(0, len(texts), _ROWS_AT_ONCE)
            )
        ]
        empty = np.zeros((0, len(self.labels)), np.float32)
        return np.concatenate([empty, *parts])


def train(
    rows: Sequence[Example],
    *,
    multi: bool,
    check: Callable[[], None] = _nothing,
    budget_s: float = BUDGET_S,
) -> Floor | None:
    """Trains a floor.

    Args:
        rows: Labelled questions, the training split.
        multi: Whether a question may have several intents.
        check: Called at least once a second of one core's work; may raise to end it.
        budget_s: Seconds of one core's work after which the optimisation ends.

    Returns:
        None where the rows have fewer than two intents.

    Cost: about 10 s of one core for 15,000 short questions of 150 intents, below 0.5 s
    for a hundred questions.
    """
    started, worked = time.monotonic(), time.thread_time()
    rows = rows[:: max(1, -(-len(rows) // MAX_ROWS))]
    labels = sorted({label for row in rows for label in row.labels})
    if len(labels) < 2:
        return None
    texts = [row.text for row in rows]
    features = _features(max_features=max(2000, MAX_WEIGHTS // len(labels) // 2))
    check()
    try:
        x = features.fit_transform(texts)
    except ValueError:  # no text has a word or a character that counts
        return None
    check()
    wanted = np.zeros((len(rows), len(labels)), np.float32)
    column = {label: index for index, label in enumerate(labels)}
    for n, row in enumerate(rows):
        wanted[n, [column[label] for label in row.labels]] = 1.0
    weights, steps = _fit(
        x, wanted, multi=multi, check=check, ends_at=worked + budget_s
    )
    return Floor(tuple(labels), time.monotonic() - started, steps, features, weights)


def _features(*, max_features: int) -> Any:
    """TF-IDF of words and pairs of words, and of 1 to 4 characters within words.

    Chinese has no spaces: there, the characters do it all.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union

    shared = {"sublinear_tf": True, "max_features": max_features, "dtype": np.float32}
    words = {"ngram_range": (1, 2), "token_pattern": r"(?u)\w+"}
    return make_union(
        TfidfVectorizer(**words, **shared),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(1, 4), **shared),
    )


def _fit(
    x: Any,
    wanted: npt.NDArray[np.float32],
    *,
    multi: bool,
    check: Callable[[], None],
    ends_at: float,
) -> tuple[npt.NDArray[np.float32], int]:
    """Weights (F + 1, C) that make the rows likely, and the steps that it took.

    Args:
        x: Sparse float32 (N, F).
        wanted: float32 (N, C), 0 or 1.
        ends_at: By the clock of this thread's own work.
    """
    from scipy.optimize import minimize

    shape = (x.shape[1] + 1, wanted.shape[1])
    transposed = x.T.tocsr()
    likelihood = _one_of_many if not multi else _each_alone

    def loss(flat: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        check()
        weights = flat.reshape(shape).astype(np.float32)
        value, slope = likelihood(_times(x, weights), wanted)  # slope: (N, C)
        gradient = np.empty(shape)
        gradient[:-1] = transposed @ slope
        gradient[-1] = slope.sum(axis=0)
        gradient[:-1] += weights[:-1] / C
        return value + float((weights[:-1] ** 2).sum()) / (2 * C), gradient.ravel()

    def after_each_step(_weights: npt.NDArray[np.float64]) -> None:
        if time.thread_time() > ends_at:
            raise StopIteration

    found = minimize(
        loss,
        np.zeros(shape).ravel(),
        jac=True,
        method="L-BFGS-B",
        callback=after_each_step,
        options={"maxiter": STEPS, "maxcor": _MEMORY},
    )
    return found.x.reshape(shape).astype(np.float32), int(found.nit)


def _times(x: Any, weights: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Logits (N, C) of sparse features (N, F)."""
    return np.asarray(x @ weights[:-1] + weights[-1], np.float32)


def _one_of_many(
    logits: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
) -> tuple[float, npt.NDArray[np.float32]]:
    """Negative log-likelihood of a softmax, and its slope (N, C)."""
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    total = p.sum(axis=1, keepdims=True)
    value = np.log(total).sum(dtype=np.float64) - (wanted * logits).sum(
        dtype=np.float64
    )
    p /= total
    p -= wanted
    return float(value), p


def _each_alone(
    logits: npt.NDArray[np.float32], wanted: npt.NDArray[np.float32]
) -> tuple[float, npt.NDArray[np.float32]]:
    """The same of a sigmoid for each intent."""
    value = np.logaddexp(0.0, logits).sum(dtype=np.float64) - (wanted * logits).sum(
        dtype=np.float64
    )
    p = 1.0 / (1.0 + np.exp(-logits.clip(-60, 60)))
    p -= wanted
    return float(value), p
