"""A few database connections for many request threads.

A web process has as many threads as classify calls may be in flight, hundreds; those
calls never touch the database. Pages and the other API calls do, and Django would keep
a connection for each thread that ever served one: more than a PostgreSQL takes. Here
they borrow one for as long as they last.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, LifoQueue
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connections

Environ = dict[str, Any]
StartResponse = Callable[..., Any]
Application = Callable[[Environ, StartResponse], Iterable[bytes]]

WAIT_S = 10.0
"""Longest that a request waits until another one has ended."""


class Lending:
    """A WSGI application around Django's, which runs with a connection of the few."""

    def __init__(
        self,
        application: Application,
        *,
        bound: int,
        without: Callable[[str], bool] = lambda path: False,
    ) -> None:
        """Wraps `application`.

        Args:
            application: Opens connections as it needs them.
            bound: Requests that may have one at the same time.
            without: Whether an address needs none, by its path; it is never kept
                waiting.
        """
        self._application = application
        self._without = without
        # The one that was used last comes first: the others may end of old age.
        self._free: LifoQueue[Any] = LifoQueue()
        for _ in range(bound):
            self._free.put(None)  # opened when it is needed

    def __call__(
        self, environ: Environ, start_response: StartResponse
    ) -> Iterable[bytes]:
        if self._without(environ.get("PATH_INFO", "")):
            return self._application(environ, start_response)
        try:
            lent = _Lent(self._free)
        except Empty:
            start_response(
                "503 Service Unavailable",
                [("Content-Type", "text/plain; charset=utf-8"), ("Retry-After", "1")],
            )
            return [b"The server is busy. Try again in a second.\n"]
        try:
            answer = self._application(environ, start_response)
        except BaseException:
            lent.end()
            raise
        if getattr(answer, "streaming", True):
            return _Answer(answer, lent)
        try:
            return list(answer)
        finally:
            _close(answer)
            lent.end()


class _Lent:
    """A connection in the hands of one thread; raises Empty where none is free."""

    def __init__(self, free: "LifoQueue[Any]") -> None:
        self._free = free
        self._thread = threading.get_ident()
        self._is_over = False
        self._wrapper = free.get(timeout=WAIT_S)
        if self._wrapper is None:
            self._wrapper = connections.create_connection(DEFAULT_DB_ALIAS)
            self._wrapper.inc_thread_sharing()
        connections[DEFAULT_DB_ALIAS] = self._wrapper

    def end(self) -> None:
        if self._is_over:
            return
        self._is_over = True
        if self._thread == threading.get_ident():
            del connections[DEFAULT_DB_ALIAS]
        self._free.put(self._wrapper)


class _Answer:
    """What is sent while it is made: the connection is needed to its end."""

    def __init__(self, answer: Iterable[bytes], lent: _Lent) -> None:
        self._answer = answer
        self._lent = lent

    def __iter__(self) -> Iterator[bytes]:
        return iter(self._answer)

    def close(self) -> None:
        try:
            _close(self._answer)
        finally:
            self._lent.end()

    def __del__(self) -> None:
        self._lent.end()  # a server that forgot to close it


def _close(answer: Iterable[bytes]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()
