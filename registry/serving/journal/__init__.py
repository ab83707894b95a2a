"""Answers are written down before they are given: none lost, none doubled.

In a web process an answer is acknowledged once it is in a write-ahead log on local
disk (`wal`), which a thread brings to the database (`drain`, `store`): classification
goes on while the database is away, and no request thread ever waits for it. In every
other process the same functions write to the database in the caller's transaction.
"""

import multiprocessing.util
import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

from django.conf import settings

from labeling.models import ApiKey, Project
from registry.serving import hits, measures
from registry.serving.journal import store, wal
from registry.serving.journal.drain import LINGER_S
from registry.serving.journal.drain import adopt as _adopt
from registry.serving.journal.entry import Entry, Line, answer_of, line
from registry.serving.journal.own import Depth, Journal, JournalFull
from registry.serving.journal.store import RequestIdTaken
from registry.serving.lookup import Away, Lookup
from registry.serving.process import is_web

__all__ = [
    "LINGER_S",
    "Depth",
    "Entry",
    "JournalFull",
    "RequestIdTaken",
    "adopt",
    "answer_of",
    "begin",
    "close",
    "depth",
    "flush",
    "is_on_disk",
    "recall",
    "record",
    "start",
]

_RECALL_S = 0.25
"""Longest that a request waits to learn whether its id was answered before."""
_CLOSE_S = 2.0

_lock = threading.Lock()
_own: Journal | None = None
_pid = 0


def record(
    project: Project,
    entries: Sequence[Entry],
    *,
    client: ApiKey | None,
    at: datetime,
) -> None:
    """Logs answers and counts their questions, all or none; durable when it returns.

    See `begin`.
    """
    begin(project, entries, client=client, at=at)()


def begin(
    project: Project,
    entries: Sequence[Entry],
    *,
    client: ApiKey | None,
    at: datetime,
) -> Callable[[], None]:
    """Logs answers and counts their questions, all or none.

    They are durable when what is returned has been called, which waits for that: who
    begins several before he waits for the first has them written together.

    Args:
        project: Whose questions they are.
        entries: One a text.
        client: The key that asked.
        at: When the request came.

    Raises:
        RequestIdTaken: A request id is that of an earlier answer; nothing was written.
        JournalFull: There is no room left on local disk; nothing was written. What is
            returned may raise it, too.

    Cost: in a web process one write of the disk, shared by all who wait at the same
    time; elsewhere two statements.
    """
    lines = [line(project, entry, client=client, at=at) for entry in entries]
    began = time.perf_counter()
    commit: Callable[[], None] | None = None
    if is_web():
        commit = start().begin(lines)
    else:
        store.insert(lines)

    def end() -> None:
        if commit is not None:
            commit()
            measures.took("journal", time.perf_counter() - began)
        for entry in entries:
            hits.count(entry.answer.rule_ids)

    return end


def recall(project: Project, request_id: UUID) -> Line | None:
    """An earlier answer: from this process's memory, the log, or a neighbour's disk.

    While the database is away only the latest answers of this machine are known.

    Raises:
        RequestIdTaken: It belongs to another project.
        JournalFull: It is just being written, and that fails.

    Cost: nothing, or a share of one query and about 0.1 ms for each other process.
    """
    logged: Line | None
    if is_web():
        own, id_ = start(), str(request_id)
        logged = own.recall(id_) or _look_up(request_id) or own.recall_of_others(id_)
    else:
        logged = store.find([request_id]).get(request_id)
    if logged is not None and logged.project_id != project.pk:
        raise RequestIdTaken
    return logged


def _find(request_ids: Sequence[UUID]) -> Mapping[UUID, Line]:
    return store.find(request_ids)


_log = Lookup("recall", _find, wait_s=_RECALL_S)


def _look_up(request_id: UUID) -> Line | None:
    try:
        return _log.get([request_id]).get(request_id)
    except Away:
        return None


def depth() -> Depth:
    """What this process has on local disk only."""
    return Depth(0, 0, 0.0) if _own is None or _pid != os.getpid() else _own.depth()


def flush(timeout_s: float) -> bool:
    """Waits until this process's answers are in the database.

    Returns:
        Whether they are.
    """
    return _own is None or _pid != os.getpid() or _own.flush(timeout_s)


def is_on_disk(request_id: UUID) -> bool:
    """Whether an answer was written to this machine's disk some moments ago.

    It may be in the database by now. Cost: about 0.1 ms a process.
    """
    return wal.search(_root(), str(request_id).encode()) is not None


def adopt() -> int:
    """Brings to the database what ended processes of this machine left on disk.

    Returns:
        How many answers they held; some may have been in the database before.
    """
    return _adopt(_root())


def _root() -> Path:
    root: Path = settings.HOME / "journal"
    return root


def start() -> Journal:
    """This process's journal, begun with the first call; a forked child has its own."""
    global _own, _pid
    if _pid == os.getpid() and _own is not None:
        return _own
    with _lock:
        if _pid != os.getpid() or _own is None:
            limit = settings.JOURNAL_MB * 1024 * 1024
            _own = Journal(_root(), limit_bytes=limit)
            _pid = os.getpid()
            # A process of multiprocessing ends without what `atexit` knows of.
            multiprocessing.util.Finalize(None, close, exitpriority=10)
            measures.gauge("journal_entries", lambda: depth().entries)
            measures.gauge("journal_bytes", lambda: depth().bytes)
            measures.gauge("journal_oldest_seconds", lambda: depth().oldest_s)
        return _own


def close(timeout_s: float = _CLOSE_S) -> bool:
    """Takes no more answers; drains what is there, as far as time allows.

    Called again, or where there is no journal, it does nothing.

    Returns:
        Whether everything is in the database; the rest stays on disk for `adopt`.
    """
    global _own
    with _lock:
        closing, _own = _own, None
    return closing is None or _pid != os.getpid() or closing.close(timeout_s)
