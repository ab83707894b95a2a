"""Keeps a claim on a running batch alive, and tells the run when it must stop."""

import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

from django.db import DatabaseError, connection
from django.db.utils import InterfaceError

from training.batches import ownership

BEAT_S = 1.0
"""Seconds between two signs of life; a cancel is noticed at one of them."""

REPORT_S = 1.0
"""Seconds between two writes of the progress."""

_logger = logging.getLogger(__name__)


class Stop(Exception):
    """The run must not go on."""


class Lost(Stop):
    """Somebody else has the batch: write nothing more."""


class Cancelled(Stop):
    """A manager asked for it."""


class Heartbeat:
    """Beats from a thread with a database connection of its own.

    A claim is lost when another fence stands in the row, or when the database can't be
    reached for so long that another worker may have taken the batch over.
    """

    def __init__(
        self,
        batch_id: int,
        fence: int,
        *,
        changes: Callable[[], dict[str, Any]] | None = None,
        on_lost: Callable[[], None] | None = None,
    ) -> None:
        """
        Args:
            batch_id: A batch that the caller has claimed.
            fence: What the claim returned.
            changes: Columns to write with each beat, asked for from the thread.
            on_lost: Called from the thread when the claim is lost. A process of its own
                exits here, since a long step would go on for a while otherwise.
        """
        self.batch_id, self.fence = batch_id, fence
        self._changes = changes or dict
        self._on_lost = on_lost
        self._lost = threading.Event()
        self._cancelled = threading.Event()
        self._done = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"heartbeat-{batch_id}", daemon=True
        )

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

    def check(self) -> None:
        """Raises Lost or Cancelled when the run must stop; no query."""
        if self._lost.is_set():
            raise Lost
        if self._cancelled.is_set():
            raise Cancelled

    def write(self, **changes: Any) -> None:
        """Writes to the batch's row as its owner, and checks.

        Raises:
            Lost, Cancelled
        """
        self._note(ownership.beat(self.batch_id, self.fence, **changes))
        self.check()

    def _note(self, cancel_requested: bool | None) -> None:
        if cancel_requested is None:
            self._lost.set()
        elif cancel_requested:
            self._cancelled.set()

    def _run(self) -> None:
        seen = time.monotonic()
        try:
            while not self._done.wait(BEAT_S):
                try:
                    self._note(
                        ownership.beat(self.batch_id, self.fence, **self._changes())
                    )
                    seen = time.monotonic()
                except (DatabaseError, InterfaceError) as error:
                    _logger.warning("batch %s: no heartbeat: %s", self.batch_id, error)
                    connection.close()
                    if time.monotonic() - seen > ownership.STALE_S - BEAT_S:
                        self._lost.set()
                if self._lost.is_set():
                    if not self._done.is_set() and self._on_lost is not None:
                        self._on_lost()
                    return
        finally:
            connection.close()
