"""How a web process is started: granian, WSGI, a bounded number of threads."""

import os
import sys

from django.conf import settings

_MOST_THREADS = 512
CONNECTIONS = 16
"""Requests of one web process that may use the database at the same time: pages and
API calls other than classify. Its own threads have at most eight more."""


def threads() -> int:
    """Of one web process: more than it takes classify calls at once.

    So there is one left to turn the next call away. Idle ones end; their number costs
    nothing that can be measured (`tests/benchmarks/bench_servers.py`).
    """
    return int(min(settings.SERVING_IN_FLIGHT + CONNECTIONS, _MOST_THREADS))


def command(*, host: str, port: int, processes: int) -> list[str]:
    """The command line of a web server, to be run in `environment()`.

    Args:
        host: Address to listen on.
        port: TCP port.
        processes: Worker processes; granian starts a killed one again.
    """
    return [
        *(sys.executable, "-m", "granian", "--interface", "wsgi"),
        *("--host", host, "--port", str(port)),
        *("--workers", str(processes), "--blocking-threads", str(threads())),
        *("--respawn-failed-workers", "--workers-kill-timeout", "3"),
        *("--no-ws", "--no-access-log"),
        "tuneloop.wsgi:application",
    ]


def source_path() -> str:
    """PYTHONPATH with which a process finds the code also where it is not installed."""
    sources = [str(settings.BASE_DIR), str(settings.BASE_DIR / "platform")]
    inherited = filter(None, [os.environ.get("PYTHONPATH")])
    return os.pathsep.join([*sources, *inherited])


def environment() -> dict[str, str]:
    """This process's environment, made fit for a web process."""
    return {**os.environ, "TUNELOOP_ROLE": "web", "PYTHONPATH": source_path()}
