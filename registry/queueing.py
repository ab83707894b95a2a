"""How a project's refresh gets on RQ's queue."""

import contextlib
import logging
from functools import partial

import django_rq
from django.db import transaction
from redis.exceptions import RedisError
from rq.exceptions import DuplicateJobError

QUEUE = "default"
JOB = "registry.jobs.refresh_queue"
TIMEOUT_S = 900
"""Far above a run's own bound: it ends one that hangs."""

_logger = logging.getLogger(__name__)


def refresh_on_commit(project_id: int) -> None:
    """Enqueues a refresh as soon as workers can see what this transaction changed."""
    transaction.on_commit(partial(refresh, project_id))


def refresh(project_id: int) -> None:
    """Enqueues a refresh; does nothing if the project waits for one already.

    A queue that can't be reached is logged, not raised: the scheduler asks again.
    """
    try:
        queue = django_rq.get_queue(QUEUE, commit_mode="auto")
        with contextlib.suppress(DuplicateJobError):
            queue.enqueue(
                JOB,
                project_id,
                job_id=f"refresh-{project_id}",
                unique=True,
                job_timeout=TIMEOUT_S,
                # No trace of it stays in the way of the next one.
                result_ttl=0,
                failure_ttl=1,
            )
    except RedisError:
        _logger.exception("project %s could not be put on the queue", project_id)
