"""How paraphrasings get on RQ's queue, and back on it after a crash."""

from datetime import timedelta
from functools import partial

from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from labeling import background
from labeling.models import Paraphrasing

JOB = "labeling.jobs.run_paraphrasing"
TIMEOUT_S = 12 * 3600

STALE_S = 240
"""Seconds without a sign of life after which a paraphrasing may be taken over: longer
than one question with all its retries."""

_UNSEEN_S = 30
"""Seconds after which a waiting one should be on the queue."""

_MAX_ATTEMPTS = 5

State = Paraphrasing.State


def put_on_commit(run_id: int, attempt: int) -> None:
    """Enqueues an attempt as soon as a worker can see the row."""
    transaction.on_commit(partial(_put, run_id, attempt))


def _put(run_id: int, attempt: int) -> None:
    background.put(
        JOB,
        run_id,
        job_id=_job_id(run_id, attempt),
        timeout_s=TIMEOUT_S,
        keep_s=600,
        keep_failed_s=24 * 3600,
        may_wait=True,
    )


def _job_id(run_id: int, attempt: int) -> str:
    return f"paraphrasing-{run_id}-{attempt}"


def sweep() -> list[int]:
    """Puts what a crashed worker or a lost queue left back on the queue.

    Safe to run at any time and by many at once: each is moved by a conditional update.

    Returns:
        The paraphrasings that were put on the queue.
    """
    moved = []
    stale = Q(beat_at=None) | Q(beat_at__lt=Now() - timedelta(seconds=STALE_S))
    for run in Paraphrasing.objects.filter(stale, state=State.RUNNING):
        if run.attempt < _MAX_ATTEMPTS:
            moved += _requeue(run)
            continue
        Paraphrasing.objects.filter(
            pk=run.pk, state=State.RUNNING, beat_at=run.beat_at
        ).update(
            state=State.FAILED,
            finished_at=Now(),
            error=_("Given up: its process died %(count)d times.")
            % {"count": run.attempt},
        )
    waiting = Paraphrasing.objects.annotate(touched=Coalesce("beat_at", "created_at"))
    long_ago = Now() - timedelta(seconds=_UNSEEN_S)
    for run in waiting.filter(state=State.QUEUED, touched__lt=long_ago):
        if not background.is_waiting(_job_id(run.pk, run.attempt)):
            moved += _requeue(run)
    return moved


def _requeue(run: Paraphrasing) -> list[int]:
    """Queues a run under a new job id; empty if someone else was faster."""
    same = Paraphrasing.objects.filter(
        pk=run.pk, state=run.state, beat_at=run.beat_at, attempt=run.attempt
    )
    if not same.update(state=State.QUEUED, beat_at=Now(), attempt=run.attempt + 1):
        return []
    put_on_commit(run.pk, run.attempt + 1)
    return [run.pk]
