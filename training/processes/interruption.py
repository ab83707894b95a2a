"""A signal that ends a run, also where Python drops the exception that it raises."""

import signal
from types import FrameType


class Interruption:
    """Raises an exception where a signal arrives, and at the next step if need be.

    Python raises wherever it happens to be. In a destructor or in a callback of a C
    library the exception is printed and dropped, and the run would go on.
    """

    def __init__(self, error: type[BaseException], *numbers: signal.Signals) -> None:
        """Takes the signals over; in the main thread only.

        Args:
            error: What to raise.
            numbers: The signals.
        """
        self._error, self._asked = error, False
        for number in numbers:
            signal.signal(number, self._take)

    def check(self, *_step: object) -> None:
        """Raises if a signal has come; a run calls it at each step."""
        if self._asked:
            raise self._error

    def _take(self, _number: int, _frame: FrameType | None) -> None:
        self._asked = True
        raise self._error
