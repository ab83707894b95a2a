"""Keeps a web process up to date: versions and rules are loaded before they are asked.

Two daemon threads: one listens, polls and reports what the process serves, the other
loads. Each has a database connection of its own. Nothing depends on them: a request
that comes first loads what it needs itself.
"""

import contextlib
import logging
import os
import queue
import socket
import threading
import time
import uuid
from datetime import timedelta
from typing import NamedTuple

import psutil
from django.db import connection
from django.db.models import F, FilteredRelation, Q
from django.db.models.functions import Now
from django.utils import timezone

from labeling.models import Project
from labeling.revision import CHANNEL
from registry.models import ServingProcess, Version
from registry.serving import hits
from registry.serving.runtime import Runtime, Unavailable, runtime

ROLE = "TUNELOOP_ROLE"
"""Only a process with this variable set to `web` listens."""

_TICK_S = 1.0
"""Between two looks at the projects' revisions, and between two reports."""
_BACK_OFF_S = (0.5, 1.0, 2.0, 5.0)
"""Waits after the first, second, ... failure to reach the database."""
_FORGOTTEN_AFTER = timedelta(minutes=1)

_logger = logging.getLogger(__name__)


class _Serving(NamedTuple):
    """What a project is to be served with."""

    revision: int
    version_id: int | None
    number: int | None


class _Job(NamedTuple):
    """What the loading thread does next."""

    version_id: int | None = None
    project_id: int | None = None
    revision: int = 0
    is_end: bool = False


class Listener:
    """One process's own. `start` is cheap and may be called with every request."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
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
            self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
            self._seen: dict[int, _Serving] = {}
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
            self._jobs.put(_Job(is_end=True))
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
        ticks = 0
        while not self._ending.is_set():
            due = time.monotonic() + _TICK_S
            self._poll()
            self.report()
            hits.flush()
            if ticks % 30 == 0:
                _forget_ended_processes()
                self._retry()
            ticks += 1
            self._failures = 0
            while (left_s := due - time.monotonic()) > 0 and not self._ending.is_set():
                for notice in list(wire.notifies(timeout=left_s, stop_after=1)):
                    self._heed(notice.payload)

    def _heed(self, payload: str) -> None:
        """A project's id, or `prepare:<project id>:<version id>`."""
        if payload.startswith("prepare:"):
            self._jobs.put(_Job(version_id=int(payload.rpartition(":")[2])))
        else:
            self._poll()

    def _poll(self) -> None:
        """Has loaded what changed since the last look. One query."""
        now = _serving_now()
        before, self._seen = self._seen, now
        self._runtime.forget(self._runtime.revisions().keys() - now.keys())
        changed = {pk: to for pk, to in now.items() if before.get(pk) != to}
        if self._awaited is None:
            changed = self._choose(changed)
            self._awaited = {to.version_id for to in changed.values() if to.version_id}
        held = self._runtime.revisions()
        for project_id, to in changed.items():
            was = before.get(project_id)
            is_switch = to.version_id is not None and (
                was is None or was.version_id != to.version_id
            )
            if is_switch:
                self._jobs.put(_Job(to.version_id, project_id, to.revision))
            elif project_id in held:
                self._jobs.put(_Job(None, project_id, to.revision))

    def _retry(self) -> None:
        """Has loaded again what should serve and failed: a file may have come back."""
        failed = self._runtime.failed()
        for to in self._seen.values():
            if to.version_id in failed:
                self._jobs.put(_Job(version_id=to.version_id))

    def _choose(self, projects: dict[int, _Serving]) -> dict[int, _Serving]:
        """Those to load at the start: the newest active versions that fit."""
        served = [(to.version_id, pk) for pk, to in projects.items() if to.version_id]
        newest = sorted(served, reverse=True)[: self._runtime.capacity]
        return {pk: projects[pk] for _version_id, pk in newest}

    def report(self) -> None:
        """Writes the process's row. One statement."""
        serving = self._runtime.report()
        for project_id, entry in serving.items():
            to = self._seen.get(int(project_id))
            entry["version"] = str(to.number) if to and to.number else ""
        row = ServingProcess(
            id=self._id,
            host=socket.gethostname(),
            pid=os.getpid(),
            started_at=self._started_at,
            # The database's clock: machines may differ by more than a process may be
            # silent.
            seen_at=Now(),
            serving=serving,
            rss_mb=round(psutil.Process().memory_info().rss / 2**20, 1),
        )
        ServingProcess.objects.bulk_create(
            [row],
            update_conflicts=True,
            unique_fields=["id"],
            update_fields=["seen_at", "serving", "rss_mb"],
        )

    # --- The loading thread -----------------------------------------------------------

    def _load(self) -> None:
        while not (job := self._jobs.get()).is_end:
            try:
                self._do(job)
            except Exception:
                _logger.exception("could not load %s", job)
                if job.project_id is not None:
                    # The next poll finds it changed, and tries again.
                    self._seen.pop(job.project_id, None)
            finally:
                connection.close()

    def _do(self, job: _Job) -> None:
        if job.project_id is not None:
            self._runtime.rulebook(job.project_id, job.revision)
        if job.version_id is not None:
            # What can't be loaded is said in the log and on the process's row.
            with contextlib.suppress(Unavailable):
                self._runtime.bundle(job.version_id)
            if self._awaited:
                self._awaited.discard(job.version_id)
            # At once: an activation waits for this row.
            self.report()


def _serving_now() -> dict[int, _Serving]:
    rows = Project.objects.annotate(
        active=FilteredRelation(
            "versions", condition=Q(versions__state=Version.State.ACTIVE)
        ),
        active_id=F("active__id"),
        active_number=F("active__number"),
    )
    columns = ("id", "serving_revision", "active_id", "active_number")
    return {pk: _Serving(*rest) for pk, *rest in rows.values_list(*columns)}


def _forget_ended_processes() -> None:
    ServingProcess.objects.filter(seen_at__lt=Now() - _FORGOTTEN_AFTER).delete()


listener = Listener(runtime)
"""This process's own."""


def start() -> None:
    """Starts this process's listener, if it is a web process and has none yet."""
    if os.environ.get(ROLE) == "web":
        listener.start()


def is_ready() -> bool:
    """Whether this process may be sent requests; one that has no listener always."""
    return os.environ.get(ROLE) != "web" or listener.is_ready()
