"""What runs again and again, and the scheduler that enqueues it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from django.utils import timezone
from django.utils.module_loading import import_string
from django_rq import get_queue
from django_rq.cron import DjangoCronScheduler
from redis.exceptions import RedisError
from rq.cron import CronJob
from rq.exceptions import DuplicateJobError


@dataclass(frozen=True)
class Periodic:
    """A function without arguments that may run twice, or twice at once."""

    function: str
    """Its dotted path."""

    every_s: int
    """Seconds between two runs."""

    queue: str = "default"


SCHEDULE = (
    Periodic("training.jobs.sweep", every_s=15),
    Periodic("training.jobs.build_encoder", every_s=300),
    Periodic("registry.jobs.refresh_queues", every_s=60),
    Periodic("registry.jobs.sweep_replays", every_s=30),
    Periodic("registry.jobs.adopt_journals", every_s=30),
    Periodic("labeling.jobs.sweep_transfers", every_s=30),
    Periodic("labeling.jobs.sweep_paraphrasings", every_s=30),
)


class Scheduler(DjangoCronScheduler):
    """RQ's scheduler; survives an outage of the queue, enqueues nothing twice.

    Several schedulers do no harm: a job has one id, so while it waits or runs neither
    this scheduler nor another one adds a second.
    """

    def enqueue_jobs(self) -> list[CronJob]:
        """Enqueues what is due and does not wait already."""
        due = [job for job in self.get_jobs() if job.should_run()]
        for job in due:
            with self._outage_logged(), contextlib.suppress(DuplicateJobError):
                _enqueue(job)
            # Also after a failure: the next try is the next turn.
            job.set_enqueue_time(timezone.now())
        return due

    def save(self, *args: object, **kwargs: object) -> None:
        """Writes what the queue's admin page shows."""
        with self._outage_logged():
            super().save(*args, **kwargs)

    def heartbeat(self) -> None:
        """Tells the queue's admin page that this scheduler lives."""
        with self._outage_logged():
            super().heartbeat()

    @contextlib.contextmanager
    def _outage_logged(self) -> Iterator[None]:
        try:
            yield
        except RedisError as error:
            self.log.warning("The queue does not answer: %s", error)


def scheduler() -> Scheduler:
    """A scheduler that knows `SCHEDULE`; `start()` runs it until a signal."""
    made = Scheduler()
    for periodic in SCHEDULE:
        function = import_string(periodic.function)
        made.register(function, periodic.queue, interval=periodic.every_s)
    return made


def _enqueue(job: CronJob) -> None:
    # RQ's own CronJob.enqueue uses the pickle serializer and a new id each time.
    get_queue(job.queue_name, commit_mode="auto").enqueue(
        job.func_name,
        job_id=job.name.replace(".", "-"),
        unique=True,
        # No trace of it stays in the way of the next one, whatever happened to it.
        ttl=60,
        result_ttl=0,
        failure_ttl=job.interval,
        job_timeout=300,
    )
