"""Evaluations that somebody asks for and a worker runs: request, execute, sweep.

The row decides who may run it. `attempts` is the fence: whoever claims a run raises it,
and a former owner's next write finds no row and stops.
"""

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import PurePath
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files import File
from django.core.files.storage import default_storage
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils import timezone, translation
from django.utils.translation import get_language
from django.utils.translation import gettext as _

from labeling import background, formats
from registry.models import Evaluation, Version
from training.batches import failures
from training.evaluation.keeping import appraise_version, record
from training.evaluation.rows import Asked, TooManyRows, read_file
from training.models import EvaluationRun

JOB = "training.jobs.evaluate_run"
TIMEOUT_S = 3600

FOLDER = "evaluations"
"""In the file storage."""

STALE_S = 120
"""Seconds without a sign of life after which a run may be taken over."""

BEAT_S = 5.0
"""Seconds between two signs of life, at least."""

LOST_S = 30
"""Seconds after which a waiting run that the queue does not know is put on it again."""

MAX_ATTEMPTS = 3
"""Times that a run is begun before it is given up."""

_ORPHAN = timedelta(hours=1)

Kind = Evaluation.Kind
State = EvaluationRun.State
_logger = logging.getLogger(__name__)


class RequestError(ValueError):
    """What was asked for can't be measured; the message is for a manager."""


class _Lost(Exception):
    """Somebody else has the run: write nothing more."""


def request(
    version: Version,
    *,
    kind: str,
    by: User | None,
    file: "File[Any] | None" = None,
    encoding: str = "utf-8",
) -> EvaluationRun:
    """Has a worker measure a version.

    One that waits for the same version and questions already is returned as it is; a
    file is measured each time.

    Args:
        version: Any registered version.
        kind: An `Evaluation.Kind`: the test questions, the blind audit share, a file.
        by: Who asks.
        file: Labelled questions in one of `formats.KINDS`; with FILE alone.
        encoding: One of `formats.ENCODINGS`; of a text file.

    Raises:
        RequestError: No file, an empty or too large one, or no such kind.
        labeling.formats.Unreadable: The file has no format that is known.
    """
    if kind not in Kind.values or encoding not in formats.ENCODINGS:
        raise RequestError(_("There is no such measurement."))
    stored: dict[str, Any] = {}
    if kind == Kind.FILE:
        stored = _keep(file)
    try:
        with transaction.atomic():
            # Who asks twice at once waits here; the second gets the first's.
            Version.objects.select_for_update(no_key=True).get(pk=version.pk)
            waiting = EvaluationRun.objects.filter(
                version=version, kind=kind, state=State.QUEUED
            )
            if kind != Kind.FILE and (there := waiting.first()) is not None:
                return there
            run = EvaluationRun.objects.create(
                version=version,
                kind=kind,
                by=by,
                encoding=encoding,
                language=get_language() or "",
                **stored,
            )
            transaction.on_commit(partial(_put, run.pk, run.attempts))
            return run
    except BaseException:
        if stored:
            default_storage.delete(stored["stored_as"])
        raise


def execute(run_id: int) -> bool:
    """Runs an evaluation to its end; False if somebody else has it or it is finished.

    Raises:
        OperationalError, InterfaceError: The database went away; the sweep finds it.
    """
    attempt = _claim(run_id)
    if attempt is None:
        return False
    run = EvaluationRun.objects.select_related("version__project").get(pk=run_id)
    mine = EvaluationRun.objects.filter(
        pk=run_id, state=State.RUNNING, attempts=attempt
    )
    with translation.override(run.language or None):
        try:
            _measure(run, mine)
        except _Lost:
            return False
        except (OperationalError, InterfaceError):
            raise
        except (RequestError, TooManyRows, formats.Unreadable) as error:
            _fail(run, mine, str(error))
        except FileNotFoundError:
            _fail(run, mine, _("The file is no longer there."))
        except Exception as error:
            if not isinstance(error, failures.EXPECTED):
                _logger.exception("evaluation run %s failed", run_id)
            _fail(run, mine, failures.explain(error))
    _discard(run)
    return True


def sweep() -> list[int]:
    """Takes up what crashed workers and a lost queue left; removes files of nobody.

    Safe to run at any time and by many at once.

    Returns:
        The runs that were put on the queue.
    """
    moved = []
    for run in EvaluationRun.objects.filter(_stale(), state=State.RUNNING):
        rows = EvaluationRun.objects.filter(_stale(), pk=run.pk, attempts=run.attempts)
        if run.attempts >= MAX_ATTEMPTS:
            error = _("Given up: its process died %(count)d times.") % {
                "count": run.attempts
            }
            _fail(run, rows.filter(state=State.RUNNING), error)
            _discard(run)
        elif rows.filter(state=State.RUNNING).update(state=State.QUEUED, beat_at=Now()):
            moved.append(run.pk)
            _put(run.pk, run.attempts)
    touched = Coalesce("beat_at", "created_at")
    waiting = EvaluationRun.objects.annotate(touched=touched).filter(
        state=State.QUEUED, touched__lt=Now() - timedelta(seconds=LOST_S)
    )
    for run in waiting:
        if not background.is_waiting(_job_id(run.pk, run.attempts)):
            moved.append(run.pk)
            _put(run.pk, run.attempts)
    _remove_files()
    return moved


