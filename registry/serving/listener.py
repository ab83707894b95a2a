"""Keeps a web process up to date: versions and rules are loaded before they are asked.

Two daemon threads: one follows the database (keys, projects, rules) and reports what
the process serves, the other loads models. Each has a database connection of its own.
Requests are answered with what these two have put into memory, not with questions to
the database; while it is away, with what was there last.
"""

import contextlib
import logging
import os
import queue
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import psutil
from django.db import OperationalError, connection
from django.db.models.functions import Now
from django.utils import timezone
from psycopg.errors import LockNotAvailable

from labeling.revision import CHANNEL
from registry.models import ServingProcess
from registry.serving import hits, keys, limits, measures
from registry.serving.engine import Target
from registry.serving.process import is_web
from registry.serving.runtime import Runtime, Unavailable, runtime

_TICK_S = 0.5
"""Between two looks at keys and projects: a revoked key ends within a second."""
_TICKS_A_REPORT = 2
_TICKS_A_SWEEP = 10
_BACK_OFF_S = (0.1, 0.25, 0.5)
"""Waits after the first, second, ... failure to reach the database."""
_LOCK_TIMEOUT_MS = 200
_LOADED_WITHIN_S = 10.0
"""Longest that a request waits for a project that is not in memory."""
_ALIVE = timedelta(seconds=5)
_FORGOTTEN_AFTER = timedelta(minutes=1)

_logger = logging.getLogger(__name__)


class NotLoaded(Exception):
    """What a project is answered with is being loaded, or can't be read now."""


class _Job:
    """What the loading thread does next, and who waits for it."""

    __slots__ = ("done", "is_done_well", "target", "version_id")

    def __init__(self, version_id: int | None, target: Target | None = None) -> None:
        self.version_id = version_id
        self.target = target
        """Its rules are loaded too."""
        self.done = threading.Event()
        self.is_done_well = False


