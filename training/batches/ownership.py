"""Who may write a running batch, and what its owner writes.

The row alone decides: `claim` raises the fence, and every later write names the fence
that it was given. Zero rows changed means that someone else took the batch over. All
times are the database's, so that machines with different clocks agree on what is stale.
"""

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce, Now

from training.models import BatchStep, TrainingBatch

STALE_S = 30
"""Seconds without a heartbeat after which a running batch may be taken over."""

State = TrainingBatch.State


def stale() -> Q:
    """No sign of life for `STALE_S`."""
    return Q(heartbeat_at=None) | Q(heartbeat_at__lt=Now() - timedelta(seconds=STALE_S))


def claimable(batch_id: int, *, in_turn: bool = True) -> QuerySet[TrainingBatch]:
    """The batch's row if a claim would get it now.

    Args:
        batch_id: The batch.
        in_turn: Not before an older batch of its project that waits or runs.
    """
    others = TrainingBatch.objects.filter(project=OuterRef("project")).exclude(
        pk=OuterRef("pk")
    )
    ahead = others.filter(state=State.RUNNING)
    if in_turn:
        ahead |= others.filter(state=State.QUEUED, pk__lt=OuterRef("pk"))
    return TrainingBatch.objects.filter(
        Q(state=State.QUEUED) | (Q(state=State.RUNNING) & stale()),
        ~Exists(ahead),
        pk=batch_id,
        cancel_requested=False,
    )


def claim(batch_id: int, *, in_turn: bool = True) -> int | None:
    """Takes a queued or abandoned batch; the fence that its writes must name.

    Returns None if somebody else has it, another batch of its project runs or was
    asked for earlier, or it is finished. One conditional update: of many callers
    exactly one gets the batch.
    """
    try:
        with transaction.atomic():
            rows = claimable(batch_id, in_turn=in_turn).update(
                state=State.RUNNING,
                fence=F("fence") + 1,
                heartbeat_at=Now(),
                started_at=Coalesce(F("started_at"), Now()),
            )
            if not rows:
                return None
            return TrainingBatch.objects.values_list("fence", flat=True).get(
                pk=batch_id
            )
    except IntegrityError:  # batch_one_running_a_project
        return None


def held(batch_id: int, fence: int) -> QuerySet[TrainingBatch]:
    """The batch's row for as long as this fence is the one that may write it."""
    return TrainingBatch.objects.filter(pk=batch_id, fence=fence, state=State.RUNNING)


def beat(batch_id: int, fence: int, **changes: Any) -> bool | None:
    """Keeps a claim alive and writes `changes`, in one statement.

    Returns:
        Whether a cancel was asked for; None if the claim is lost.
    """
    changes = {"heartbeat_at": Now(), **changes}
    if not held(batch_id, fence).update(**changes):
        return None
    return held(batch_id, fence).values_list("cancel_requested", flat=True).first()


def note(batch_id: int, line: str) -> None:
    """Appends a line to the batch's log, with the time of day."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE training_trainingbatch SET log = log ||"
            " to_char(now() AT TIME ZONE %s, 'HH24:MI:SS ') || %s WHERE id = %s",
            [settings.TIME_ZONE, line.rstrip() + "\n", batch_id],
        )


def forget_steps_after(batch_id: int, step: int) -> None:
    """Takes points back that a run is about to make again."""
    BatchStep.objects.filter(batch_id=batch_id, step__gt=step).delete()


def add_step(
    batch_id: int, *, step: int, epoch: float, loss: float, macro_f1: float | None
) -> None:
    """Adds a point to the batch's curves, or writes over the one of that step."""
    BatchStep.objects.bulk_create(
        [
            BatchStep(
                batch_id=batch_id, step=step, epoch=epoch, loss=loss, macro_f1=macro_f1
            )
        ],
        update_conflicts=True,
        unique_fields=["batch", "step"],
        update_fields=["epoch", "loss", "macro_f1"],
    )


def fail(batch_id: int, fence: int, *, error: str) -> bool:
    """Ends a running batch with the reason; False if the claim is lost."""
    return end(held(batch_id, fence), State.FAILED, error=error)


def end_cancelled(batch_id: int, fence: int) -> bool:
    """Ends a running batch on request; False if the claim is lost."""
    return end(held(batch_id, fence), State.CANCELLED)


def end(rows: QuerySet[TrainingBatch], state: str, **changes: Any) -> bool:
    """Ends the batches among `rows`; False if there were none."""
    return bool(
        rows.update(state=state, finished_at=Now(), eta_s=None, phase="", **changes)
    )


def hand_back(batch_id: int, fence: int) -> bool:
    """Puts a running batch back on the queue: its process was told to stop."""
    return bool(
        held(batch_id, fence).update(
            state=State.QUEUED, heartbeat_at=Now(), eta_s=None, phase=""
        )
    )


def abandoned(batch_id: int, *, fence: int) -> QuerySet[TrainingBatch]:
    """The batch's row if its process ended without a verdict.

    `fence` is the one that stood before the process was started: a batch that somebody
    else has taken over since is left alone.
    """
    never_claimed = Q(state=State.QUEUED, fence=fence)
    died_in_it = Q(state=State.RUNNING, fence=fence + 1)
    return TrainingBatch.objects.filter(never_claimed | died_in_it, pk=batch_id)
