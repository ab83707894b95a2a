"""Killed workers: a batch is taken up again, and no orphan trains beside it."""

import contextlib
import os
import random
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import django_rq
import psutil
import pytest

from labeling.models import Project
from tests.training.makers import age, make_batch, make_trainable
from tests.waiting import crowd
from training import batches
from training.batches import queueing, sweeping, workspace
from training.models import TrainingBatch
from training.running import stages

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

PATIENCE_S = 400.0
"""Only what hangs takes that long, also where other tests keep the machine busy."""

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


def wait_until(batch: TrainingBatch, done: Callable[[], object]) -> float:
    """Seconds until `done`; on the way there is never more than one trainer."""
    started = time.monotonic()
    while time.monotonic() - started < PATIENCE_S:
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
    wait_until(batch, lambda: batch.step > 200)
    (trainer,) = trainers(batch)
    (job,) = psutil.Process(worker.pid).children()
    assert trainer.ppid() == job.pid

    worker.kill()
    job.kill()
    killed_at_step = batch.step
    psutil.wait_procs([trainer], timeout=PATIENCE_S)
    assert not trainer.is_running(), "the training process outlived its job"
    worker.wait()

    start("rqworker", "training", "default")
    taken_up_s = wait_until(batch, lambda: batch.fence == 2)
    print(f"taken up again after {taken_up_s:.0f} s, from step {killed_at_step}")
    assert taken_up_s < 60 or crowd() > 1  # as promised to a machine of its own
    wait_until(batch, lambda: batch.state != State.RUNNING)
    assert (batch.state, batch.error) == (State.SUCCEEDED, "")
    assert batch.metrics["fit"]["resumed_from_step"] > 0
    assert batch.project.versions.count() == 1
    steps = list(batch.steps.values_list("step", flat=True))
    assert steps == sorted(set(steps))
    assert not workspace.folder(batch.pk).exists()


