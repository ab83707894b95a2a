"""What `manage.py doctor` looks at: each examination is one function, one finding."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

from django.conf import settings
from django.core.files.base import ContentFile
from django.core.files.storage import storages
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django_rq import get_queue
from django_rq.workers import get_worker_class

from training import bases
from tuneloop import embedded
from tuneloop.embedded.locks import is_locked
from tuneloop.embedded.paths import run_file

_TORCH_LOADS_S = 120.0

_TORCH = """
import torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
if not names and torch.backends.mps.is_available():
    names = ["Apple GPU"]
print(torch.__version__, ", ".join(names) or f"CPU, {torch.get_num_threads()} threads")
"""


class State(StrEnum):
    """How an examination ended; a note is no failure."""

    OK = "ok"
    NOTE = "note"
    FAIL = "FAIL"


@dataclass(frozen=True)
class Finding:
    """The answer of one examination, for one line on the screen."""

    state: State
    text: str
    """What was found and, where it failed, what to do now."""


@dataclass(frozen=True)
class Examination:
    """One thing to look at."""

    name: str
    look: Callable[[], Finding]
    advice: str
    """What to do when looking itself fails."""


def examinations(*, strict: bool) -> list[Examination]:
    """Everything that an installation needs, in the order of dependence.

    Args:
        strict: No running worker is a failure even where nothing is meant to run.
    """
    return [
        Examination(
            _("database"),
            _database,
            _("Is DATABASE_URL right, and does the server run?"),
        ),
        Examination(_("migrations"), _migrations, _("Repair the database first.")),
        Examination(
            _("Valkey"), _valkey, _("Is REDIS_URL right, and does the server run?")
        ),
        Examination(
            _("workers"), lambda: _workers(strict=strict), _("Repair Valkey first.")
        ),
        Examination(
            _("artifacts"),
            _artifacts,
            _("The storage must take and give back files: see its settings."),
        ),
        Examination(
            _("base model"), _base_model, _("Set TUNELOOP_BASE_MODEL to another.")
        ),
        Examination(_("torch"), _torch, _("Install it: pip install torch==2.13.0.")),
        Examination(_("disk"), _disk, _("Is TUNELOOP_HOME right?")),
    ]


def examine(examination: Examination) -> Finding:
    """Looks; an examination that breaks is a failure with its reason in one line."""
    try:
        return examination.look()
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        return Finding(State.FAIL, f"{lines[0].rstrip('.')}. {examination.advice}")


def _database() -> Finding:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version")
        version = cursor.fetchone()[0]
        cursor.execute("SELECT 1 FROM pg_available_extensions WHERE name = 'vector'")
        if cursor.fetchone() is None:
            return Finding(
                State.FAIL,
                _("PostgreSQL %s has no pgvector: install it on the server.") % version,
            )
    where = _("embedded") if "postgres" in embedded.in_use() else _("DATABASE_URL")
    return Finding(State.OK, f"PostgreSQL {version}, {where}")


def _migrations() -> Finding:
    executor = MigrationExecutor(connection)
    plan = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if plan:
        text = ngettext(
            "%d is missing: run `manage.py migrate`.",
            "%d are missing: run `manage.py migrate`.",
            len(plan),
        )
        return Finding(State.FAIL, text % len(plan))
    return Finding(State.OK, _("all applied"))


def _valkey() -> Finding:
    info = get_queue("default").connection.info("server")
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = info.get("valkey_version") or info["redis_version"]
    where = _("embedded") if "valkey" in embedded.in_use() else _("REDIS_URL")
    return Finding(State.OK, f"{name} {version}, {where}")


def _workers(*, strict: bool) -> Finding:
    known = get_worker_class().all(connection=get_queue("training").connection)
    now = datetime.now(UTC)
    # A killed worker is listed for a while: it is the heartbeat that counts.
    count = sum(
        worker.last_heartbeat is not None
        and (now - worker.last_heartbeat).total_seconds() < worker.worker_ttl
        for worker in known
    )
    if count:
        return Finding(State.OK, ngettext("%d runs", "%d run", count) % count)
    # The embedded queue has workers only while `up` runs; a team's has them always.
    expected = "valkey" not in embedded.in_use()
    expected |= is_locked(run_file(settings.HOME, "up.lock"))
    if strict or expected:
        return Finding(
            State.FAIL,
            _("none runs: start `manage.py rqworker training default`, or see %s.")
            % (settings.HOME / "logs" / "worker.log"),
        )
    return Finding(State.NOTE, _("none runs; `manage.py up` starts one"))


def _artifacts() -> Finding:
    storage = storages["artifacts"]
    name = storage.save("doctor.txt", ContentFile(b"doctor"))
    try:
        with storage.open(name) as file:
            if file.read() != b"doctor":
                return Finding(State.FAIL, _("The storage does not keep what it gets."))
    finally:
        storage.delete(name)
    backend = type(storage).__name__
    return Finding(State.OK, f"{getattr(storage, 'location', backend)}")


def _base_model() -> Finding:
    bases.check(settings.DEFAULT_BASE_MODEL, settings.CACHE_DIR)
    return Finding(State.OK, settings.DEFAULT_BASE_MODEL)


def _torch() -> Finding:
    # In a process of its own: it takes seconds and hundreds of megabytes.
    done = subprocess.run(
        [sys.executable, "-c", _TORCH],
        capture_output=True,
        text=True,
        timeout=_TORCH_LOADS_S,
    )
    if done.returncode:
        raise RuntimeError((done.stderr.strip() or "?").splitlines()[-1])
    return Finding(State.OK, done.stdout.strip())


def _disk() -> Finding:
    home: Path = settings.HOME
    free = shutil.disk_usage(home).free / 2**30
    needed: float = settings.DISK_NEEDED_GIB
    if free < needed:
        return Finding(
            State.FAIL,
            _("%(free).1f GiB free at %(home)s: make room, %(needed)g GiB are needed.")
            % {"free": free, "home": home, "needed": needed},
        )
    return Finding(
        State.OK, _("%(free).1f GiB free at %(home)s") % {"free": free, "home": home}
    )
