"""The scheduler: in JSON, never twice, and alive while the queue is not."""

from collections.abc import Iterator
from datetime import timedelta

import django_rq
import pytest
from redis import Redis
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from tuneloop import cron
from tuneloop.cron import SCHEDULE, Scheduler, scheduler


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = django_rq.get_queue("default")
    queue.empty()
    yield queue
    queue.empty()


def make_due(made: Scheduler) -> None:
    for job in made.get_jobs():
        assert job.next_enqueue_time is not None
        job.next_enqueue_time -= timedelta(hours=1)


def test_the_sweep_runs_every_15_seconds() -> None:
    intervals = {job.func_name: job.interval for job in scheduler().get_jobs()}
    assert intervals["training.jobs.sweep"] == 15
    assert len(intervals) == len(SCHEDULE)


def test_jobs_are_json_and_disappear_when_done(queue: Queue) -> None:
    made = scheduler()
    assert len(made.enqueue_jobs()) == len(SCHEDULE)
    assert "training-jobs-sweep" in queue.job_ids
    job = Job.fetch(
        "training-jobs-sweep", connection=queue.connection, serializer=JSONSerializer
    )
    assert job.func_name == "training.jobs.sweep"
    assert (list(job.args), job.kwargs) == ([], {})
    assert job.result_ttl == 0
    assert job.ttl == 60


def test_nothing_is_due_before_its_time(queue: Queue) -> None:
    made = scheduler()
    made.enqueue_jobs()
    assert made.enqueue_jobs() == []


def test_two_schedulers_and_a_busy_worker_leave_one_job(queue: Queue) -> None:
    first, second = scheduler(), scheduler()
    for _turn in range(3):
        first.enqueue_jobs()
        second.enqueue_jobs()
        make_due(first)
        make_due(second)
    assert len(queue.job_ids) == len(SCHEDULE)


def test_survives_an_outage_of_the_queue(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = scheduler()
    gone = Redis(port=1, retry=None)
    nowhere = Queue("default", connection=gone)
    with monkeypatch.context() as patch:
        patch.setattr(cron, "get_queue", lambda *args, **kwargs: nowhere)
        patch.setattr(made, "connection", gone)
        made.enqueue_jobs()
        made.save()
        made.heartbeat()
    assert queue.job_ids == []
    make_due(made)
    made.enqueue_jobs()
    assert len(queue.job_ids) == len(SCHEDULE)