def _measure(run: EvaluationRun, mine: QuerySet[EvaluationRun]) -> None:
    check = _Pulse(mine).check
    rows = _read(run, check) if run.kind == Kind.FILE else None
    appraisal = appraise_version(run.version, kind=run.kind, rows=rows, check=check)
    if not appraisal.measured["n"]:
        raise RequestError(_nothing(run.kind))
    with transaction.atomic():
        if run.kind == Kind.TEST:
            # The verdict rests on the latest measurement. (It knows this module.)
            from training import gate

            export = run.version.provenance.get("export")
            reasons = gate.reasons_for(appraisal, export=export)
            kept = gate.keep(run.version, appraisal, reasons)
        else:
            kept = record(run.version, appraisal, kind=run.kind, source=run.source)
        if not mine.update(
            state=State.DONE, evaluation=kept, error="", finished_at=Now()
        ):
            raise _Lost


def _read(run: EvaluationRun, check: Callable[[], None]) -> Asked:
    with default_storage.open(run.stored_as) as file:
        rows = read_file(
            file,
            kind=formats.guess(run.source, file),
            encoding=run.encoding,
            many=run.version.project.is_multi_intent,
            check=check,
        )
    if not rows.rows:
        first = rows.left_out[:3]
        raise RequestError(
            "\n".join([_("The file holds no labelled questions."), *first])
        )
    return rows


def _nothing(kind: str) -> str:
    if kind == Kind.AUDIT:
        return _("No test question that users asked has been labelled blind yet.")
    return _("There are no labelled test questions to measure on.")


class _Pulse:
    """Signs of life of whoever runs a run."""

    def __init__(self, mine: QuerySet[EvaluationRun]) -> None:
        self._mine, self._beat_at = mine, time.monotonic()

    def check(self) -> None:
        """A sign of life every few seconds; raises _Lost when the run is not ours."""
        if time.monotonic() - self._beat_at >= BEAT_S:
            if not self._mine.update(beat_at=Now()):
                raise _Lost
            self._beat_at = time.monotonic()


def _claim(run_id: int) -> int | None:
    """The attempt that may run it now; None if it is somebody else's, or finished."""
    with transaction.atomic():
        free = EvaluationRun.objects.filter(
            Q(state=State.QUEUED) | Q(_stale(), state=State.RUNNING), pk=run_id
        )
        if not free.update(
            state=State.RUNNING,
            attempts=F("attempts") + 1,
            beat_at=Now(),
            started_at=Now(),
            error="",
        ):
            return None
        return EvaluationRun.objects.values_list("attempts", flat=True).get(pk=run_id)


def _stale() -> Q:
    return Q(beat_at=None) | Q(beat_at__lt=Now() - timedelta(seconds=STALE_S))


def _fail(run: EvaluationRun, mine: QuerySet[EvaluationRun], error: str) -> None:
    mine.update(state=State.FAILED, error=error[:2000], finished_at=Now())


def _keep(file: "File[Any] | None") -> dict[str, Any]:
    """Puts a file into the storage that web and workers share."""
    if file is None:
        raise RequestError(_("Choose a file."))
    limit: int = settings.LABELING_MAX_UPLOAD_MB
    size = file.size or 0
    if size > limit * 1024 * 1024:
        raise RequestError(_("The file is larger than %(max)s MB.") % {"max": limit})
    if not size:
        raise RequestError(_("The file is empty."))
    name = PurePath(file.name or "").name[-200:]
    content: Any = file
    formats.guess(name, content)
    suffix = PurePath(name).suffix.lower()[:10]
    stored_as = default_storage.save(f"{FOLDER}/{uuid4().hex}{suffix}", file)
    return {"stored_as": stored_as, "source": name, "size": size}


def _discard(run: EvaluationRun) -> None:
    """Deletes the run's file, once it is finished; a second call changes nothing."""
    over = EvaluationRun.objects.filter(pk=run.pk, finished_at__isnull=False)
    if run.stored_as and over.update(stored_as=""):
        default_storage.delete(run.stored_as)


def _remove_files() -> None:
    """What belongs to no run, or to one whose end nobody lived to see."""
    for run in EvaluationRun.objects.filter(finished_at__isnull=False).exclude(
        stored_as=""
    ):
        _discard(run)
    try:
        _folders, names = default_storage.listdir(FOLDER)
    except FileNotFoundError:
        return
    known = set(
        EvaluationRun.objects.exclude(stored_as="").values_list("stored_as", flat=True)
    )
    for path in (f"{FOLDER}/{name}" for name in names):
        if path not in known:
            age = timezone.now() - default_storage.get_modified_time(path)
            if age > _ORPHAN:
                default_storage.delete(path)


def _put(run_id: int, attempt: int) -> None:
    """Enqueues a run; where the queue is away the row says "queued", and `sweep`
    enqueues it later."""
    background.put(
        JOB,
        run_id,
        job_id=_job_id(run_id, attempt),
        timeout_s=TIMEOUT_S,
        may_wait=True,
    )


def _job_id(run_id: int, attempt: int) -> str:
    return f"evaluation-{run_id}-{attempt}"
