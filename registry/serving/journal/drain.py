"""Brings what is on local disk to the database: in order, in batches, each once."""

import json
import logging
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path

from django.db import (
    DataError,
    IntegrityError,
    InterfaceError,
    OperationalError,
    connection,
    transaction,
)

from registry.serving import measures
from registry.serving.journal import folders, store, wal
from registry.serving.journal.entry import Line, decode

BATCH = 500
"""Records of one transaction."""
_BATCH_BYTES = 512 * 1024
LINGER_S = 1.0
"""How long the first of a batch waits for others: an answer among 500 costs the
database a third of what it costs among 50."""
_ADOPT_EVERY_S = 5.0
_BACK_OFF_S = (0.1, 0.2, 0.5, 1.0)
"""Waits after the first, second, ... failure to reach the database."""

_logger = logging.getLogger(__name__)


def write(payloads: Sequence[bytes], *, root: Path, may_be_there: bool) -> list[Line]:
    """Writes records into the database; what it refuses is kept below `root`.

    Args:
        payloads: Records in their order.
        root: Folder of all processes' logs on this machine.
        may_be_there: See `store.insert_new`.

    Returns:
        All lines of the records.

    Raises:
        django.db.Error: The database is away, or not ready for what is written.

    Cost: see `store.insert_new`.
    """
    lines: list[Line] = []
    for payload in payloads:
        try:
            lines += decode(payload)
        except ValueError as error:
            _reject(root, payload.decode(errors="replace"), str(error))
    with measures.stage("drain"):
        _write(lines, root, may_be_there)
    measures.count("drained", len(lines))
    return lines


def _write(lines: Sequence[Line], root: Path, may_be_there: bool) -> None:
    try:
        with transaction.atomic():
            _make_durable()
            taken = store.insert_new(lines, may_be_there=may_be_there)
    except (DataError, IntegrityError, TypeError, ValueError) as error:
        if len(lines) == 1:
            _reject(root, lines[0]._asdict(), f"{type(error).__name__}: {error}")
            return
        # One of them is to blame; the others must not wait for it.
        half = len(lines) // 2
        _write(lines[:half], root, may_be_there)
        _write(lines[half:], root, may_be_there)
        return
    for line in taken:
        _reject(root, line._asdict(), "the request id is another answer's")


def _make_durable() -> None:
    """Has this transaction's commit wait for the disk, also where the server's do not.

    What it holds is removed from local disk right after it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', true)"
            " WHERE current_setting('synchronous_commit') = 'off'"
        )


def _reject(root: Path, what: object, why: str) -> None:
    """Keeps in a file of its own what can't be logged, for people."""
    folder = root / folders.REJECTED
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{uuid.uuid4()}.json"
    text = json.dumps({"why": why, "line": what}, default=str, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    _logger.error("an answer cannot be logged and is kept in %s: %s", path, why)


def adopt(root: Path, *, between: Callable[[], None] = lambda: None) -> int:
    """Drains the logs of processes that have ended, and removes them.

    Args:
        root: Folder of all processes' logs on this machine.
        between: Called after each batch, so that other work need not wait for all.

    Returns:
        How many lines they held; some may have been in the database before.
    """
    n = 0
    for folder in folders.orphans(root):
        try:
            for path in folder.segments():
                n += _drain_file(path, root, between)
                path.unlink()
            folder.remove()
        except OSError as error:
            _logger.error("cannot take over %s: %s", folder.path, error)
            folder.release()
        except BaseException:
            folder.release()
            raise
    if n:
        _logger.warning("took over %s answers of processes that ended", n)
    return n


def _drain_file(path: Path, root: Path, between: Callable[[], None]) -> int:
    batch: list[bytes] = []
    n = n_bytes = 0

    def flush() -> int:
        written = len(write(batch, root=root, may_be_there=True)) if batch else 0
        batch.clear()
        between()
        return written

    try:
        for record in wal.read(path):
            batch.append(record.payload)
            n_bytes += len(record.payload)
            if len(batch) >= BATCH or n_bytes >= _BATCH_BYTES:
                n += flush()
                n_bytes = 0
    except wal.Damaged as error:
        folders.set_aside(path, root, error)
    return n + flush()


class Drain:
    """The thread that empties a process's log while the process lives."""

    def __init__(
        self, log: wal.Wal, root: Path, written: Callable[[Sequence[Line]], None]
    ) -> None:
        """Prepares the thread.

        Args:
            log: What to empty.
            root: Folder of all processes' logs.
            written: Told of lines that are in the database.
        """
        self._log = log
        self._root = root
        self._written = written
        self._at = 0  # up to here everything is in the database
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._is_ending = False
        self._moved = threading.Condition()
        self._adopt_at = 0.0
        self._failures = 0
        self._thread = threading.Thread(
            target=self._run, name="tuneloop-journal", daemon=True
        )

    def start(self) -> None:
        """Starts it; at once it looks for what others left."""
        self._thread.start()

    def wake(self) -> None:
        """There is something to do. Costs nothing when that is known."""
        if not self._wake.is_set():
            self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Waits until everything that is durable now is in the database.

        Returns:
            Whether it is.
        """
        target, deadline = self._log.durable, time.monotonic() + timeout_s
        with self._moved:
            while self._at < target:
                self._hurry.set()
                self._wake.set()
                left_s = deadline - time.monotonic()
                if left_s <= 0 or not self._thread.is_alive():
                    return False
                self._moved.wait(left_s)
        return True

    def end(self, timeout_s: float) -> bool:
        """Drains what is left, as far as time allows, and ends the thread.

        Returns:
            Whether everything is in the database and the thread has ended.
        """
        self._is_ending = True
        self._hurry.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)
        return not self._thread.is_alive() and self._at >= self._log.durable

    # --- The thread -------------------------------------------------------------------

    def _run(self) -> None:
        try:
            while True:
                is_last = self._is_ending
                try:
                    self._drain_own()
                    if not is_last and time.monotonic() >= self._adopt_at:
                        adopt(self._root, between=self._drain_own)
                        self._adopt_at = time.monotonic() + _ADOPT_EVERY_S
                    self._failures = 0
                except Exception as error:
                    # The database is away, or said something nobody thought of. The
                    # answers are on disk: this thread must outlive both.
                    self._back_off(error)
                if is_last:
                    return
                self._rest()
        finally:
            connection.close()

    def _drain_own(self) -> None:
        # Not what comes meanwhile: it would go in ever smaller batches.
        durable = self._log.durable
        while self._at < durable:
            records = self._log.pending(self._at, most=BATCH, most_bytes=_BATCH_BYTES)
            if records:
                payloads = [record.payload for record in records]
                # A commit whose answer was lost may have been done.
                lines = write(
                    payloads, root=self._root, may_be_there=self._failures > 0
                )
                self._written(lines)
            self._log.drop(records[-1].end if records else durable)
            with self._moved:
                self._at = records[-1].end if records else durable
                self._moved.notify_all()

    def _rest(self) -> None:
        if self._failures:
            wait_s = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S)) - 1]
            self._hurry.clear()
            self._hurry.wait(wait_s)
            return
        self._wake.wait(_ADOPT_EVERY_S)
        self._hurry.wait(LINGER_S)
        self._wake.clear()
        self._hurry.clear()

    def _back_off(self, error: Exception) -> None:
        if not self._failures:
            _logger.warning(
                "answers stay on disk for now: %s",
                error,
                exc_info=not isinstance(error, OperationalError | InterfaceError),
            )
        self._failures += 1
        connection.close()
