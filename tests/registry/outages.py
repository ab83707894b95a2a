"""Takes away the embedded services of a data folder, and gives them back."""

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil

Process = psutil.Process


def keeper(home: Path, service: str) -> Process:
    """The process that keeps a service; it starts its server again when that ends."""
    tail = ["tuneloop.embedded.keeper", service, str(home)]
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [])[-3:] == tail:
            return process
    raise AssertionError(f"nobody keeps {service} of {home}")


def server(home: Path, service: str) -> Process:
    """A service's own process."""
    (process,) = keeper(home, service).children()
    return process


@contextlib.contextmanager
def stopped(home: Path, service: str, *, sig: int = signal.SIGINT) -> Iterator[None]:
    """A server that is stopped (or killed, by `sig`) and away until the block ends."""
    keeping, process = keeper(home, service), server(home, service)
    keeping.suspend()  # it must not start another one yet
    try:
        process.send_signal(sig)
        with contextlib.suppress(psutil.TimeoutExpired):
            process.wait(0.5)  # a zombie until its keeper goes on
        yield
    finally:
        keeping.resume()


@contextlib.contextmanager
def frozen(home: Path, service: str) -> Iterator[None]:
    """A server that takes connections and says nothing until the block ends."""
    first = server(home, service)
    first.suspend()
    processes = [first, *first.children(recursive=True)]
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.suspend()
    try:
        yield
    finally:
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


def kill(home: Path, service: str) -> None:
    """Kills a server, which its keeper starts again."""
    os.kill(server(home, service).pid, signal.SIGKILL)
