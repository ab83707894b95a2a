"""How far annotators agree beyond chance: alpha, kappa, and how sure both are.

Pure maths over arrays. A verdict's value is a set of intents: in a project with one
intent a question its only member. Questions that a person skipped are missing data.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from labeling.rules.wilson import Z_95, Interval, wilson

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_SHARED = 10
"""Questions judged by several people below which nothing is said."""
SEED = 20
REPLICATES = 500
"""Resamples of a bootstrap: the ends of a 95 % interval move by 1 % of its width."""


class Undefined(StrEnum):
    """Why there is no figure."""

    ONE_RATER = "one_rater"
    """Fewer than two people labelled anything."""
    TOO_FEW = "too_few"
    """Fewer shared questions than are asked for."""
    ONE_CATEGORY = "one_category"
    """Only one value was ever given: chance alone would agree as often."""


class Distance(StrEnum):
    """How different two verdicts are, from 0 to 1."""

    NOMINAL = "nominal"
    """0 if equal, else 1."""
    MASI = "masi"
    """For sets: 1 - Jaccard index x (1 equal, 2/3 subset, 1/3 overlap, 0 disjoint).

    Chosen over the Jaccard distance alone: who names one intent less than the other is
    closer to them than two who each name one that the other does not see.

    Source: R. Passonneau, "Measuring Agreement on Set-valued Items (MASI) for Semantic
        and Pragmatic Annotation", LREC 2006.
    """


@dataclass(frozen=True)
class Agreement:
    """A chance-corrected figure: 1 is full agreement, 0 what chance gives."""

    n: int
    """Questions that both, or at least two, people labelled."""
    value: float | None = None
    low: float | None = None
    high: float | None = None
    """Ends of the 95 % interval."""
    observed: float | None = None
    """Agreement not corrected for chance, 0 to 1."""
    undefined: Undefined | None = None
    """Why there is no value."""


@dataclass(frozen=True)
class Pair:
    """How two people agree."""

    a: int
    b: int
    kappa: Agreement


@dataclass(frozen=True)
class Ratings:
    """Verdicts as parallel arrays (N,), sorted by unit, with what the values mean."""

    units: Ints
    raters: Ints
    values: Ints
    """Positions in `sets`."""
    sets: tuple[frozenset[int], ...]

    @classmethod
    def of(cls, rows: Iterable[tuple[int, int, Iterable[int]]]) -> "Ratings":
        """From (unit, rater, the categories of the verdict), in any order.

        At most one row a unit and rater.
        """
        known: dict[frozenset[int], int] = {}
        numbers = [
            (unit, rater, known.setdefault(frozenset(labels), len(known)))
            for unit, rater, labels in rows
        ]
        table = np.array(numbers, dtype=np.int64).reshape(-1, 3)
        table = table[np.lexsort((table[:, 1], table[:, 0]))]
        return cls(table[:, 0], table[:, 1], table[:, 2], tuple(known))

    @cached_property
    def shared(self) -> "Ratings":
        """Those of units with at least two verdicts; units renumbered from 0."""
        _units, place, counts = np.unique(
            self.units, return_inverse=True, return_counts=True
        )
        keep = counts[place] > 1
        units = np.unique(place[keep], return_inverse=True)[1]
        return Ratings(units, self.raters[keep], self.values[keep], self.sets)

    @cached_property
    def sizes(self) -> Ints:
        """(U,) verdicts of each unit; of `shared` ratings only."""
        return np.bincount(self.units).astype(np.int64)

    @property
    def people(self) -> int:
        """How many raters there are."""
        return len(np.unique(self.raters))


def alpha(
    ratings: Ratings,
    *,
    distance: Distance = Distance.NOMINAL,
    min_shared: int = MIN_SHARED,
) -> Agreement:
    """Krippendorff's alpha: 1 - observed / expected disagreement.

    Any number of raters, missing verdicts allowed. The interval is a percentile
    bootstrap over questions (`REPLICATES`, `SEED`). Questions with the same verdicts
    are exchangeable, so the resampling draws how often each kind of question occurs:
    the same distribution, at the cost of the kinds and not of the questions.

    Cost: 0.2 s for 100,000 shared questions and 50 categories. With MASI memory grows
    with the square of the number of different label sets: 8 MB for 1,000.

    Source: K. Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011).
    """
    shared = ratings.shared
    n = len(shared.sizes)
    if why := _undefined(ratings, n, min_shared):
        return Agreement(n, undefined=why)
    kinds, counts = np.unique(_table(shared), axis=0, return_counts=True)
    differences = _differences(shared.sets, distance)
    disagreement = _disagreement(kinds, differences)  # (P,) summed over a unit's pairs
    filled = kinds >= 0
    owner = np.nonzero(filled)[0]  # (V,) which kind a value of `kinds` belongs to
    values, sizes = kinds[filled], filled.sum(axis=1)
    used = len(shared.sets)

    def figure(weights: Floats) -> tuple[float, float]:
        """Alpha and observed agreement if each kind (P,) occurs so often."""
        total = float(weights @ sizes)
        margins = np.bincount(values, weights[owner], minlength=used)
        expected = _expected(margins, differences)
        observed = float(weights @ disagreement) / total
        if expected <= 0:
            return np.nan, 1 - observed
        return 1 - observed * total * (total - 1) / expected, 1 - observed

    value, observed = figure(counts.astype(np.float64))
    if np.isnan(value):
        return Agreement(n, observed=1.0, undefined=Undefined.ONE_CATEGORY)
    if observed == 1.0:
        margins = np.bincount(values, counts[owner], minlength=used)
        total = float(margins.sum())
        chance = _expected(margins, differences) / (total * (total - 1))
        return Agreement(n, value, _floor(n, chance), 1.0, observed)
    low, high = _percentiles(
        np.array([figure(weights)[0] for weights in _resampled(counts)])
    )
    return Agreement(n, value, low, high, observed)


def alpha_by_category(
    ratings: Ratings, *, min_shared: int = MIN_SHARED
) -> dict[int, Agreement]:
    """Alpha of each category against the rest: was it named, or was it not?

    The interval is as in `alpha`. `n` counts the shared questions on which at least one
    person named the category; `min_shared` is asked of it.

    Cost: about 1 ms a category, after one pass over the verdicts.
    """
    shared = ratings.shared
    categories = sorted(set(chain.from_iterable(shared.sets)))
    if _undefined(ratings, len(shared.sizes), min_shared=1):
        return {}
    # One row for each category that a verdict names.
    place = {category: number for number, category in enumerate(categories)}
    named = [[place[category] for category in labels] for labels in shared.sets]
    lengths = np.array([len(one) for one in named], dtype=np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)[:-1])).astype(np.int64)
    flat = np.array(list(chain.from_iterable(named)), dtype=np.int64)
    times = lengths[shared.values]
    units = np.repeat(shared.units, times)
    within = np.arange(len(units)) - np.repeat(np.cumsum(times) - times, times)
    columns = flat[np.repeat(starts[shared.values], times) + within]
    # How many of a unit's people named a category, where anybody did.
    keys, hits = np.unique(units * len(categories) + columns, return_counts=True)
    unit_of, column_of = np.divmod(keys, len(categories))
    order = np.argsort(column_of, kind="stable")
    bounds = np.searchsorted(column_of[order], np.arange(len(categories) + 1))
    return {
        category: _alpha_of_one(
            shared.sizes, unit_of[mine], hits[mine], min_shared=min_shared
        )
        for category, mine in (
            (category, order[bounds[number] : bounds[number + 1]])
            for category, number in place.items()
        )
    }


def kappas(
    ratings: Ratings,
    *,
    distance: Distance = Distance.NOMINAL,
    min_shared: int = MIN_SHARED,
) -> list[Pair]:
    """Cohen's kappa for each two people who share a question, most shared first."""
    shared = ratings.shared
    found: list[tuple[Ints, Ints]] = []
    for step in range(1, int(shared.sizes.max(initial=1))):
        same = np.nonzero(shared.units[step:] == shared.units[:-step])[0]
        found.append((same, same + step))
    if not found:
        return []
    first = np.concatenate([one for one, _other in found])
    second = np.concatenate([other for _one, other in found])
    people, numbers = np.unique(shared.raters, return_inverse=True)
    pair = numbers[first] * len(people) + numbers[second]
    order = np.argsort(pair, kind="stable")
    keys, starts = np.unique(pair[order], return_index=True)
    ends = [*starts[1:], len(order)]
    pairs = [
        Pair(
            int(people[key // len(people)]),
            int(people[key % len(people)]),
            kappa(
                shared.values[first[mine]],
                shared.values[second[mine]],
                shared.sets,
                distance=distance,
                min_shared=min_shared,
            ),
        )
        for key, mine in (
            (key, order[start:end])
            for key, start, end in zip(keys, starts, ends, strict=True)
        )
    ]
    return sorted(pairs, key=lambda pair: (-pair.kappa.n, pair.a, pair.b))


def kappa(
    a: Ints,
    b: Ints,
    sets: tuple[frozenset[int], ...],
    *,
    distance: Distance = Distance.NOMINAL,
    min_shared: int = MIN_SHARED,
) -> Agreement:
    """Cohen's kappa of two people's values (N,) on the same questions.

    With another distance than the nominal one it is the weighted kappa, with weights
    1 - distance. The interval is the large-sample one.

    Source: J. Cohen, "A Coefficient of Agreement for Nominal Scales" (1960); J. L.
        Fleiss, J. Cohen, B. S. Everitt, "Large Sample Standard Errors of Kappa and
        Weighted Kappa", Psychological Bulletin 72 (1969), 323-327.
    """
    n = len(a)
    if n < max(1, min_shared):
        return Agreement(n, undefined=Undefined.TOO_FEW)
    used, both = np.unique(np.concatenate((a, b)), return_inverse=True)
    k = len(used)
    p = np.bincount(both[:n] * k + both[n:], minlength=k * k).reshape(k, k) / n
    w = 1 - _differences(tuple(sets[value] for value in used), distance)
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed = float((w * p).sum())
    chance = float(rows @ w @ columns)
    if k == 1 or chance >= 1:
        return Agreement(n, observed=observed, undefined=Undefined.ONE_CATEGORY)
    value = (observed - chance) / (1 - chance)
    if observed == 1.0:
        return Agreement(n, 1.0, _floor(n, 1 - chance), 1.0, 1.0)
    mean = (w @ columns)[:, None] + (rows @ w)[None, :]
    spread = float((p * (w * (1 - chance) - mean * (1 - observed)) ** 2).sum())
    variance = spread - (observed * chance - 2 * chance + observed) ** 2
    half = Z_95 * np.sqrt(max(0.0, variance) / n) / (1 - chance) ** 2
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Agreement(n, float(value), float(low), float(high), observed)


def difference(hits_a: int, n_a: int, hits_b: int, n_b: int) -> Interval:
    """The 95 % interval of one share minus another, of independent samples.

    Returns:
        Its ends from -1 to 1; `centre` is the difference itself.

    Raises:
        ValueError: A sample is empty.

    Source: R. G. Newcombe, "Interval Estimation for the Difference between Independent
        Proportions", Statistics in Medicine 17 (1998), 873-890, method 10.
    """
    a, b = wilson(hits_a, n_a), wilson(hits_b, n_b)
    share_a, share_b = hits_a / n_a, hits_b / n_b
    gap = share_a - share_b
    below = float(np.hypot(share_a - a.low, b.high - share_b))
    above = float(np.hypot(a.high - share_a, share_b - b.low))
    return Interval(gap - below, gap, gap + above)


def _undefined(ratings: Ratings, n: int, min_shared: int) -> Undefined | None:
    if ratings.people < 2:
        return Undefined.ONE_RATER
    return Undefined.TOO_FEW if n < max(1, min_shared) else None


def _alpha_of_one(
    sizes: Ints, units: Ints, hits: Ints, *, min_shared: int
) -> Agreement:
    """Alpha of one category.

    Args:
        sizes: (U,) verdicts of all shared units.
        units: (M,) those on which somebody named the category.
        hits: (M,) how many did.
        min_shared: Least M.
    """
    n = len(units)
    if n < min_shared:
        return Agreement(n, undefined=Undefined.TOO_FEW)
    # Kinds of units: (verdicts, of which named the category). Never more than a dozen.
    width = int(sizes.max()) + 1
    counts = np.bincount(sizes * width, minlength=width * width)
    counts -= np.bincount(sizes[units] * width, minlength=width * width)
    counts += np.bincount(sizes[units] * width + hits, minlength=width * width)
    kinds = np.nonzero(counts)[0]
    verdicts, named = np.divmod(kinds, width)
    mixed = 2 * named * (verdicts - named) / (verdicts - 1)
    weights = np.vstack([counts[kinds], _resampled(counts[kinds])]).astype(np.float64)
    total, ones = weights @ verdicts, weights @ named
    expected = 2 * ones * (total - ones)
    with np.errstate(invalid="ignore", divide="ignore"):
        figures = 1 - (weights @ mixed) * (total - 1) / expected
    observed = float(1 - (weights[0] @ mixed) / total[0])
    if expected[0] <= 0:
        return Agreement(n, observed=observed, undefined=Undefined.ONE_CATEGORY)
    if observed == 1.0:
        chance = float(expected[0] / (total[0] * (total[0] - 1)))
        everything = int(counts.sum())
        return Agreement(n, 1.0, _floor(everything, chance), 1.0, 1.0)
    low, high = _percentiles(figures[1:])
    return Agreement(n, float(figures[0]), low, high, observed)


def _floor(n: int, chance: float) -> float:
    """The lower end where nobody ever disagreed, which no resample can show.

    Wilson's upper end of a disagreement seen in 0 of n questions, divided by the
    disagreement that chance gives.
    """
    return float(max(-1.0, 1 - wilson(0, n).high / chance))


def _resampled(counts: Ints) -> Ints:
    """(REPLICATES, P) how often each kind occurs in resamples of all questions."""
    n = int(counts.sum())
    return np.random.default_rng(SEED).multinomial(n, counts / n, size=REPLICATES)


def _percentiles(figures: Floats) -> tuple[float, float]:
    """The middle 95 % of those that are defined."""
    low, high = np.nanpercentile(figures, (2.5, 97.5))
    return float(low), float(high)


def _table(shared: Ratings) -> Ints:
    """(U, most verdicts) values of each unit in ascending order, -1 where none is."""
    order = np.lexsort((shared.values, shared.units))
    starts = np.cumsum(shared.sizes) - shared.sizes
    place = np.arange(len(order)) - np.repeat(starts, shared.sizes)
    table = np.full((len(shared.sizes), int(shared.sizes.max())), -1, dtype=np.int64)
    table[shared.units, place] = shared.values[order]
    return table


def _disagreement(kinds: Ints, differences: Floats) -> Floats:
    """(P,) of each kind of unit: sum over its ordered pairs / (verdicts - 1)."""
    total = np.zeros(len(kinds))
    for i in range(kinds.shape[1]):
        for j in range(i + 1, kinds.shape[1]):
            there = kinds[:, j] >= 0
            total[there] += 2 * differences[kinds[there, i], kinds[there, j]]
    total /= (kinds >= 0).sum(axis=1) - 1
    return total


def _expected(margins: npt.NDArray[Any], differences: Floats) -> float:
    """Sum of the differences over all ordered pairs of verdicts, whoever gave them."""
    return float(margins @ differences @ margins)


def _differences(sets: tuple[frozenset[int], ...], distance: Distance) -> Floats:
    """(K, K) how far each two values are apart."""
    k = len(sets)
    if distance == Distance.NOMINAL:
        return np.ones((k, k)) - np.eye(k)
    members = sorted(set(chain.from_iterable(sets)))
    place = {member: number for number, member in enumerate(members)}
    holds = np.zeros((k, len(members)))
    for number, labels in enumerate(sets):
        holds[number, [place[member] for member in labels]] = 1
    common = holds @ holds.T
    sizes = holds.sum(axis=1)
    smaller = np.minimum(sizes[:, None], sizes[None, :])
    union = sizes[:, None] + sizes[None, :] - common
    kind = np.select([common == 0, common < smaller], [0.0, 1 / 3], 2 / 3)
    apart: Floats = 1 - kind * common / np.maximum(union, 1)
    np.fill_diagonal(apart, 0.0)  # also of the empty set from itself
    return apart
