"""A web process's own journal: what it acknowledged, on disk until the log has it."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from registry.serving.journal import wal
from registry.serving.journal.drain import Drain
from registry.serving.journal.entry import Line, decode, encode
from registry.serving.journal.store import RequestIdTaken
from registry.serving.journal.wal import Full, Ticket, Wal

_RECENT_BYTES = 8 * 1024 * 1024
"""Of the latest records that are kept in memory: their request ids can be answered
again while the database is away."""


class JournalFull(Exception):
    """Answers can't be kept: the local journal, or its disk, has no room left."""


class Depth(NamedTuple):
    """What this process has on disk only."""

    entries: int
    bytes: int
    oldest_s: float


class Journal:
    """Appends, remembers by request id, drains. All methods are thread-safe."""

    def __init__(
        self, root: Path, *, limit_bytes: int, recent_bytes: int = _RECENT_BYTES
    ) -> None:
        """Begins a log of its own below `root` and starts to drain it.

        Args:
            root: Folder of all processes' logs on this machine.
            limit_bytes: Most that all of them may take together.
            recent_bytes: How much is remembered in memory.
        """
        self._root = root
        self._wal = Wal(root, limit_bytes=limit_bytes)
        self._drain = Drain(self._wal, root, self._forget)
        self._lock = threading.Lock()
        # Not in the database yet; a dict keeps the order in which they came.
        self._pending: dict[str, Ticket] = {}
        self._recent: dict[str, bytes] = {}
        self._order: deque[tuple[list[str], int]] = deque()
        self._room = recent_bytes
        self._drain.start()

    def record(self, lines: Sequence[Line]) -> None:
        """Writes the answers of one request down; durable when it returns."""
        self.begin(lines)()

    def begin(self, lines: Sequence[Line]) -> Callable[[], None]:
        """Writes the answers of one request down.

        Returns:
            What waits until they are durable.

        Raises:
            RequestIdTaken: This process has answered one's request id before.
            JournalFull: There is no room; nothing was written. What is returned may
                raise it, too.

        Cost: one write of the disk, shared by all that were begun before it.
        """
        payload = encode(lines)
        ids = [line.request_id for line in lines]
        with self._lock:
            if any(id_ in self._pending or id_ in self._recent for id_ in ids):
                raise RequestIdTaken
            try:
                ticket = self._wal.append(payload)
            except Full as error:
                raise JournalFull(str(error)) from error
            for id_ in ids:
                self._pending[id_] = ticket

        def end() -> None:
            try:
                self._wal.commit(ticket)
            except OSError as error:
                with self._lock:
                    for id_ in ids:
                        self._pending.pop(id_, None)
                raise JournalFull(str(error)) from error
            self._remember(ids, payload)
            self._drain.wake()

        return end

    def recall(self, request_id: str) -> Line | None:
        """An answer of this process that it still knows, durable when it is given.

        Raises:
            JournalFull: It is just being written, and that fails.
        """
        with self._lock:
            ticket = self._pending.get(request_id)
            payload = self._recent.get(request_id)
        if payload is None and ticket is not None:
            try:
                self._wal.commit(ticket)
            except OSError as error:
                raise JournalFull(str(error)) from error
            payload = self._wal.payload(ticket)
        return None if payload is None else _line(payload, request_id)

    def recall_of_others(self, request_id: str) -> Line | None:
        """An answer that another process of this machine gave some moments ago."""
        apart = self._wal.folder.path
        payload = wal.search(self._root, request_id.encode(), apart=apart)
        return None if payload is None else _line(payload, request_id)

    def depth(self) -> Depth:
        """What waits for the database now."""
        with self._lock:
            first = next(iter(self._pending.values()), None)
            n = len(self._pending)
        if first is None:
            return Depth(0, 0, 0.0)
        held = max(0, self._wal.durable - first.start)
        return Depth(n, held, time.monotonic() - first.at)

    def flush(self, timeout_s: float) -> bool:
        """Waits until what was acknowledged is in the database; whether it is."""
        return self._drain.flush(timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Takes no more answers and drains what is there.

        What time does not allow stays on disk; another process takes it over once this
        one has ended.

        Returns:
            Whether everything is in the database.
        """
        self._wal.seal()
        is_empty = self._drain.end(timeout_s)
        if is_empty:
            self._wal.remove()
        return is_empty

    def _remember(self, ids: list[str], payload: bytes) -> None:
        with self._lock:
            for id_ in ids:
                self._recent[id_] = payload
            self._order.append((ids, len(payload)))
            self._room -= len(payload)
            while self._room < 0 and self._order:
                oldest, size = self._order.popleft()
                self._room += size
                for id_ in oldest:
                    del self._recent[id_]

    def _forget(self, lines: Sequence[Line]) -> None:
        with self._lock:
            for line in lines:
                self._pending.pop(line.request_id, None)


def _line(payload: bytes, request_id: str) -> Line | None:
    lines = (line for line in decode(payload) if line.request_id == request_id)
    return next(lines, None)
