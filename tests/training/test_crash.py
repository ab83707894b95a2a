"""Killed workers: a batch is taken up again, and no orphan trains beside it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import django_rq
import psutil
import pytest

from tests.training.makers import make_batch, make_trainable
from training import queueing, stages, workspace
from training.models import TrainingBatch

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

State = TrainingBatch.State
Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def start(
    manage: list[str], process_env: dict[str, str], tmp_path: Path
) -> Iterator[Start]:
    """Starts a management command; whatever still runs at the end is killed."""
    queue = django_rq.get_queue(queueing.QUEUE)
    queue.connection.flushdb()
    started = []
    env = {**process_env, "OMP_NUM_THREADS": "1"}  # tiny models gain from no second

    def start(*arguments: str) -> "subprocess.Popen[bytes]":
        log = (tmp_path / f"{arguments[0]}-{len(started)}.log").open("wb")
        process = subprocess.Popen(
            [*manage, *arguments], env=env, stdout=log, stderr=log
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()
    queue.connection.flushdb()


def trainers(batch: TrainingBatch) -> list[psutil.Process]:
    """The processes that train this batch, of this test run."""
    home, found = os.environ["TUNELOOP_HOME"], []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "run_batch" not in words or str(batch.pk) not in words:
            continue
        with contextlib.suppress(psutil.Error):
            if process.environ().get("TUNELOOP_HOME") == home:
                found.append(process)
    return found


def wait_until(
    batch: TrainingBatch, done: Callable[[], bool], *, timeout_s: float
) -> float:
    """Seconds until `done`; on the way there is never more than one trainer."""
    started = time.monotonic()
    while time.monotonic() - started < timeout_s:
        batch.refresh_from_db()
        assert len(trainers(batch)) <= 1, "an orphan trains beside its successor"
        if done():
            return time.monotonic() - started
        time.sleep(0.25)
    raise AssertionError(f"{batch.state} at step {batch.step}: {batch.log}")


def slow_batch(base: str) -> TrainingBatch:
    return make_batch(
        make_trainable(),
        base,
        enqueue=True,
        epochs=400,
        early_stopping_patience=0,
        checkpoint_every_s=0.5,
        encoder_lr=1e-4,
    )


def test_a_batch_survives_a_kill_of_its_worker_and_its_job(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    worker = start("rqworker", "training", "default")
    start("scheduler")
    wait_until(batch, lambda: batch.step > 200, timeout_s=120)
    (trainer,) = trainers(batch)
    (job,) = psutil.Process(worker.pid).children()
    assert trainer.ppid() == job.pid

    worker.kill()
    job.kill()
    killed_at_step = batch.step
    psutil.wait_procs([trainer], timeout=5)
    assert not trainer.is_running(), "the training process outlived its job"
    worker.wait()

    start("rqworker", "training", "default")
    taken_up_s = wait_until(batch, lambda: batch.fence == 2, timeout_s=90)
    print(f"taken up again after {taken_up_s:.0f} s, from step {killed_at_step}")
    wait_until(batch, lambda: batch.state != State.RUNNING, timeout_s=240)
    assert (batch.state, batch.error) == (State.SUCCEEDED, "")
    assert batch.metrics["fit"]["resumed_from_step"] > 0
    assert batch.project.versions.count() == 1
    steps = list(batch.steps.values_list("step", flat=True))
    assert steps == sorted(set(steps))
    assert not workspace.folder(batch.pk).exists()


def test_a_killed_training_process_fails_its_batch_with_a_reason(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    start("rqworker", "training", "default")
    wait_until(batch, lambda: batch.step > 50, timeout_s=120)
    (trainer,) = trainers(batch)
    trainer.kill()  # as the kernel does when memory runs out
    wait_until(batch, lambda: batch.state == State.FAILED, timeout_s=30)
    assert "killed" in batch.error
    assert not batch.project.versions.exists()


def test_a_running_batch_is_cancelled_within_seconds(base: str, start: Start) -> None:
    from training import batches

    batch = slow_batch(base)
    start("rqworker", "training", "default")
    wait_until(batch, lambda: batch.step > 20, timeout_s=120)
    batches.cancel(batch, None)
    took_s = wait_until(batch, lambda: batch.state == State.CANCELLED, timeout_s=10)
    assert took_s < 5
    wait_until(batch, lambda: not trainers(batch), timeout_s=10)
    assert not workspace.folder(batch.pk).exists()
    assert not batch.project.versions.exists()


def test_a_process_that_is_told_to_stop_hands_its_batch_back(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    process = start("run_batch", str(batch.pk), "--parent", str(os.getpid()))
    checkpoints = workspace.folder(batch.pk) / stages.CHECKPOINT_FOLDER
    wait_until(batch, checkpoints.exists, timeout_s=120)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=20) == 75
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
    assert any(checkpoints.iterdir()), "nothing is left to go on from"


def test_an_orphan_ends_itself_when_another_takes_its_batch(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    process = start("run_batch", str(batch.pk), "--parent", str(os.getpid()))
    wait_until(batch, lambda: batch.step > 20, timeout_s=120)
    TrainingBatch.objects.filter(pk=batch.pk).update(fence=7)
    process.wait(timeout=10)
    batch.refresh_from_db()
    assert (batch.state, batch.fence) == (State.RUNNING, 7)


def test_a_process_whose_parent_is_gone_does_not_begin(base: str, start: Start) -> None:
    batch = slow_batch(base)
    nobody = 2**22 - 7
    process = start("run_batch", str(batch.pk), "--parent", str(nobody))
    assert process.wait(timeout=30) == 75
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
