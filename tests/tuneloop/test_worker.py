"""The RQ worker: short intervals, JSON, and no job process without its worker."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import django_rq
import psutil
import pytest
from rq import Queue
from rq.serializers import DefaultSerializer, JSONSerializer

from tuneloop.worker import Worker

SLEEP = ["sleep", "300"]


@pytest.fixture
def queue() -> Iterator[Queue]:
    queue = django_rq.get_queue("default", commit_mode="auto")
    queue.empty()
    yield queue
    queue.empty()


def start_worker(manage: list[str], env: dict[str, str]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([*manage, "rqworker", "default", "-v", "0"], env=env)


def wait_for_job(worker_pid: int) -> tuple[psutil.Process, psutil.Process]:
    """The job's process and the program that it waits for.

    Found by the program: a worker has other, short-lived children as it starts.
    """
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for process in psutil.Process(worker_pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline() == SLEEP and (horse := process.parent()):
                    return horse, process
        time.sleep(0.05)
    raise AssertionError("the worker started no job")


def test_notices_abandoned_jobs_soon_whatever_it_is_told() -> None:
    connection = django_rq.get_connection("default")
    # As `manage.py rqworker` makes it.
    worker = Worker(
        ["default"],
        connection=connection,
        worker_ttl=420,
        serializer="rq.serializers.DefaultSerializer",
    )
    assert worker.worker_ttl == 30
    assert worker.maintenance_interval == 15
    assert worker.job_monitoring_interval == 5
    assert worker.serializer is JSONSerializer


def test_rqworker_runs_json_and_refuses_pickle(
    manage: list[str], process_env: dict[str, str], queue: Queue
) -> None:
    good = queue.enqueue("os.getpid")
    pickled = Queue(
        "default", connection=queue.connection, serializer=DefaultSerializer
    ).enqueue("os.getpid")
    subprocess.run(
        [*manage, "rqworker", "default", "--burst", "-v", "0"],
        env=process_env,
        check=True,
        capture_output=True,
    )
    assert good.get_status(refresh=True) == "finished"
    assert good.return_value() != os.getpid()
    assert pickled.get_status(refresh=True) != "finished"
    pickled.delete()


def test_a_killed_worker_takes_its_job_process_along(
    manage: list[str], process_env: dict[str, str], queue: Queue
) -> None:
    queue.enqueue("subprocess.call", SLEEP)
    worker = start_worker(manage, process_env)
    try:
        horse, program = wait_for_job(worker.pid)
        worker.kill()
        worker.wait()
        _gone, alive = psutil.wait_procs([horse], timeout=60)
        assert not alive
        program.kill()
    finally:
        worker.kill()


def test_a_stop_does_not_wait_for_hours(
    manage: list[str], process_env: dict[str, str], queue: Queue
) -> None:
    queue.enqueue("subprocess.call", SLEEP)
    worker = start_worker(manage, process_env)
    try:
        horse, program = wait_for_job(worker.pid)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(timeout=60) == 0
        _gone, alive = psutil.wait_procs([horse, program], timeout=60)
        assert not alive
    finally:
        worker.kill()


def test_imports_no_torch() -> None:
    code = "import sys, tuneloop.worker; print('torch' in sys.modules)"
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True
    )
    assert done.stdout.strip() == "False", done.stderr
