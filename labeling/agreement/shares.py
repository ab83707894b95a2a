"""Two shares compared: how sure their difference is."""

import numpy as np

from labeling.rules.wilson import Interval, wilson


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
