"""A signal ends a run, wherever Python is when it comes."""

import os
import signal
import threading
import time
from collections.abc import Iterator

import pytest
from django.db import connection, connections, transaction

from training.processes import interruption as module
from training.processes.interruption import Interruption


class Stopped(BaseException):
    """What the tests raise."""


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    """Puts the signal's own handler back."""
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_it_is_raised_where_the_signal_comes() -> None:
    interruption = Interruption(Stopped, signal.SIGUSR1)
    interruption.check()
    with pytest.raises(Stopped):
        os.kill(os.getpid(), signal.SIGUSR1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_it_is_raised_at_the_next_step_where_it_was_dropped() -> None:
    interruption = Interruption(Stopped, signal.SIGUSR1)

    class Dropping:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGUSR1)

    Dropping()  # gone at once, with what its destructor raised
    with pytest.raises(Stopped):
        interruption.check("a step")


def in_a_moment() -> None:
    """The signal comes while the caller is busy with what it does next."""
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGUSR1)).start()


@pytest.mark.django_db
def test_a_statement_comes_to_its_end_before() -> None:
    Interruption(Stopped, signal.SIGUSR1)
    seen = []

    def run() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            in_a_moment()
            cursor.execute("SELECT pg_sleep(0.5)")
            seen.append("end")
            time.sleep(60)

    with pytest.raises(Stopped):
        run()
    assert seen == ["end"]
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,)


@pytest.mark.django_db
def test_what_was_raised_at_a_step_is_not_raised_once_more() -> None:
    interruption = Interruption(Stopped, signal.SIGUSR1)
    with connection.cursor() as cursor:
        in_a_moment()
        cursor.execute("SELECT pg_sleep(0.5)")
    with pytest.raises(Stopped):
        interruption.check()
    time.sleep(0.1)  # putting things in order


@pytest.mark.django_db
def test_a_statement_that_does_not_end_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
    Interruption(Stopped, signal.SIGUSR1)
    own = connections.create_connection("default")
    in_a_moment()
    try:
        with pytest.raises(Stopped):
            own.cursor().execute("SELECT pg_sleep(60)")
    finally:
        own.connection.cancel()
        own.close()
