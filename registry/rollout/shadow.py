"""What a version in shadow would have answered: asked behind the requests, kept.

A request only puts a note into a bounded queue. One thread takes what has gathered,
asks the version for all of it at once and writes it in one transaction; it runs at a
lower priority than the threads that answer users. What comes faster than it can answer
is left out and counted.
"""

import contextlib
import logging
import os
import queue
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F
from psycopg.types.json import Jsonb

from labeling.models import Project
from registry.models import Rollout
from registry.serving import engine, measures
from registry.serving.engine import Answer, Target
from registry.serving.rollout import RolloutSpec

CAPACITY = 4_096
"""Notes that wait at most, about 1 KB each."""
_AT_ONCE = 256
_GATHER_S = 0.25
"""Nobody waits for the shadow: larger batches cost less a text."""
_AGAIN_S = 1.0
"""Before what could not be written is tried again."""
_NICENESS = 5
"""With both cores busy, about a quarter of what an answering thread gets."""

_logger = logging.getLogger(__name__)

_INSERT = """
INSERT INTO registry_shadowanswer (rollout_id, request_id, text, active_codes,
    active_confidence, active_latency_ms, codes, confidence, method, latency_ms,
    agrees, created_at)
SELECT %s, fresh.*, clock_timestamp() FROM unnest(%s::uuid[], %s::text[], %s::jsonb[],
    %s::float8[], %s::float8[], %s::jsonb[], %s::float8[], %s::text[], %s::float8[],
    %s::bool[]) AS fresh
ON CONFLICT (rollout_id, request_id) DO NOTHING RETURNING agrees
"""


class Note(NamedTuple):
    """A request that the active version has answered."""

    spec: RolloutSpec
    project: Project
    request_id: UUID
    text: str
    codes: list[str]
    """What was answered, sorted."""
    confidence: float
    latency_ms: float


class Compared(NamedTuple):
    """What both versions say of one request."""

    note: Note
    codes: list[str]
    confidence: float
    method: str
    latency_ms: float

    @property
    def agrees(self) -> bool:
        return self.codes == self.note.codes


def codes_of(answer: Answer, *, multi: bool) -> list[str]:
    """The intents that were answered, sorted, without the next best."""
    chosen = answer.intents if multi else answer.intents[:1]
    return sorted(intent["code"] for intent in chosen)


