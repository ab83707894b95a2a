"""The RQ worker: notices abandoned jobs soon, and takes its job's process with it."""

import signal
import threading
from typing import Any

import rq
from rq.job import Job
from rq.queue import Queue
from rq.serializers import JSONSerializer

from tuneloop.embedded.parent import die_with_parent

STOP_GRACE_S = 1.0
"""For a short job to finish after the worker was told to stop; training resumes."""


class Worker(rq.Worker):
    """Used by `manage.py rqworker`, through `RQ["WORKER_CLASS"]`.

    With RQ's own intervals a job whose worker was killed is missed after 13 minutes;
    with these after one. Values on the command line are not asked: every worker of an
    installation has to agree on them, and on the serializer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs |= {
            "worker_ttl": 30,
            "maintenance_interval": 15,
            "job_monitoring_interval": 5,
            # The default, pickle, runs whatever a writer of the queue puts there.
            "serializer": JSONSerializer,
        }
        super().__init__(*args, **kwargs)

    def work(self, *args: Any, **kwargs: Any) -> bool:
        """Works until told to stop; however that ends, no job's programs live on."""
        try:
            return bool(super().work(*args, **kwargs))
        finally:
            # RQ leaves a running job alone when it gives up, say, on a lost queue.
            if self.horse_pid and not self._is_horse:
                self.kill_horse()

    def main_work_horse(self, job: Job, queue: Queue) -> None:
        """Runs in the forked child: it must not train on after a killed worker."""
        die_with_parent(signal.SIGKILL, parent_pid=self.pid)
        super().main_work_horse(job, queue)

    def handle_warm_shutdown_request(self) -> None:
        """RQ would wait for the job, for hours: a batch resumes from a checkpoint."""
        super().handle_warm_shutdown_request()
        if self.horse_pid:
            timer = threading.Timer(STOP_GRACE_S, self.kill_horse)
            timer.daemon = True
            timer.start()