def test_a_killed_training_process_is_started_again_at_once(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    start("rqworker", "training", "default")
    wait_until(batch, lambda: batch.step > 50)
    (trainer,) = trainers(batch)
    trainer.kill()
    took_s = wait_until(batch, lambda: batch.fence == 2)
    print(f"taken up again after {took_s:.1f} s by the same worker")
    assert "process was ended" in batch.log
    batches.cancel(batch, None)
    wait_until(batch, lambda: batch.state == State.CANCELLED)
    assert not batch.project.versions.exists()


def test_ten_kills_change_nothing(base: str, start: Start) -> None:
    chance = random.Random(4)
    project = make_trainable(questions=240)
    undisturbed = longer_batch(project, base)
    start("rqworker", "training")
    wait_until(undisturbed, lambda: undisturbed.version)
    batch = longer_batch(project, base, like=undisturbed)
    worker = start("rqworker", "training")  # beside the first: either may have it
    spent_s = []
    for kill in range(KILLS):
        wait_until(batch, lambda: len(trainers(batch)) == 1)
        if kill % 2:
            time.sleep(chance.uniform(0.0, 4.0))  # its start is part of it
        else:
            wait_until(batch, lambda: batch.phase == "train")
            time.sleep(chance.uniform(0.5, 2.0))
        if batch.version:
            break
        spent_s.append(batch.resources.get("wall_s", 0.0))
        for trainer in trainers(batch):
            job = trainer.parent()
            with_worker = kill in KILLS_OF_ALL and job is not None
            if with_worker and job.parent() is not None:
                job.parent().kill()
                job.kill()
            trainer.kill()
            psutil.wait_procs([trainer], timeout=PATIENCE_S)
            if with_worker:
                # As if the time had passed after which it counts as dead.
                age(batch, 60)
                sweeping.sweep()
                start("rqworker", "training")
    killed = kill + 1
    wait_until(batch, lambda: batch.finished_at)
    print(f"killed {killed} times, {batch.fence} runs: {batch.log}")
    assert (batch.state, batch.error) == (State.SUCCEEDED, "")
    assert killed == KILLS
    assert batch.metrics["fit"]["resumed_from_step"] > 0
    first, second = (
        one.version.evaluations.get(kind="test") for one in (undisturbed, batch)
    )
    assert abs(first.accuracy - second.accuracy) <= 0.005
    assert first.accuracy > 0.8
    assert list(project.versions.values_list("number", flat=True)) in ([1, 2], [2, 1])
    assert not workspace.folder(batch.pk).exists()
    # An attempt counts on from where the one before was killed.
    spent_s.append(batch.resources["wall_s"])
    assert spent_s == sorted(spent_s)
    assert spent_s[-1] > spent_s[-2] > 0
    assert worker.poll() is None or worker.returncode == -signal.SIGKILL


KILLS = 10
KILLS_OF_ALL = (3, 7)
"""Kills that end the worker and its job, too."""


def longer_batch(
    project: Project, base: str, *, like: TrainingBatch | None = None
) -> TrainingBatch:
    """Some seconds of training, with checkpoints on the way."""
    batch = make_batch(
        project,
        base,
        enqueue=True,
        epochs=400,
        early_stopping_patience=0,
        checkpoint_every_s=0.3,
        encoder_lr=1e-4,
    )
    assert like is None or batch.dataset.label_set == like.dataset.label_set
    return batch


def test_twenty_batches_on_two_workers_run_in_order_and_none_twice(
    base: str, start: Start
) -> None:
    projects = [make_trainable() for _number in range(3)]
    queued = []
    for number in range(20):
        project = projects[(0, 0, 1, 2)[number % 4]]
        batch = make_batch(project, base, enqueue=True, epochs=1)
        if number % 4 in (1, 2):  # ends as soon as it begins, with a reason
            TrainingBatch.objects.filter(pk=batch.pk).update(recipe={"epoch": 1})
        queued.append(batch)
    for _worker in range(2):
        start("rqworker", "training")
    deadline = time.monotonic() + 3 * PATIENCE_S
    most_at_once = 0
    unfinished = TrainingBatch.objects.filter(finished_at=None)
    while unfinished.exists():
        running = TrainingBatch.objects.filter(state=State.RUNNING)
        of = list(running.values_list("project_id", flat=True))
        assert len(of) == len(set(of)), "two of one project at once"
        most_at_once = max(most_at_once, len(of))
        assert time.monotonic() < deadline
        time.sleep(0.1)
    print(f"at most {most_at_once} batches at once")
    assert most_at_once == 2
    for project in projects:
        done = list(project.batches.order_by("id"))
        for before, after in pairwise(done):
            assert before.finished_at <= after.started_at, "not in their order"
    for number, batch in enumerate(queued):
        batch.refresh_from_db()
        assert batch.fence == 1, "it ran twice"
        is_broken = number % 4 in (1, 2)
        assert batch.state == (State.FAILED if is_broken else State.SUCCEEDED)
    assert [project.versions.count() for project in projects] == [5, 0, 5]


def test_a_running_batch_is_cancelled_within_seconds(base: str, start: Start) -> None:
    batch = slow_batch(base)
    start("rqworker", "training", "default")
    wait_until(batch, lambda: batch.step > 20)
    batches.cancel(batch, None)
    took_s = wait_until(batch, lambda: batch.state == State.CANCELLED)
    print(f"cancelled after {took_s:.1f} s")
    wait_until(batch, lambda: not trainers(batch))
    wait_until(batch, lambda: not workspace.folder(batch.pk).exists())
    assert not batch.project.versions.exists()


def test_a_process_that_is_told_to_stop_hands_its_batch_back(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    process = start("run_batch", str(batch.pk), "--parent", str(os.getpid()))
    checkpoints = workspace.folder(batch.pk) / stages.CHECKPOINT_FOLDER
    wait_until(batch, checkpoints.exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=PATIENCE_S) == 75
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
    assert any(checkpoints.iterdir()), "nothing is left to go on from"


def test_an_orphan_ends_itself_when_another_takes_its_batch(
    base: str, start: Start
) -> None:
    batch = slow_batch(base)
    process = start("run_batch", str(batch.pk), "--parent", str(os.getpid()))
    wait_until(batch, lambda: batch.step > 20)
    TrainingBatch.objects.filter(pk=batch.pk).update(fence=7)
    process.wait(timeout=PATIENCE_S)
    batch.refresh_from_db()
    assert (batch.state, batch.fence) == (State.RUNNING, 7)


def test_a_process_whose_parent_is_gone_does_not_begin(base: str, start: Start) -> None:
    batch = slow_batch(base)
    nobody = 2**22 - 7
    process = start("run_batch", str(batch.pk), "--parent", str(nobody))
    assert process.wait(timeout=PATIENCE_S) == 75
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
