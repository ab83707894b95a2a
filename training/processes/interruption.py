"""A signal that ends a run, where an exception does no harm and is not dropped."""

import signal
import threading
import time
from types import FrameType

_AGAIN_S = 0.02
"""Seconds until a signal that came in the middle of a statement is looked at again."""

_PATIENCE_S = 3.0
"""Seconds after which a statement is not waited for any longer."""

_DATABASE = ("django.db", "psycopg")


class Interruption:
    """Raises an exception soon after a signal, and at the next step if need be.

    Python would raise wherever it happens to be. In the middle of a statement that
    leaves a connection that neither works nor can be put right, maybe with a
    transaction and its locks: so a statement is let come to its end. In a destructor or
    in a callback of a C library the exception is printed and dropped, and the run would
    go on: so it is raised again at a step.
    """

    def __init__(self, error: type[BaseException], *numbers: signal.Signals) -> None:
        """Takes the signals over; in the main thread only.

        Args:
            error: What to raise.
            numbers: The signals.
        """
        self._error = error
        self._asked_at: float | None = None
        self._waiting: threading.Timer | None = None
        for number in numbers:
            signal.signal(number, self._take)

    def check(self, *_step: object) -> None:
        """Raises if a signal has come; a run calls it at each step."""
        if self._asked_at is not None:
            self._raise()

    def _take(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        self._asked_at = self._asked_at or now
        if now - self._asked_at < _PATIENCE_S and _is_in_statement(frame):
            self._wait(number)
        else:
            self._raise()

    def _wait(self, number: int) -> None:
        if self._waiting is not None:
            self._waiting.cancel()
        me = threading.main_thread().ident
        self._waiting = threading.Timer(_AGAIN_S, signal.pthread_kill, (me, number))
        self._waiting.daemon = True
        self._waiting.start()

    def _raise(self) -> None:
        if self._waiting is not None:
            self._waiting.cancel()  # who puts things in order is not to be disturbed
        raise self._error


def _is_in_statement(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(_DATABASE):
            return True
        frame = frame.f_back
    return False
