"""How transfers get on RQ's queue `default`, and whether they still are on it."""

import logging
from functools import partial

import django_rq
from django.db import transaction
from redis.exceptions import RedisError
from rq import Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus

QUEUE = "default"
JOB = "labeling.jobs.run_transfer"
TIMEOUT_S = 6 * 3600

_WAITING = {
    JobStatus.CREATED,
    JobStatus.QUEUED,
    JobStatus.STARTED,
    JobStatus.DEFERRED,
    JobStatus.SCHEDULED,
}
_logger = logging.getLogger(__name__)


def put_on_commit(transfer_id: int, attempt: int) -> None:
    """Enqueues the transfer's id as soon as a worker can see the row."""
    transaction.on_commit(partial(put, transfer_id, attempt))


def put(transfer_id: int, attempt: int) -> None:
    """Enqueues a transfer's attempt; does nothing if it is on the queue already.

    A queue that can't be reached is logged, not raised: the row says "queued", and
    `sweep` enqueues it as soon as the queue is back.
    """
    try:
        queue = django_rq.get_queue(QUEUE, commit_mode="auto")
        queue.enqueue(
            JOB,
            transfer_id,
            job_id=_job_id(transfer_id, attempt),
            unique=True,
            job_timeout=TIMEOUT_S,
            result_ttl=600,
            failure_ttl=24 * 3600,
        )
    except DuplicateJobError:
        pass
    except RedisError:
        _logger.exception("transfer %s could not be put on the queue", transfer_id)


def is_waiting(transfer_id: int, attempt: int) -> bool:
    """Whether RQ still means to run this attempt, or does."""
    queue = django_rq.get_queue(QUEUE)
    try:
        job = Job.fetch(
            _job_id(transfer_id, attempt),
            connection=queue.connection,
            serializer=queue.serializer,
        )
        return job.get_status() in _WAITING
    except NoSuchJobError:
        return False


def workers() -> int | None:
    """How many workers listen now; None when the queue can't be reached."""
    try:
        return int(Worker.count(queue=django_rq.get_queue(QUEUE)))
    except RedisError:
        return None


def _job_id(transfer_id: int, attempt: int) -> str:
    return f"transfer-{transfer_id}-{attempt}"