class Shadow:
    """One process's own. `offer` is cheap and never waits."""

    def __init__(self, *, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._pid = 0
        self._notes: queue.SimpleQueue[Note | None] = queue.SimpleQueue()
        self._dropped: Counter[int] = Counter()
        self._failed: Counter[int] = Counter()
        self._unwritten: list[Compared] = []

    def offer(self, notes: Iterable[Note]) -> None:
        """Has a version in shadow answer these too, as far as there is room."""
        self._start()
        for note in notes:
            if self._notes.qsize() < self._capacity:
                self._notes.put(note)
            else:
                measures.count("shadow", result="dropped")
                with self._lock:
                    self._dropped[note.spec.id] += 1

    def note_failed(self, rollout_id: int, n: int) -> None:
        """Counts questions that a rollout's version could not answer."""
        self._start()
        with self._lock:
            self._failed[rollout_id] += n

    def stop(self) -> None:
        """Ends the thread when it has answered what waits."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self._pid = 0
        self._notes.put(None)
        self._thread.join()

    def _start(self) -> None:
        """A forked child starts a thread of its own."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._notes = queue.SimpleQueue()
            self._pid = os.getpid()
            self._thread = threading.Thread(
                target=self._run, name="tuneloop-shadow", daemon=True
            )
            self._thread.start()

    def _run(self) -> None:
        # Linux counts niceness by thread; elsewhere the shadow runs like the others.
        with contextlib.suppress(OSError, AttributeError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        is_running = True
        while is_running:
            notes, is_running = self._gather()
            try:
                self._work(notes)
            except Exception as error:
                # The database is away, or said something that nobody thought of.
                _logger.warning("shadow answers wait: %s", error)
                time.sleep(_AGAIN_S)
            finally:
                connection.close()

    def _gather(self) -> tuple[list[Note], bool]:
        """What has come within a moment, and whether the thread goes on."""
        notes: list[Note] = []
        until: float | None = None
        while len(notes) < _AT_ONCE:
            wait_s = _AGAIN_S if until is None else until - time.monotonic()
            try:
                note = self._notes.get(timeout=max(0.0, wait_s))
            except queue.Empty:
                break
            if note is None:
                return notes, False
            notes.append(note)
            until = until or time.monotonic() + _GATHER_S
        return notes, True

    def _work(self, notes: Sequence[Note]) -> None:
        try:
            compared, failed = compare(notes)
        except BaseException:
            with self._lock:
                self._dropped.update(note.spec.id for note in notes)
            raise
        # Kept in memory until it is in the database, but not without bound.
        with self._lock:
            self._failed.update(failed)
            room = self._capacity - len(self._unwritten)
            for one in compared[room:]:
                self._dropped[one.note.spec.id] += 1
        self._unwritten += compared[:room]
        with self._lock:
            dropped, self._dropped = self._dropped, Counter()
            failed, self._failed = self._failed, Counter()
        try:
            write(self._unwritten, dropped=dropped, failed=failed)
        except BaseException:
            with self._lock:
                self._dropped.update(dropped)
                self._failed.update(failed)
            raise
        self._unwritten = []


def compare(notes: Sequence[Note]) -> tuple[list[Compared], Counter[int]]:
    """Asks the versions in shadow.

    Returns:
        What they say, and how many questions they could not answer, by rollout.

    Cost: one batch a rollout; no query while the rules in memory are of today.
    """
    by_rollout: defaultdict[int, list[Note]] = defaultdict(list)
    for note in notes:
        by_rollout[note.spec.id].append(note)
    compared: list[Compared] = []
    failed: Counter[int] = Counter()
    for rollout_id, group in by_rollout.items():
        spec, project = group[-1].spec, group[-1].project
        target = Target(project, spec.version_id, spec.number)
        began = time.perf_counter()
        texts = [note.text for note in group]
        answers = engine.classify(target, texts, top_k=1, use_gold=False)
        each_ms = (time.perf_counter() - began) * 1000 / len(group)
        for note, answer in zip(group, answers, strict=True):
            if answer.degraded:
                failed[rollout_id] += 1
                measures.count("shadow", result="failed")
                continue
            codes = codes_of(answer, multi=project.is_multi_intent)
            one = Compared(note, codes, answer.confidence, str(answer.method), each_ms)
            measures.count("shadow", result="agreed" if one.agrees else "disagreed")
            compared.append(one)
    return compared, failed


def write(
    compared: Sequence[Compared],
    *,
    failed: Counter[int],
    dropped: Counter[int] | None = None,
) -> None:
    """Writes answers and counts, all or none; a request that is there is left alone.

    Args:
        compared: Of any rollouts.
        failed: Questions that a rollout's version could not answer, by rollout.
        dropped: Questions that there was no time for, by rollout.

    Cost: two statements a rollout.
    """
    dropped = dropped or Counter()
    rows: defaultdict[int, list[Compared]] = defaultdict(list)
    for one in compared:
        rows[one.note.spec.id].append(one)
    concerned = sorted({*rows, *dropped, *failed})
    if not concerned:
        return
    with transaction.atomic():
        # A rollout is gone when its project is.
        there = Rollout.objects.filter(pk__in=concerned).order_by("pk")
        for rollout_id in there.select_for_update(
            of=("self",), no_key=True
        ).values_list("pk", flat=True):
            agreed = _insert(rollout_id, rows[rollout_id])
            Rollout.objects.filter(pk=rollout_id).update(
                compared=F("compared") + len(agreed),
                agreed=F("agreed") + sum(agreed),
                dropped=F("dropped") + dropped[rollout_id],
                failed=F("failed") + failed[rollout_id],
            )


def _insert(rollout_id: int, rows: Sequence[Compared]) -> list[bool]:
    """Whether each of those that were not there yet agrees."""
    if not rows:
        return []
    with connection.cursor() as cursor:
        cursor.execute(
            _INSERT,
            [
                rollout_id,
                [row.note.request_id for row in rows],
                [row.note.text for row in rows],
                [Jsonb(row.note.codes) for row in rows],
                [row.note.confidence for row in rows],
                [row.note.latency_ms for row in rows],
                [Jsonb(row.codes) for row in rows],
                [row.confidence for row in rows],
                [row.method for row in rows],
                [row.latency_ms for row in rows],
                [row.agrees for row in rows],
            ],
        )
        return [agrees for (agrees,) in cursor.fetchall()]


shadow = Shadow()
"""This process's own."""
