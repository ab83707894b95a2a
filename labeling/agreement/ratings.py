"""What goes in, verdicts, and what comes out, a figure or why there is none."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from itertools import chain

import numpy as np
import numpy.typing as npt

from labeling.rules.wilson import wilson

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

MIN_SHARED = 10
"""Questions judged by several people below which nothing is said."""


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


def undefined(ratings: Ratings, n: int, min_shared: int) -> Undefined | None:
    """Why there is no figure of n shared questions, as far as that is known."""
    if ratings.people < 2:
        return Undefined.ONE_RATER
    return Undefined.TOO_FEW if n < max(1, min_shared) else None


def floor(n: int, chance: float) -> float:
    """The lower end where nobody ever disagreed, which no resample can show.

    Wilson's upper end of a disagreement seen in 0 of n questions, divided by the
    disagreement that chance gives.
    """
    return float(max(-1.0, 1 - wilson(0, n).high / chance))


def differences(sets: tuple[frozenset[int], ...], distance: Distance) -> Floats:
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
