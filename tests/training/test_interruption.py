"""A signal ends a run, wherever Python is when it comes."""

import os
import signal
from collections.abc import Iterator

import pytest

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
