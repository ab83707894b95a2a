"""Wilson's score interval: how sure a share is that was seen in few cases."""

import math
from typing import NamedTuple

Z_95 = 1.959963984540054
"""The standard normal's 97.5 % quantile: two-sided 95 %."""


class Interval(NamedTuple):
    """The interval's two ends and its centre, each from 0 to 1.

    The centre is the share drawn towards one half, the more the fewer the cases.
    """

    low: float
    centre: float
    high: float


def wilson(successes: float, n: float, *, z: float = Z_95) -> Interval:
    """The score interval of a share.

    Args:
        successes: Cases that succeeded, 0 to n.
        n: All cases, at least 1. Of weighted cases their effective number, which need
            not be whole.
        z: Standard normal quantile of the wanted confidence.

    Raises:
        ValueError: successes is not between 0 and n, or n is 0.

    Source: E. B. Wilson, "Probable Inference, the Law of Succession, and Statistical
        Inference", JASA 22 (1927), 209-212:
        (p + z²/2n ± z √(p(1-p)/n + z²/4n²)) / (1 + z²/n).
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is no share")
    share = successes / n
    shrink = 1 + z * z / n
    centre = (share + z * z / (2 * n)) / shrink
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / shrink
    return Interval(max(0.0, centre - half), centre, min(1.0, centre + half))
