"""What every job on RQ shares: an id of our own, and a queue that may be away."""

import logging

import django_rq
from redis.exceptions import RedisError
from rq import Retry, Worker
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.job import Job, JobStatus

DEFAULT = "default"
"""The queue of all that takes seconds to minutes; trainings have one of their own."""

_WAITING = {
    JobStatus.CREATED,
    JobStatus.QUEUED,
    JobStatus.STARTED,
    JobStatus.DEFERRED,
    JobStatus.SCHEDULED,
}
_logger = logging.getLogger(__name__)


def put(
    function: str,
    argument: int,
    *,
    job_id: str,
    queue: str = DEFAULT,
    timeout_s: int,
    keep_s: int = 0,
    keep_failed_s: int = 1,
    retries: int = 0,
    may_wait: bool = False,
) -> None:
    """Enqueues a job; does nothing if one of this id waits or runs already.

    Args:
        function: Dotted path of an RQ entry point.
        argument: The id that it takes.
        job_id: The same id can't be on the queue twice.
        queue: Its name.
        timeout_s: After so long RQ ends the job.
        keep_s: How long RQ shows that it succeeded; meanwhile its id stays taken.
        keep_failed_s: How long RQ shows that it failed.
        retries: How often RQ tries again after a failure.
        may_wait: A queue that can't be reached is logged, not raised: something else
            finds the work later and enqueues it.

    Raises:
        RedisError: The queue can't be reached, and it may not wait.
    """
    try:
        django_rq.get_queue(queue, commit_mode="auto").enqueue(
            function,
            argument,
            job_id=job_id,
            unique=True,
            job_timeout=timeout_s,
            result_ttl=keep_s,
            failure_ttl=keep_failed_s,
            retry=Retry(max=retries) if retries else None,
        )
    except DuplicateJobError:
        pass
    except RedisError:
        if not may_wait:
            raise
        _logger.exception("%s could not be put on the queue", job_id)


def is_waiting(job_id: str, *, queue: str = DEFAULT) -> bool:
    """Whether RQ still means to run this job, or does; one round trip.

    Raises:
        RedisError: The queue can't be reached.
    """
    rq_queue = django_rq.get_queue(queue)
    try:
        job = Job.fetch(
            job_id, connection=rq_queue.connection, serializer=rq_queue.serializer
        )
        return job.get_status() in _WAITING
    except NoSuchJobError:
        return False


def workers(queue: str = DEFAULT) -> int | None:
    """How many workers listen now; None when the queue can't be reached."""
    try:
        return int(Worker.count(queue=django_rq.get_queue(queue)))
    except RedisError:
        return None


def ping() -> None:
    """Raises RedisError when the queue can't be reached."""
    django_rq.get_queue(DEFAULT).connection.ping()
