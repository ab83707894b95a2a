"""Requests that are in flight at the same time run through the model as one batch.

There is no thread. Whoever comes while nothing runs becomes the leader and runs at
once; whoever comes meanwhile waits. When the leader's own texts are done, the next in
line leads, with everything that gathered behind it, and perhaps with what comes within
a moment. So nobody waits who finds the model idle, and batches grow with load.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from registry.serving import measures

_FEW = 2
"""Requests of a batch that are no sign of load."""

Item = TypeVar("Item")
Row = TypeVar("Row")


class Batcher(Generic[Item, Row]):
    """Wraps a function from texts to rows; may be called from many threads.

    What a text is, is the function's business: here they come as token ids, so that
    each caller tokenises its own while the model works on those of others.
    """

    def __init__(
        self,
        run: Callable[[Sequence[Item]], Sequence[Row]],
        *,
        size: Callable[[Item], int],
        most: int,
        gather_s: float = 0.0,
    ) -> None:
        """Wraps `run`.

        Args:
            run: Gives one row a text, in their order; called by one thread at a time.
            size: What a text costs, 1 or more.
            most: Size of all texts of one call, unless a single one is larger. A
                request with more takes turns with the others, so that a large one
                holds up nobody for long.
            gather_s: How long a batch waits for more requests, where the one before
                held several: those who were just answered ask again, and a text in a
                large batch costs less than in a small one.
        """
        self._run = run
        self._size = size
        self._most = most
        self._gather_s = gather_s
        self._lock = threading.Lock()
        self._waiting: deque[_Request[Item, Row]] = deque()
        self._has_leader = False
        self._n_last = 0

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """The rows of these texts; raises what `run` raised for them alone."""
        if not items:
            return []
        request: _Request[Item, Row] = _Request(items)
        with self._lock:
            self._waiting.append(request)
            leads = not self._has_leader
            self._has_leader = True
            if leads:
                self._n_last = 0  # the load of before is over
        if not leads:
            request.wait()
        # Woken without an end: the leader before has handed over to this thread.
        if not request.is_done():
            self._lead(request)
        return request.result()

    def waiting(self) -> int:
        """How many texts wait for their turn."""
        with self._lock:
            return sum(len(r.items) - len(r.rows) for r in self._waiting)

    def _lead(self, own: "_Request[Item, Row]") -> None:
        try:
            while not own.is_done():
                self._run_batch(own)
        finally:
            with self._lock:
                if not own.is_done():  # this thread was told to end
                    self._waiting.remove(own)
                heir = next(iter(self._waiting), None)
                self._has_leader = heir is not None
            if heir is not None:
                heir.wake()

    def _run_batch(self, own: "_Request[Item, Row]") -> None:
        if self._n_last > _FEW:
            time.sleep(self._gather_s)
        batch = self._take()
        self._n_last = len(batch)
        items = [item for request, part in batch for item in request.items[part]]
        try:
            rows = self._run(items)
            at = 0
            for request, part in batch:
                n = part.stop - part.start
                request.add(rows[at : at + n])
                at += n
        except Exception as error:
            self._run_apart(batch, error)
        finally:
            with self._lock:
                # Behind the others: large requests take turns.
                self._waiting.extend(r for r, _part in batch if not r.is_done())
            for request, _part in batch:
                if request.is_done() and request is not own:
                    request.wake()

    def _take(self) -> "list[tuple[_Request[Item, Row], slice]]":
        """The next texts in line: from each request as many as still fit."""
        batch: list[tuple[_Request[Item, Row], slice]] = []
        room = self._most
        now = time.perf_counter()
        with self._lock:
            while self._waiting:
                request = self._waiting[0]
                start = stop = len(request.rows)
                while stop < len(request.items):
                    room -= self._size(request.items[stop])
                    if room < 0 and (batch or stop > start):
                        break
                    stop += 1
                if stop == start:
                    break
                self._waiting.popleft()
                batch.append((request, slice(start, stop)))
                if not start:
                    measures.took("queue", now - request.came)
                if room <= 0:
                    break
        return batch

    def _run_apart(
        self, batch: "list[tuple[_Request[Item, Row], slice]]", error: Exception
    ) -> None:
        """One request's text that the model chokes on must not fail the others."""
        for request, part in batch:
            if len(batch) == 1:
                request.fail(error)
                continue
            try:
                request.add(self._run(request.items[part]))
            except Exception as own_error:
                request.fail(own_error)


class _Request(Generic[Item, Row]):
    """One caller's texts; written by the leader, read by the caller when it is done."""

    __slots__ = ("_asleep", "_error", "came", "items", "rows")

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.rows: list[Row] = []
        self.came = time.perf_counter()
        # A bare lock, held until somebody wakes the caller: a tenth of an Event's cost.
        self._asleep = threading.Lock()
        self._asleep.acquire()
        self._error: Exception | None = None

    def wait(self) -> None:
        """Sleeps until `wake`."""
        self._asleep.acquire()

    def wake(self) -> None:
        """Ends `wait`; once, as nobody waits twice."""
        self._asleep.release()

    def add(self, rows: Sequence[Row]) -> None:
        self.rows.extend(rows)

    def fail(self, error: Exception) -> None:
        self._error = error

    def is_done(self) -> bool:
        return self._error is not None or len(self.rows) == len(self.items)

    def result(self) -> list[Row]:
        if self._error is not None:
            raise self._error
        return self.rows
