"""How a project's refresh gets on RQ's queue."""

from functools import partial

from django.db import transaction

from labeling import background

JOB = "registry.jobs.refresh_queue"
TIMEOUT_S = 900
"""Far above a run's own bound: it ends one that hangs."""


def refresh_on_commit(project_id: int) -> None:
    """Enqueues a refresh as soon as workers can see what this transaction changed."""
    transaction.on_commit(partial(refresh, project_id))


def refresh(project_id: int) -> None:
    """Enqueues a refresh; does nothing if the project waits for one already.

    Where the queue can't be reached the scheduler asks again.
    """
    background.put(
        JOB,
        project_id,
        job_id=f"refresh-{project_id}",
        timeout_s=TIMEOUT_S,
        may_wait=True,
    )
