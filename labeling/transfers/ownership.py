"""Who may run a transfer, and the thread that says that it still does.

The row alone decides. `beat_at` is the claim: each write of the owner names the value
that it wrote before, so that whoever takes a transfer over, or cancels it, ends the
former owner's right to write. All times are the database's.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from django.db import DatabaseError, connection
from django.db.models import Q
from django.db.models.functions import Now
from django.db.utils import InterfaceError

from labeling.models import Transfer

STALE_S = 30
"""Seconds without a sign of life after which a transfer may be taken over."""

BEAT_S = 1.0
"""Seconds between two signs of life, each with the progress."""

State = Transfer.State
_logger = logging.getLogger(__name__)


class Stopped(Exception):
    """The transfer was cancelled, or somebody else has it: write nothing more."""


def stale() -> Q:
    """No sign of life for `STALE_S`."""
    return Q(beat_at=None) | Q(beat_at__lt=Now() - timedelta(seconds=STALE_S))


class Claim:
    """The right to run one transfer, for as long as nobody else takes it."""

    def __init__(self, transfer_id: int, beat_at: datetime) -> None:
        self.transfer_id = transfer_id
        self._beat_at = beat_at

    @classmethod
    def take(cls, transfer_id: int) -> Self | None:
        """Claims a waiting or abandoned transfer; None if somebody else has it.

        One conditional update: of many callers exactly one gets it.
        """
        with connection.cursor() as cursor:
            cursor.execute(
                """
                UPDATE labeling_transfer
                SET state = 'running', beat_at = clock_timestamp(), done = 0, error = ''
                WHERE id = %s AND (
                    state = 'queued' OR state = 'running' AND (
                        beat_at IS NULL
                        OR beat_at < clock_timestamp() - make_interval(secs => %s)))
                RETURNING beat_at
                """,
                [transfer_id, STALE_S],
            )
            row = cursor.fetchone()
        return None if row is None else cls(transfer_id, row[0])

    def beat(self, **changes: Any) -> bool:
        """Keeps the claim and writes `changes`; False if it is lost."""
        with connection.cursor() as cursor:
            cursor.execute("SELECT clock_timestamp()")
            now = cursor.fetchone()
        assert now is not None
        if not self._mine().update(beat_at=now[0], **changes):
            return False
        self._beat_at = now[0]
        return True

    def end(self, state: str, **changes: Any) -> bool:
        """Ends the transfer; False if the claim is lost."""
        return bool(self._mine().update(state=state, finished_at=Now(), **changes))

    def _mine(self) -> Any:
        return Transfer.objects.filter(
            pk=self.transfer_id, state=State.RUNNING, beat_at=self._beat_at
        )


class Heartbeat:
    """Beats from a thread with a database connection of its own.

    A statement of the run that takes long, say, waiting for another import of the
    project, is cancelled when the claim is lost.
    """

    def __init__(self, claim: Claim, state: Callable[[], dict[str, Any]]) -> None:
        """
        Args:
            claim: Beaten for until the end of the `with` block.
            state: Called from the thread; the progress to write with each beat.
        """
        self._claim, self._state = claim, state
        self._lost = threading.Event()
        self._done = threading.Event()
        connection.ensure_connection()
        self._main: Any = connection.connection
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._thread.join()

    @property
    def is_lost(self) -> bool:
        """Whether the run must stop."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raises Stopped when the run must stop; no query."""
        if self._lost.is_set():
            raise Stopped

    def _run(self) -> None:
        seen = time.monotonic()
        try:
            while not self._done.wait(BEAT_S):
                try:
                    if not self._claim.beat(**self._state()):
                        self._lost.set()
                    seen = time.monotonic()
                except (DatabaseError, InterfaceError) as error:
                    _logger.warning(
                        "transfer %s: no heartbeat: %s", self._claim.transfer_id, error
                    )
                    connection.close()
                    if time.monotonic() - seen > STALE_S - 3 * BEAT_S:
                        self._lost.set()
                if self._lost.is_set():
                    if not self._done.is_set():
                        self._main.cancel()
                    return
        finally:
            connection.close()
