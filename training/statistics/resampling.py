"""How far chance alone could move a measure: bootstrap draws of the questions.

Rows that were asked and answered alike are one pattern with a count: a multinomial draw
of the patterns by their counts is the same as drawing the rows with replacement, and
there are a few hundred patterns however many rows there are.

Source: Efron and Tibshirani 1993, percentile intervals.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from training.statistics.metrics import CALIBRATION_BINS, Bools

Floats = npt.NDArray[np.float64]

ROUNDS = 1000
"""Draws; fewer where they would take longer than a few seconds."""
FEWEST_ROUNDS = 200
SEED = 13
_MOST_PRODUCTS = 2e10
"""Multiplications that all draws of one table may cost, some 2 s on one core."""
_MOST_WEIGHTS = 4_000_000
"""Weights that are drawn at once, 32 MB."""


class Draws:
    """Bootstrap draws over the rows of some tables.

    Args of the measures below are tables of `self.tables`, or made of them row by row;
    they return one value a draw, float64 (R,), NaN where a draw has no row for it.
    """

    def __init__(self, *tables: Bools, seed: int = SEED) -> None:
        """Collapses the rows and draws.

        Args:
            *tables: bool (N, C) each: what the same N rows are and were answered.
            seed: Of the draws: the same rows give the same intervals.

        Cost: about 0.2 s for 5,500 rows of 150 intents.
        """
        n, width = tables[0].shape
        # A column more: without any, there would be no bytes to tell rows apart by.
        alike = np.ones((n, 1), bool)
        packed = np.packbits(np.concatenate([alike, *tables], axis=1), axis=1)
        _values, first, counts = np.unique(
            packed.view(f"V{packed.shape[1]}").ravel(),
            return_index=True,
            return_counts=True,
        )
        self.tables = [table[first] for table in tables]
        self.counts = counts
        self.rounds = int(
            np.clip(_MOST_PRODUCTS / max(1, len(counts) * width), FEWEST_ROUNDS, ROUNDS)
        )
        generator = np.random.default_rng(seed)
        self.weights = generator.multinomial(
            n, counts / max(1, n), size=self.rounds
        ).astype(np.float32)  # (R, P)

    def share(self, hit: Bools, *, among: Bools | None = None) -> Floats:
        """Share of rows (of those `among`) that are a hit, both bool (P,)."""
        member = np.ones(len(hit), bool) if among is None else among
        return _divided(
            self.weights @ (hit & member).astype(np.float32),
            self.weights @ member.astype(np.float32),
        )

    def f1(self, truth: Bools, chosen: Bools) -> Floats:
        """F1 of each intent, float64 (R, C)."""
        hits, total, _wanted = self._sums(truth, chosen)
        return _divided(2 * hits, total)

    def macro_f1(self, truth: Bools, chosen: Bools) -> Floats:
        """As `metrics.macro_f1`: of the intents that occur in a draw."""
        hits, total, wanted = self._sums(truth, chosen)
        occurs = wanted > 0
        f1 = np.where(occurs, 2 * hits / np.maximum(total, 1), 0.0)
        return _divided(f1.sum(axis=1), occurs.sum(axis=1))

    def micro_f1(self, truth: Bools, chosen: Bools) -> Floats:
        """F1 of all decisions together."""
        hits, total, _wanted = self._sums(truth, chosen)
        return _divided(2 * hits.sum(axis=1), total.sum(axis=1))

    def _sums(self, truth: Bools, chosen: Bools) -> tuple[Any, Any, Any]:
        """Hits, wanted plus given, and wanted of each intent, (R, C) each."""
        wanted = self.weights @ truth.astype(np.float32)
        total = wanted + self.weights @ chosen.astype(np.float32)
        return self.weights @ (truth & chosen).astype(np.float32), total, wanted


def interval(values: Floats) -> list[float] | None:
    """The 95 % interval [low, high] of draws (R,); None where no draw has a value."""
    known = values[~np.isnan(values)]
    if not len(known):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return [float(low), float(high)]


def intervals(values: Floats) -> list[list[float] | None]:
    """The interval of each column of draws (R, C)."""
    return [interval(column) for column in values.T]


def stated(
    row: npt.NDArray[np.int_], confidence: Floats, correct: Bools, *, n: int
) -> npt.NDArray[np.float32]:
    """What the draws of a calibration error need to know of each row.

    Args:
        row: (D,): the row of each decision.
        confidence: (D,): as stated.
        correct: bool (D,).
        n: Rows.

    Returns:
        (N, 2 B): of each row and bin, stated less right, and how many decisions.
    """
    bins = CALIBRATION_BINS
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    table = np.zeros((n, 2 * bins), np.float32)
    np.add.at(table, (row, index), confidence - correct)
    np.add.at(table, (row, bins + index), 1.0)
    return table


def ece_difference(
    before: npt.NDArray[np.float32],
    after: npt.NDArray[np.float32],
    *,
    rounds: int = 500,
    seed: int = SEED,
) -> list[float] | None:
    """95 % interval of the calibration error's change, by a paired bootstrap.

    Args:
        before: Of the first version, from `stated`.
        after: Of the second, on the same rows.
        rounds: Draws.
        seed: Of the draws.
    """
    n = len(before)
    if not n:
        return None
    generator = np.random.default_rng(seed)
    at_once = max(1, _MOST_WEIGHTS // n)
    parts = []
    for start in range(0, rounds, at_once):
        size = min(at_once, rounds - start)
        weights = generator.multinomial(n, np.full(n, 1 / n), size=size).astype(
            np.float32
        )
        parts.append(_ece(weights @ after) - _ece(weights @ before))
    return interval(np.concatenate(parts))


def _ece(sums: npt.NDArray[np.float32]) -> Floats:
    gaps, counts = np.split(sums, 2, axis=1)
    return _divided(np.abs(gaps).sum(axis=1), counts.sum(axis=1))


def _divided(part: Any, whole: Any) -> Floats:
    """NaN where there is nothing to divide by."""
    whole = np.asarray(whole, np.float64)
    return np.where(whole > 0, part / np.maximum(whole, 1e-12), np.nan)
