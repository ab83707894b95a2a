"""How batches get on RQ's queue `training`, and whether they still are on it."""

import contextlib
import logging
from functools import partial

import django_rq
from django.db import transaction
from redis.exceptions import RedisError
from rq import Retry
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus

QUEUE = "training"
JOB = "training.jobs.run_batch"
TIMEOUT_S = 24 * 3600

_WAITING = {
    JobStatus.CREATED,
    JobStatus.QUEUED,
    JobStatus.STARTED,
    JobStatus.DEFERRED,
    JobStatus.SCHEDULED,
}
_logger = logging.getLogger(__name__)


def job_id(batch_id: int, attempt: int) -> str:
    """RQ's id of a batch's attempt: the same attempt can't be on the queue twice."""
    return f"batch-{batch_id}-{attempt}"


def put_on_commit(batch_id: int, attempt: int) -> None:
    """Enqueues the batch's id as soon as the row can be seen by a worker."""
    transaction.on_commit(partial(put, batch_id, attempt))


def put(batch_id: int, attempt: int) -> None:
    """Enqueues a batch's attempt; does nothing if it is on the queue already.

    A queue that can't be reached is logged, not raised: the row says "queued", and
    `batches.sweep` enqueues it as soon as the queue is back.
    """
    try:
        queue = django_rq.get_queue(QUEUE, commit_mode="auto")
        queue.enqueue(
            JOB,
            batch_id,
            job_id=job_id(batch_id, attempt),
            unique=True,
            job_timeout=TIMEOUT_S,
            retry=Retry(max=3),
            result_ttl=600,
            failure_ttl=24 * 3600,
        )
    except DuplicateJobError:
        pass
    except RedisError:
        _logger.exception("batch %s could not be put on the queue", batch_id)


def is_waiting(batch_id: int, attempt: int) -> bool:
    """Whether RQ still means to run this attempt, or does."""
    queue = django_rq.get_queue(QUEUE)
    try:
        job = Job.fetch(
            job_id(batch_id, attempt),
            connection=queue.connection,
            serializer=queue.serializer,
        )
        return job.get_status() in _WAITING
    except NoSuchJobError:
        return False


def evaluate(version_id: int) -> None:
    """Has a worker measure a version; asked twice at once, it is done once.

    Raises:
        RedisError: The queue can't be reached.
    """
    queue = django_rq.get_queue("default", commit_mode="auto")
    with contextlib.suppress(DuplicateJobError):
        queue.enqueue(
            "training.jobs.evaluate",
            version_id,
            job_id=f"evaluate-{version_id}",
            unique=True,
            job_timeout=3600,
            # No trace of it stays in the way of the next one.
            result_ttl=0,
            failure_ttl=1,
        )


def workers() -> int:
    """How many workers listen on the queue now; one round trip."""
    from rq import Worker

    return int(Worker.count(queue=django_rq.get_queue(QUEUE)))
