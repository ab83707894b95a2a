"""How a web process is started: granian, WSGI, a fixed number of threads."""

import os
import sys

from django.conf import settings

THREADS = 16
"""Requests that one web process works on at the same time; each thread keeps one
database connection."""


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
        *("--workers", str(processes), "--blocking-threads", str(THREADS)),
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
