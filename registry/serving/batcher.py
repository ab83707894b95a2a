"""Requests that are in flight at the same time run through the model as one batch.

There is no thread. Whoever comes while nothing runs becomes the leader and runs at
once; whoever comes meanwhile waits. When the leader's own texts are done, the next in
line leads, with everything that gathered behind it, and perhaps with what comes within
a moment. So nobody waits who finds the model idle, and batches grow with load.

What follows the model can be the leader's work, too: handing a request from thread to
thread costs more than what is done with it.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from registry.serving import measures

_FEW = 2
"""Requests of a batch that are no sign of load."""

Item = TypeVar("Item")
Row = TypeVar("Row")
Result = TypeVar("Result")


class Interrupted(Exception):
    """The thread that was to answer was told to end; perhaps it has answered."""


class Batcher(Generic[Item, Row]):
    """Wraps a function from texts to rows; may be called from many threads.

    What a text is, is the function's business.
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
                delays a small one by one batch.
            gather_s: How long a batch waits at most to grow, where the one before held
                several requests and ended as little ago: those who were answered ask
                again, and a fuller batch costs less a text.
        """
        self._run = run
        self._size = size
        self._most = most
        self._gather_s = gather_s
        self._lock = threading.Lock()
        self._waiting: deque[_Request[Item, Row]] = deque()
        self._has_leader = False
        self._n_last = 0
        """Requests of the batch before; 0 when its load is over."""
        self._ended_at = 0.0
        self._enough = threading.Lock()
        """Held while a leader waits for others; released by the last of them."""
        self._enough.acquire()
        self._wanted = 0

    def __call__(self, items: Sequence[Item]) -> list[Row]:
        """The rows of these texts; raises what `run` raised for them alone."""
        return self.then(items, lambda rows: lambda: rows)

    def then(
        self,
        items: Sequence[Item],
        begin: Callable[[list[Row]], Callable[[], Result]],
    ) -> Result:
        """What follows the rows of these texts.

        It has two halves, so that what a whole batch waits for is waited for once:
        `begin` is called for each request of a batch, then what each one returned.
        Both may be called by another thread than the caller's.

        Args:
            items: The texts.
            begin: Takes their rows.

        Returns:
            What the second half returns.

        Raises:
            Exception: What `run` raised for these texts alone, or either half.
        """
        if not items:
            return begin([])()
        request: _Request[Item, Row] = _Request(items, begin)
        with self._lock:
            self._waiting.append(request)
            leads = not self._has_leader
            self._has_leader = True
            if leads and request.came - self._ended_at > self._gather_s:
                self._n_last = 0
            if len(self._waiting) == self._wanted:
                self._wanted = 0
                self._enough.release()
        if not leads:
            request.wait()
        # Woken without an end: the leader before has handed over to this thread.
        if not request.is_done:
            self._lead(request)
        result: Result = request.result()
        return result

    def waiting(self) -> int:
        """How many texts wait for their turn."""
        with self._lock:
            return sum(len(r.items) - len(r.rows) for r in self._waiting)

    def _lead(self, own: "_Request[Item, Row]") -> None:
        try:
            while not own.is_done:
                self._gather()
                self._run_batch(own)
        finally:
            with self._lock:
                if not own.is_done:  # this thread was told to end
                    self._waiting.remove(own)
                heir = next(iter(self._waiting), None)
                self._has_leader = heir is not None
                self._ended_at = time.perf_counter()
            if heir is not None:
                heir.wake()

    def _gather(self) -> None:
        """Under load waits until as many are there as the batch before held."""
        with self._lock:
            if self._n_last <= _FEW or len(self._waiting) >= self._n_last:
                return
            self._wanted = self._n_last
        is_enough = self._enough.acquire(timeout=self._gather_s)
        with self._lock:
            if not is_enough and not self._wanted:
                self._enough.acquire()  # they were there just as the time was over
            self._wanted = 0

    def _run_batch(self, own: "_Request[Item, Row]") -> None:
        batch = self._take()
        self._n_last = len(batch)
        try:
            self._fill(batch)
            whole = [request for request, _part in batch if request.is_whole()]
            for request in whole:
                request.begin()
            for request in whole:
                request.end()
        finally:
            for request, _part in batch:
                if request.is_whole():  # this thread was told to end, halfway
                    request.fail(Interrupted("who answered was told to end"))
            with self._lock:
                # Behind the others: large requests take turns.
                self._waiting.extend(r for r, _part in batch if not r.is_done)
            for request, _part in batch:
                if request.is_done and request is not own:
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

    def _fill(self, batch: "list[tuple[_Request[Item, Row], slice]]") -> None:
        """Gives each request its rows."""
        items = [item for request, part in batch for item in request.items[part]]
        try:
            rows = self._run(items)
        except Exception as error:
            self._run_apart(batch, error)
            return
        at = 0
        for request, part in batch:
            n = part.stop - part.start
            request.rows.extend(rows[at : at + n])
            at += n

    def _run_apart(
        self, batch: "list[tuple[_Request[Item, Row], slice]]", error: Exception
    ) -> None:
        """One request's text that the model chokes on must not fail the others."""
        for request, part in batch:
            if len(batch) == 1:
                request.fail(error)
                continue
            try:
                request.rows.extend(self._run(request.items[part]))
            except Exception as own_error:
                request.fail(own_error)


class _Request(Generic[Item, Row]):
    """One caller's texts; written by the leader, read by the caller when it is done."""

    __slots__ = (
        "_asleep",
        "_begin",
        "_end",
        "_error",
        "_result",
        "came",
        "is_done",
        "items",
        "rows",
    )

    def __init__(
        self,
        items: Sequence[Item],
        begin: Callable[[list[Row]], Callable[[], Any]],
    ) -> None:
        self.items = items
        self.rows: list[Row] = []
        self.came = time.perf_counter()
        self.is_done = False
        self._begin = begin
        self._end: Callable[[], Any] | None = None
        self._result: Any = None
        self._error: Exception | None = None
        # A bare lock, held until somebody wakes the caller: a tenth of an Event's cost.
        self._asleep = threading.Lock()
        self._asleep.acquire()

    def wait(self) -> None:
        """Sleeps until `wake`."""
        self._asleep.acquire()

    def wake(self) -> None:
        """Ends `wait`; once, as nobody waits twice."""
        self._asleep.release()

    def is_whole(self) -> bool:
        """Whether all rows are there, and nothing has failed."""
        return not self.is_done and len(self.rows) == len(self.items)

    def begin(self) -> None:
        """The first half of what follows."""
        try:
            self._end = self._begin(self.rows)
        except Exception as error:
            self.fail(error)

    def end(self) -> None:
        """The second half."""
        if self._end is None:
            return
        try:
            self._result = self._end()
            self.is_done = True
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        self._error = error
        self.is_done = True

    def result(self) -> Any:
        if self._error is not None:
            raise self._error
        return self._result
