"""What a version's model said lately, by text: the same question is not run twice."""

import threading
from collections import OrderedDict
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """At most so many values by text, those used least lately dropped. Thread-safe.

    Cost: about 1 µs a call.
    """

    def __init__(self, capacity: int) -> None:
        """Keeps at most `capacity` texts; none with 0."""
        self._capacity = max(0, capacity)
        self._lock = threading.Lock()
        self._values: OrderedDict[str, Value] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    def get(self, text: str) -> Value | None:
        """What was put in for this text."""
        with self._lock:
            value = self._values.get(text)
            if value is not None:
                self._values.move_to_end(text)
            return value

    def put(self, text: str, value: Value) -> None:
        """Keeps a value."""
        if not self._capacity:
            return
        with self._lock:
            self._values[text] = value
            self._values.move_to_end(text)
            if len(self._values) > self._capacity:
                self._values.popitem(last=False)