class Listener:
    """One process's own. `start` is cheap and may be called with every request."""

    def __init__(self, runtime: Runtime, memory: keys.Memory) -> None:
        """Follows the database.

        Args:
            runtime: Gets the versions and rules that are to be served.
            memory: Gets the keys, and what their projects are answered with.
        """
        self._runtime = runtime
        self._memory = memory
        self._lock = threading.Lock()
        self._pid = 0

    def start(self) -> None:
        """Starts both threads, once; a forked child starts its own."""
        if self._pid == os.getpid():
            return
        with self._lock:
            if self._pid == os.getpid():
                return
            self._id = uuid.uuid4()
            self._started_at = timezone.now()
            self._ending = threading.Event()
            self._failures = 0
            # None ends the thread.
            self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
            # What the database wants served; the memory has what is.
            self._wanted: dict[int, tuple[keys.Row, Target]] = {}
            # Active versions to load before the process is ready; None until known.
            self._awaited: set[int] | None = None
            self._threads = [
                threading.Thread(target=run, name=f"tuneloop-{name}", daemon=True)
                for name, run in (("listen", self._listen), ("load", self._load))
            ]
            for thread in self._threads:
                thread.start()
            self._pid = os.getpid()

    def stop(self) -> None:
        """Ends both threads and takes the process's row away."""
        with self._lock:
            if self._pid != os.getpid():
                return
            self._ending.set()
            self._jobs.put(None)
            for thread in self._threads:
                thread.join()
            self._pid = 0
            ServingProcess.objects.filter(pk=self._id).delete()

    def is_ready(self) -> bool:
        """Whether each version that was active at the start is loaded, or has failed.

        A version that can't be loaded doesn't keep the process from serving the others;
        its project is served by rules, and the process's row says so.
        """
        return self._pid == os.getpid() and self._awaited == set()

    def prepare(self, target: Target) -> None:
        """Has what a target needs loaded by the thread for it, and waits.

        Raises:
            NotLoaded: It is not there in time, or can't be read.

        Cost: nothing where it is in memory, or can't be loaded: then rules answer.
        """
        if self._is_loaded(target):
            return
        job = _Job(target.version_id, target)
        self._jobs.put(job)
        if not job.done.wait(_LOADED_WITHIN_S) or not job.is_done_well:
            raise NotLoaded

    def _is_loaded(self, target: Target) -> bool:
        project, version_id = target.project, target.version_id
        return self._runtime.holds_rules(project.pk, project.serving_revision) and (
            version_id is None
            or self._runtime.holds(version_id)
            or version_id in self._runtime.failed()
        )

    # --- The listening thread ---------------------------------------------------------

    def _listen(self) -> None:
        while not self._ending.is_set():
            try:
                self._follow()
            except Exception as error:
                # The database is away, or said something that nobody thought of. This
                # thread must outlive both.
                wait_s = _BACK_OFF_S[min(self._failures, len(_BACK_OFF_S) - 1)]
                self._failures += 1
                _logger.warning("listening again in %s s: %s", wait_s, error)
                self._ending.wait(wait_s)
            finally:
                connection.close()

    def _follow(self) -> None:
        """Listens, polls and reports until something fails or `stop` is called."""
        connection.ensure_connection()
        wire = connection.connection  # psycopg's own; Django keeps it in autocommit
        wire.execute(f"LISTEN {CHANNEL}")
        # Nobody's long transaction may keep this process from following.
        wire.execute(f"SET lock_timeout = {_LOCK_TIMEOUT_MS}")
        ticks = 0
        while not self._ending.is_set():
            due = time.monotonic() + _TICK_S
            self._poll()
            if ticks % _TICKS_A_REPORT == 0:
                self.report()
                _write(hits.flush)
                _write(self._memory.note_use)
            if ticks % _TICKS_A_SWEEP == 0:
                _forget_ended_processes()
                self._retry()
                limits.rates.machines = max(1, _machines())
            ticks += 1
            self._failures = 0
            while (left_s := due - time.monotonic()) > 0 and not self._ending.is_set():
                self._heed(
                    {n.payload for n in wire.notifies(timeout=left_s, stop_after=1)}
                )

    def _heed(self, payloads: set[str]) -> None:
        """Projects' ids, or `prepare:<project id>:<version id>`."""
        wanted = {payload for payload in payloads if payload.startswith("prepare:")}
        for payload in wanted:
            self._jobs.put(_Job(int(payload.rpartition(":")[2])))
        if payloads - wanted:
            self._poll()

    def _poll(self) -> None:
        """Reads keys and projects, and serves what changed. Two queries."""
        self._memory.refresh()
        now = keys.targets()
        before, self._wanted = self._wanted, now
        gone = (
            self._memory.project_ids() | self._runtime.revisions().keys()
        ) - now.keys()
        self._runtime.forget(gone)
        self._memory.forget(gone)
        changed = [
            target
            for pk, (row, target) in now.items()
            if pk not in before or before[pk][0] != row
        ]
        ahead = None
        if self._awaited is None:
            ahead = self._choose(changed)
            self._awaited = {t.version_id for t in ahead if t.version_id is not None}
        try:
            for target in changed:
                self._follow_up(target, is_ahead=ahead is None or target in ahead)
        except BaseException:
            self._wanted = {}  # the next poll finds all of it changed, and tries again
            raise

    def _follow_up(self, target: Target, *, is_ahead: bool) -> None:
        """Loads what a changed project needs, rules here and models in their thread."""
        project = target.project
        if is_ahead or project.pk in self._runtime.revisions():
            self._runtime.rulebook(project.pk, project.serving_revision)
        self._publish(target)
        needed = {target.rollout.version_id} if target.rollout else set()
        if is_ahead and target.version_id is not None:
            needed.add(target.version_id)
        for version_id in needed:
            if not self._runtime.holds(version_id):
                self._jobs.put(_Job(version_id))
            elif self._awaited:
                self._awaited.discard(version_id)

    def _publish(self, target: Target) -> None:
        """Has requests answered with a target, as far as its versions are loaded.

        While one is being loaded, and where it can't be, the version of before answers.
        """
        before = self._memory.target(target.project.pk)
        if before is not None and self._must_wait(target.version_id, before.version_id):
            target = replace(target, version_id=before.version_id, number=before.number)
        rollout = target.rollout
        if rollout is not None and not self._runtime.holds(rollout.version_id):
            target = replace(target, rollout=None)
        self._memory.publish(target)

    def _must_wait(self, wanted: int | None, before: int | None) -> bool:
        return (
            wanted is not None
            and before not in (None, wanted)
            and not self._runtime.holds(wanted)
        )

    def _retry(self) -> None:
        """Has loaded again what should serve and failed: a file may have come back."""
        failed = self._runtime.failed()
        for _row, target in self._wanted.values():
            if target.version_id in failed:
                self._jobs.put(_Job(target.version_id))

    def _choose(self, targets: list[Target]) -> list[Target]:
        """Those to load at the start: the newest active versions that fit."""
        served = [target for target in targets if target.version_id is not None]
        served.sort(key=lambda target: -(target.version_id or 0))
        return served[: self._runtime.capacity]

    def report(self) -> None:
        """Writes the process's row. One statement."""
        serving = self._runtime.report()
        for project_id, entry in serving.items():
            served = self._memory.target(int(project_id))
            entry["version"] = str(served.number) if served and served.number else ""
        row = ServingProcess(
            id=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            # The database's clock: machines may differ by more than a process may be
            # silent.
            seen_at=Now(),
            serving=serving,
            stats=measures.snapshot(),
            rss_mb=round(psutil.Process().memory_info().rss / 2**20, 1),
        )
        ServingProcess.objects.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["seen_at", "serving", "stats", "rss_mb"],
        )

    # --- The loading thread -----------------------------------------------------------

    def _load(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._do(job)
            except Exception:
                _logger.exception("could not load version %s", job.version_id)
                self._wanted = {}  # the next poll finds it changed, and tries again
            finally:
                job.done.set()
                connection.close()

    def _do(self, job: _Job) -> None:
        if job.target is not None:
            project = job.target.project
            self._runtime.rulebook(project.pk, project.serving_revision)
        if job.version_id is not None:
            # What can't be loaded is said in the log and on the process's row.
            with contextlib.suppress(Unavailable):
                self._runtime.bundle(job.version_id)
            self._publish_loaded(job.version_id)
            if self._awaited:
                self._awaited.discard(job.version_id)
        job.is_done_well = True
        job.done.set()
        # At once: an activation waits for this row.
        self.report()

    def _publish_loaded(self, version_id: int) -> None:
        """Serves a version that was waited for."""
        for _row, target in list(self._wanted.values()):
            rollout = target.rollout
            if version_id == target.version_id or (
                rollout is not None and version_id == rollout.version_id
            ):
                self._publish(target)


def _write(write: Callable[[], None]) -> None:
    """Runs a write that can wait: with its row locked by others, the next one does."""
    try:
        write()
    except OperationalError as error:
        if not isinstance(error.__cause__, LockNotAvailable):
            raise


def _machines() -> int:
    """How many machines serve at the moment."""
    alive = ServingProcess.objects.filter(seen_at__gt=Now() - _ALIVE)
    return alive.values("host").distinct().count()


def _forget_ended_processes() -> None:
    ServingProcess.objects.filter(seen_at__lt=Now() - _FORGOTTEN_AFTER).delete()


listener = Listener(runtime, keys.memory)
"""This process's own."""


def start() -> None:
    """Starts this process's listener, if it is a web process and has none yet."""
    if is_web():
        listener.start()


def is_ready() -> bool:
    """Whether this process may be sent requests; one that has no listener always."""
    return not is_web() or listener.is_ready()


def prepare(target: Target) -> None:
    """See `Listener.prepare`; a process that has no listener loads as it goes.

    Raises:
        NotLoaded: See there.
    """
    if is_web():
        listener.start()
        listener.prepare(target)
