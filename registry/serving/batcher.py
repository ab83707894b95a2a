"""Requests that are in flight at the same time run through the model as one batch.

There is no thread and no timer. Whoever comes while nothing runs becomes the leader
and runs at once; whoever comes meanwhile waits. When the leader's own texts are done,
the next in line leads, with everything that gathered behind it. So nobody waits while
the model is idle, and batches grow with load.
"""

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

Row = TypeVar("Row")


class Batcher(Generic[Row]):
    """Wraps a function from texts to rows; may be called from many threads."""

    def __init__(
        self, run: Callable[[Sequence[str]], Sequence[Row]], *, max_texts: int = 32
    ) -> None:
        """Wraps `run`.

        Args:
            run: Gives one row a text, in their order; called by one thread at a time.
            max_texts: Most texts of one call. A request with more takes turns with the
                others, so that a large one holds up nobody for long.
        """
        self._run = run
        self._max_texts = max_texts
        self._lock = threading.Lock()
        self._waiting: deque[_Request[Row]] = deque()
        self._has_leader = False

    def __call__(self, texts: Sequence[str]) -> list[Row]:
        """The rows of these texts; raises what `run` raised for them alone."""
        if not texts:
            return []
        request: _Request[Row] = _Request(texts)
        with self._lock:
            self._waiting.append(request)
            leads = not self._has_leader
            self._has_leader = True
        if not leads:
            request.woken.wait()
        # Woken without an end: the leader before has handed over to this thread.
        if not request.is_done():
            self._lead(request)
        return request.result()

    def _lead(self, own: "_Request[Row]") -> None:
        try:
            while not own.is_done():
                self._run_batch()
        finally:
            with self._lock:
                if not own.is_done():  # this thread was told to end
                    self._waiting.remove(own)
                heir = next(iter(self._waiting), None)
                self._has_leader = heir is not None
            if heir is not None:
                heir.woken.set()

    def _run_batch(self) -> None:
        batch = self._take()
        texts = [text for request, part in batch for text in request.texts[part]]
        try:
            rows = self._run(texts)
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
                if request.is_done():
                    request.woken.set()

    def _take(self) -> "list[tuple[_Request[Row], slice]]":
        """The next texts in line: from each request as many as still fit."""
        batch: list[tuple[_Request[Row], slice]] = []
        room = self._max_texts
        with self._lock:
            while room and self._waiting:
                request = self._waiting.popleft()
                start = len(request.rows)
                part = slice(start, min(len(request.texts), start + room))
                room -= part.stop - part.start
                batch.append((request, part))
        return batch

    def _run_apart(
        self, batch: "list[tuple[_Request[Row], slice]]", error: Exception
    ) -> None:
        """One request's text that the model chokes on must not fail the others."""
        for request, part in batch:
            if len(batch) == 1:
                request.fail(error)
                continue
            try:
                request.add(self._run(request.texts[part]))
            except Exception as own_error:
                request.fail(own_error)


class _Request(Generic[Row]):
    """One caller's texts; written by the leader, read by the caller when it is done."""

    __slots__ = ("_error", "rows", "texts", "woken")

    def __init__(self, texts: Sequence[str]) -> None:
        self.texts = texts
        self.rows: list[Row] = []
        self.woken = threading.Event()
        self._error: Exception | None = None

    def add(self, rows: Sequence[Row]) -> None:
        self.rows.extend(rows)

    def fail(self, error: Exception) -> None:
        self._error = error

    def is_done(self) -> bool:
        return self._error is not None or len(self.rows) == len(self.texts)

    def result(self) -> list[Row]:
        if self._error is not None:
            raise self._error
        return self.rows
