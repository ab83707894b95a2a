"""How batches get on RQ's queue `training`, and whether they still are on it."""

from functools import partial

from django.db import transaction

from labeling import background

QUEUE = "training"
JOB = "training.jobs.run_batch"
TIMEOUT_S = 24 * 3600


def job_id(batch_id: int, attempt: int) -> str:
    """RQ's id of a batch's attempt: the same attempt can't be on the queue twice."""
    return f"batch-{batch_id}-{attempt}"


def put_on_commit(batch_id: int, attempt: int) -> None:
    """Enqueues the batch's id as soon as the row can be seen by a worker."""
    transaction.on_commit(partial(put, batch_id, attempt))


def put(batch_id: int, attempt: int) -> None:
    """Enqueues a batch's attempt; does nothing if it is on the queue already.

    Where the queue can't be reached the row says "queued", and `sweeping.sweep`
    enqueues it as soon as the queue is back.
    """
    background.put(
        JOB,
        batch_id,
        job_id=job_id(batch_id, attempt),
        queue=QUEUE,
        timeout_s=TIMEOUT_S,
        keep_s=600,
        keep_failed_s=24 * 3600,
        retries=3,
        may_wait=True,
    )


def is_waiting(batch_id: int, attempt: int) -> bool:
    """Whether RQ still means to run this attempt, or does."""
    return background.is_waiting(job_id(batch_id, attempt), queue=QUEUE)


def evaluate(version_id: int) -> None:
    """Has a worker measure a version; asked twice at once, it is done once.

    Raises:
        RedisError: The queue can't be reached.
    """
    background.put(
        "training.jobs.evaluate",
        version_id,
        job_id=f"evaluate-{version_id}",
        timeout_s=3600,
    )


def workers() -> int | None:
    """How many workers listen now; None when the queue can't be reached."""
    return background.workers(QUEUE)
