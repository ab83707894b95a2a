"""Many request threads, few connections: lent, given back, never more than a bound."""

import threading
from collections.abc import Iterable, Iterator
from typing import Any

import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections

from tuneloop import connections as lending
from tuneloop.connections import Lending

pytestmark = pytest.mark.django_db(transaction=True)


class Site:
    """A WSGI application that asks the database who serves it, and its answers."""

    def __init__(self, *, bound: int, streams: bool = False) -> None:
        self.streams = streams
        self.pids: list[int] = []
        self.now = self.most = 0
        self.statuses: list[str] = []
        self._lock = threading.Lock()
        self.lending = Lending(self._answer, bound=bound, without="/quick".__eq__)

    def _answer(self, environ: Any, start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/broken":
            raise ZeroDivisionError
        start_response("200 OK", [])
        return _Streamed(self._pids()) if self.streams else _Whole(self._pids())

    def _pids(self) -> Iterator[bytes]:
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), pg_sleep(0.02)")
            self.pids.append(cursor.fetchone()[0])
        with self._lock:
            self.now -= 1
        yield b"."

    def get(self, path: str = "/") -> Iterable[bytes]:
        return self.lending(
            {"PATH_INFO": path}, lambda status, headers: self.statuses.append(status)
        )

    def end(self) -> None:
        while not self.lending._free.empty():
            if (wrapper := self.lending._free.get()) is not None:
                wrapper.close()


class _Whole:
    streaming = False

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self._parts


class _Streamed(_Whole):
    streaming = True


@pytest.fixture
def end() -> Iterator[list[Site]]:
    sites: list[Site] = []
    yield sites
    for site in sites:
        site.end()


def visit(site: Site, path: str = "/") -> None:
    answer = site.get(path)
    assert b"".join(answer) in (b".", b"")
    close = getattr(answer, "close", None)
    if close is not None:
        close()


@pytest.mark.parametrize("streams", [False, True])
def test_many_threads_share_few_connections(end: list[Site], streams: bool) -> None:
    site = Site(bound=3, streams=streams)
    end.append(site)
    own = connection.connection
    threads = [threading.Thread(target=visit, args=(site,)) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert site.statuses == ["200 OK"] * 24
    assert len(site.pids) == 24
    assert len(set(site.pids)) <= 3
    assert site.most <= 3
    assert connection.connection is own  # this thread's own was left alone


def test_whoever_waits_too_long_is_told(end: list[Site], monkeypatch: Any) -> None:
    monkeypatch.setattr(lending, "WAIT_S", 0.1)
    site = Site(bound=1, streams=True)
    end.append(site)

    def elsewhere() -> None:
        answer = site.get()
        held.set()
        release.wait(60)
        answer.close()  # type: ignore[attr-defined]

    held, release = threading.Event(), threading.Event()
    thread = threading.Thread(target=elsewhere)
    thread.start()
    held.wait(5)
    assert b"busy" in b"".join(site.get())  # while the other has it
    assert site.statuses[-1] == "503 Service Unavailable"
    release.set()
    thread.join()
    before = connections[DEFAULT_DB_ALIAS]
    visit(site)
    assert site.statuses[-1] == "200 OK"
    assert connections[DEFAULT_DB_ALIAS] is not before
    connections[DEFAULT_DB_ALIAS] = before


def test_an_address_that_needs_none_waits_for_nobody(
    end: list[Site], monkeypatch: Any
) -> None:
    monkeypatch.setattr(lending, "WAIT_S", 0.1)
    site = Site(bound=0)
    end.append(site)
    visit(site, "/quick")
    assert site.statuses == ["200 OK"]


def test_a_failed_request_gives_its_connection_back(end: list[Site]) -> None:
    site = Site(bound=1)
    end.append(site)
    before = connections[DEFAULT_DB_ALIAS]
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            site.get("/broken")
    visit(site)
    connections[DEFAULT_DB_ALIAS] = before
    assert site.statuses == ["200 OK"]
