"""Waiting for what another thread or process does."""

import os
import time
from collections.abc import Callable


def within(seconds: float, is_so: Callable[[], bool]) -> bool:
    """Whether something becomes true within a time; looks twenty times a second.

    The time is that of a machine with nothing else to do; see `crowd`.
    """
    deadline = time.monotonic() + seconds * crowd()
    while not is_so():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def crowd() -> float:
    """1, or by how much this machine has more to do than it can.

    Times are promised to a machine that does nothing else.
    """
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
