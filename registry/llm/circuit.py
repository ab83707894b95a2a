"""Leaves a server alone that does not answer, and tries it again after a while."""

import threading
import time

FAILURES = 5
"""In a row, after which nobody is sent there."""
PAUSE_S = 30.0


class Circuit:
    """Closed while the server answers; open for `PAUSE_S` after failures in a row.

    After the pause one caller tries; all others wait for what becomes of it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._failures = 0
        self._again_at = 0.0

    def may_ask(self) -> bool:
        """Whether a caller may ask; who is let through must say what came of it."""
        with self._lock:
            if self._failures < FAILURES:
                return True
            now = time.monotonic()
            if now < self._again_at:
                return False
            self._again_at = now + PAUSE_S
            return True

    @property
    def is_open(self) -> bool:
        """Whether nobody is sent there now."""
        return self._failures >= FAILURES and time.monotonic() < self._again_at

    def succeeded(self) -> None:
        """An answer came: closed."""
        with self._lock:
            self._failures = 0

    def failed(self, *, for_good: bool = False) -> None:
        """No answer came.

        Args:
            for_good: No other try will do better; opens at once.
        """
        with self._lock:
            self._failures = FAILURES if for_good else self._failures + 1
            if self._failures >= FAILURES:
                self._again_at = time.monotonic() + PAUSE_S
