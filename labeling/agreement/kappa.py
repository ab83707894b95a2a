"""Cohen's kappa: of two people, and of each two who share questions."""

from dataclasses import dataclass

import numpy as np

from labeling.agreement.ratings import (
    MIN_SHARED,
    Agreement,
    Distance,
    Ints,
    Ratings,
    Undefined,
    differences,
    floor,
)
from labeling.rules.wilson import Z_95


@dataclass(frozen=True)
class Pair:
    """How two people agree."""

    a: int
    b: int
    kappa: Agreement


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
    w = 1 - differences(tuple(sets[value] for value in used), distance)
    rows, columns = p.sum(axis=1), p.sum(axis=0)
    observed = float((w * p).sum())
    chance = float(rows @ w @ columns)
    if k == 1 or chance >= 1:
        return Agreement(n, observed=observed, undefined=Undefined.ONE_CATEGORY)
    value = (observed - chance) / (1 - chance)
    if observed == 1.0:
        return Agreement(n, 1.0, floor(n, 1 - chance), 1.0, 1.0)
    mean = (w @ columns)[:, None] + (rows @ w)[None, :]
    spread = float((p * (w * (1 - chance) - mean * (1 - observed)) ** 2).sum())
    variance = spread - (observed * chance - 2 * chance + observed) ** 2
    half = Z_95 * np.sqrt(max(0.0, variance) / n) / (1 - chance) ** 2
    low, high = max(-1.0, value - half), min(1.0, value + half)
    return Agreement(n, float(value), float(low), float(high), observed)
