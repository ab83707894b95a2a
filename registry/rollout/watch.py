"""Looks after versions that serve, every few seconds, in the web processes.

Not on a worker: after an activation the one worker renews the labelling queue for
minutes, which is just when the guard has to look. Of several processes one looks.
"""

import logging
import os
import threading
from contextlib import closing

from django.db import connection

from registry.rollout import alarms, disagreements, guard
from registry.serving.process import is_web

EVERY_S = 10.0
_LOCK = 0x67756172
"""Key of the advisory lock, "guar"."""

_logger = logging.getLogger(__name__)


def look() -> bool:
    """One look at everything; False where another process is at it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK])
        (is_alone,) = cursor.fetchone()
    if not is_alone:
        return False
    try:
        guard.check()
        disagreements.raise_priorities()
        alarms.send_due()
    finally:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [_LOCK])
    return True


class Watch:
    """One process's thread."""

    def __init__(self, *, every_s: float = EVERY_S) -> None:
        self._every_s = every_s
        self._lock = threading.Lock()
        self._pid = 0

    def start(self) -> None:
        """Starts the thread, once; a forked child starts its own."""
        with self._lock:
            if self._pid == os.getpid():
                return
            self._pid = os.getpid()
            self._ending = threading.Event()
            self._thread = threading.Thread(
                target=self._run, name="tuneloop-watch", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends the thread when its look is over."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self._ending.set()
            self._thread.join()
            self._pid = 0

    def _run(self) -> None:
        while not self._ending.wait(self._every_s):
            try:
                with closing(connection):
                    look()
            except Exception as error:
                # The database is away, or said something that nobody thought of. This
                # thread must outlive both.
                _logger.warning("looking again in %s s: %s", self._every_s, error)


watch = Watch()
"""This process's own."""


def start() -> None:
    """Starts this process's watch, if it is a web process and has none yet."""
    if is_web():
        watch.start()
