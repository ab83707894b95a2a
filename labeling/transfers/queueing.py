"""How transfers get on RQ's queue, and whether they still are on it."""

from functools import partial

from django.db import transaction

from labeling import background

JOB = "labeling.jobs.run_transfer"
TIMEOUT_S = 6 * 3600


def put_on_commit(transfer_id: int, attempt: int) -> None:
    """Enqueues the transfer's id as soon as a worker can see the row."""
    transaction.on_commit(partial(put, transfer_id, attempt))


def put(transfer_id: int, attempt: int) -> None:
    """Enqueues a transfer's attempt; does nothing if it is on the queue already.

    Where the queue can't be reached the row says "queued", and `sweep` enqueues it.
    """
    background.put(
        JOB,
        transfer_id,
        job_id=_job_id(transfer_id, attempt),
        timeout_s=TIMEOUT_S,
        keep_s=600,
        keep_failed_s=24 * 3600,
        may_wait=True,
    )


def is_waiting(transfer_id: int, attempt: int) -> bool:
    """Whether RQ still means to run this attempt, or does."""
    return background.is_waiting(_job_id(transfer_id, attempt))


def _job_id(transfer_id: int, attempt: int) -> str:
    return f"transfer-{transfer_id}-{attempt}"
