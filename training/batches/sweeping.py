"""Takes up what a dead process or a lost queue left behind; whose turn is next."""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Coalesce, Now
from django.utils.translation import gettext as _

from training.batches import ownership, queueing, workspace
from training.models import TrainingBatch

MAX_ATTEMPTS = 20
"""Times that a batch is put on the queue before it is given up."""

State = TrainingBatch.State


def sweep() -> list[int]:
    """Takes up what crashed workers and a lost queue left behind.

    Running batches that show no sign of life go back on the queue (or end, if a cancel
    was asked for), and so do queued ones that the queue no longer knows. Safe to run at
    any time and by many at once: each batch is moved by a conditional update.

    Returns:
        The batches that were put on the queue.
    """
    moved = []
    for batch in TrainingBatch.objects.filter(ownership.stale(), state=State.RUNNING):
        mine = ownership.held(batch.pk, batch.fence).filter(ownership.stale())
        if _put_back(batch, mine, _("No sign of life: put back on the queue.")):
            moved.append(batch.pk)
    long_ago = Now() - timedelta(seconds=ownership.STALE_S)
    waiting = (
        TrainingBatch.objects.annotate(touched=Coalesce("heartbeat_at", "created_at"))
        .filter(state=State.QUEUED, touched__lt=long_ago)
        .exclude(project__batches__state=State.RUNNING)
        .order_by("project_id", "id")
        .distinct("project_id")
    )
    for batch in waiting:
        if not queueing.is_waiting(batch.pk, batch.attempts) and requeue(batch):
            moved.append(batch.pk)
    return moved


def start_next(project_id: int) -> None:
    """Puts the project's oldest waiting batch on the queue, once another has ended."""
    waiting = (
        TrainingBatch.objects.filter(project_id=project_id, state=State.QUEUED)
        .exclude(project__batches__state=State.RUNNING)
        .order_by("id")
        .first()
    )
    if waiting is not None and not queueing.is_waiting(waiting.pk, waiting.attempts):
        requeue(waiting)


def after_a_kill(batch_id: int, *, fence: int) -> None:
    """Puts a batch back whose process somebody killed, or told to stop.

    Args:
        batch_id: The batch.
        fence: The one that stood before the process was started: a batch that somebody
            else has taken over since is left alone.
    """
    batch = TrainingBatch.objects.get(pk=batch_id)
    handed_back = Q(state=State.QUEUED, fence=fence + 1)
    rows = ownership.abandoned(batch_id, fence=fence) | TrainingBatch.objects.filter(
        handed_back, pk=batch_id
    )
    _put_back(batch, rows, _("Its process was ended: put back on the queue."))


def requeue(batch: TrainingBatch, rows: QuerySet[TrainingBatch] | None = None) -> bool:
    """Queues the batch under a new job id; False if someone else was faster."""
    rows = TrainingBatch.objects.filter(pk=batch.pk) if rows is None else rows
    with transaction.atomic():
        won = rows.filter(state=batch.state, attempts=batch.attempts).update(
            state=State.QUEUED,
            attempts=F("attempts") + 1,
            heartbeat_at=Now(),
            eta_s=None,
            phase="",
        )
        if won:
            queueing.put_on_commit(batch.pk, batch.attempts + 1)
    return bool(won)


def _put_back(batch: TrainingBatch, rows: QuerySet[TrainingBatch], line: str) -> bool:
    """Queues a batch whose process is gone, or ends it; whether it was queued."""
    if batch.cancel_requested:
        if ownership.end(rows, State.CANCELLED):
            workspace.remove(batch.pk)
        return False
    if batch.attempts >= MAX_ATTEMPTS:
        error = _("Given up: its process died %(count)d times.")
        if ownership.end(rows, State.FAILED, error=error % {"count": batch.attempts}):
            workspace.remove(batch.pk)
        return False
    if not requeue(batch, rows):
        return False
    ownership.note(batch.pk, line)
    return True
