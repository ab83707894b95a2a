"""A batch's life as a manager sees it, on the real queue."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import django_rq
import pytest
from django.db import connection

from labeling.models import Question
from registry import versions
from registry.models import Version
from tests.makers import make_person, make_project
from tests.registry.makers import make_version
from tests.training.makers import add_labels, age, make_batch, make_trainable
from training import batches
from training.batches import ownership, queueing, recipe_of, sweeping, workspace
from training.models import Preset, TrainingBatch

pytestmark = pytest.mark.django_db

committed = pytest.mark.django_db(transaction=True)
"""For what happens on commit, and for what other connections have to see."""

State = TrainingBatch.State


@pytest.fixture(autouse=True)
def queue() -> Iterator[django_rq.queues.DjangoRQ]:
    queue = django_rq.get_queue(queueing.QUEUE)
    _forget_jobs(queue)
    yield queue
    _forget_jobs(queue)


def _forget_jobs(queue: django_rq.queues.DjangoRQ) -> None:
    queue.empty()
    for key in queue.connection.scan_iter("rq:job:batch-*"):
        queue.connection.delete(key)


# --- Create -----------------------------------------------------------------------


def test_too_few_labels_are_refused_with_the_number(base: str) -> None:
    project = make_trainable(questions=40, min_labels_first=100)
    with pytest.raises(batches.NotEnoughLabels) as refused:
        batches.create(project, preset="first", base=base, by=None)
    assert refused.value.missing == 60
    assert "60 more labels" in str(refused.value)
    assert not TrainingBatch.objects.exists()
    assert not project.datasets.exists()


@committed
def test_a_created_batch_is_frozen_and_on_the_queue(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    project = make_trainable()
    mia = make_person("mia", project)
    batch = batches.create(
        project, preset="first", overrides={"epochs": "7"}, base=base, by=mia
    )
    assert batch.state == State.QUEUED
    assert batch.recipe["epochs"] == 7
    assert batch.created_by == mia
    assert batch.dataset.train_count == 84
    assert batch.dataset.digest
    (job,) = queue.jobs
    assert job.id == f"batch-{batch.pk}-1"
    assert job.func_name == "training.jobs.run_batch"
    assert list(job.args) == [batch.pk]
    assert job.timeout == 24 * 3600


@committed
def test_nothing_is_queued_when_the_transaction_is_rolled_back(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    from django.db import transaction

    project = make_trainable()
    with transaction.atomic():
        batches.create(project, preset="first", base=base, by=None)
        assert queue.jobs == []
        transaction.set_rollback(True)
    assert queue.jobs == []


@pytest.mark.parametrize(
    ("values", "error", "says"),
    [
        ({"preset": "second"}, batches.InvalidRecipe, "second"),
        ({"overrides": {"epoch": "3"}}, batches.InvalidRecipe, "epoch"),
        ({"overrides": {"epochs": "many"}}, batches.InvalidRecipe, "epochs"),
        ({"base": "bert"}, batches.UnknownBase, "bert"),
        ({"base": "path:/no/such/folder"}, batches.UnknownBase, "/no/such/folder"),
        ({"base": "package:nothing"}, batches.UnknownBase, "nothing"),
        ({"base": None, "preset": "incremental"}, batches.UnknownBase, "first one"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    base: str, values: dict[str, object], error: type[Exception], says: str
) -> None:
    project = make_trainable()
    asked = {"preset": "first", "base": base, "by": None, **values}
    with pytest.raises(error, match=says):
        batches.create(project, **asked)  # type: ignore[arg-type]
    assert not project.datasets.exists()


def test_a_teams_preset_is_a_preset(base: str) -> None:
    project = make_trainable()
    recipe = recipe_of("first", {"epochs": "3"}).to_dict()
    Preset.objects.create(name="ours", built_on="first", recipe=recipe)
    batch = batches.create(
        project, preset="ours", overrides={"seed": "5"}, base=base, by=None, force=True
    )
    assert (batch.preset, batch.is_incremental) == ("ours", False)
    assert (batch.recipe["epochs"], batch.recipe["seed"]) == (3, 5)
    assert batches.presets()[-1] == "ours"
    with pytest.raises(batches.InvalidRecipe, match=r"known: .*ours"):
        recipe_of("theirs")


def test_a_preset_built_on_incremental_goes_on_from_the_active_version(
    base: str,
) -> None:
    project = make_trainable()
    recipe = recipe_of("incremental").to_dict()
    Preset.objects.create(name="weekly", built_on="incremental", recipe=recipe)
    asked = {"preset": "weekly", "by": None, "force": True}
    with pytest.raises(batches.UnknownBase, match="weekly"):
        batches.create(project, base=base, **asked)
    with pytest.raises(batches.UnknownBase, match="first one"):
        batches.create(project, **asked)
    version = make_version(project, active=True, provenance={"base": base})
    batch = batches.create(project, **asked)
    assert (batch.parent, batch.is_incremental) == (version, True)
    # The batch goes on as it was made, whatever becomes of the preset.
    Preset.objects.all().delete()
    batch.refresh_from_db()
    assert batch.is_incremental


def test_a_preset_with_a_broken_recipe_is_refused(base: str) -> None:
    project = make_trainable()
    for recipe in ({"epoch": 3}, {"epochs": "three"}, {"epochs": -1}):
        preset = Preset.objects.create(name="odd", built_on="first", recipe=recipe)
        with pytest.raises(batches.InvalidRecipe, match="epoch"):
            batches.create(project, preset="odd", base=base, by=None, force=True)
        preset.delete()
    assert not project.datasets.exists()


def test_processes_come_from_the_setting_unless_they_are_said(
    base: str, settings: Any
) -> None:
    settings.TRAIN_PROCESSES = 4
    asked = {"preset": "first", "base": base, "by": None, "force": True}
    project = make_trainable()
    assert batches.create(project, **asked).processes == 4
    assert batches.create(project, processes=2, **asked).processes == 2
    for count in (0, 65):
        with pytest.raises(batches.InvalidRecipe, match=str(count)):
            batches.create(project, processes=count, **asked)


def test_a_damaged_base_is_refused_before_anything_is_queued(
    base: str, tmp_path: Path, queue: django_rq.queues.DjangoRQ
) -> None:
    import shutil

    copy = tmp_path / "damaged"
    shutil.copytree(base.removeprefix("path:"), copy)
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(batches.UnknownBase, match="damaged"):
        batches.create(make_trainable(), preset="first", base=f"path:{copy}", by=None)
    assert queue.jobs == []


def test_only_test_labels_are_nothing_to_train_on(base: str) -> None:
    project = make_trainable(questions=8)
    Question.objects.filter(project=project).exclude(split="test").delete()
    with pytest.raises(batches.NothingToTrainOn):
        make_batch(project, base)
    assert not project.datasets.exists()


def test_the_next_training_wants_new_labels(base: str) -> None:
    project = make_trainable(min_labels_next=30)
    make_version(project, active=True)
    project.questions.exclude(split="test").update(trained_in="1")
    with pytest.raises(batches.NotEnoughLabels) as refused:
        batches.create(project, preset="first", base=base, by=None)
    assert refused.value.missing == 30
    add_labels(project, 30, seed=7)
    assert batches.create(project, preset="first", base=base, by=None).pk


def test_incremental_goes_on_from_the_active_version(base: str) -> None:
    project = make_trainable()
    version = make_version(
        project, ["stock", "payment"], active=True, provenance={"base": base}
    )
    batch = batches.create(project, preset="incremental", by=None, force=True)
    assert (batch.parent, batch.base) == (version, base)
    assert batch.dataset.label_set[:2] == ["stock", "payment"]


def test_a_version_of_another_project_is_no_parent(base: str) -> None:
    foreign = make_version(make_project())
    with pytest.raises(batches.UnknownBase):
        batches.create(make_trainable(), preset="first", parent=foreign, by=None)


def test_a_second_batch_waits_for_the_first(base: str) -> None:
    project = make_trainable()
    first = make_batch(project, base)
    with pytest.raises(batches.BatchUnderWay) as refused:
        batches.create(project, preset="first", base=base, by=None)
    assert refused.value.batch == first
    second = make_batch(project, base)  # forced
    assert ownership.claim(first.pk)
    assert ownership.claim(second.pk) is None, "two of one project at once"
    assert ownership.fail(first.pk, 1, error="x")
    assert ownership.claim(second.pk)


@committed
def test_of_two_clicks_at_once_one_creates_a_batch(base: str) -> None:
    project = make_trainable()
    outcomes: list[str] = []

    def click() -> None:
        try:
            batches.create(project, preset="first", base=base, by=None)
            outcomes.append("created")
        except batches.BatchUnderWay:
            outcomes.append("refused")
        finally:
            connection.close()

    _at_once(click, 4)
    assert sorted(outcomes) == ["created", "refused", "refused", "refused"]


# --- Claim, cancel, retry ---------------------------------------------------------


@committed
def test_of_many_claims_at_once_one_wins(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    fences: list[int | None] = []

    def claim() -> None:
        fences.append(ownership.claim(batch.pk))
        connection.close()

    _at_once(claim, 6)
    assert sorted(fences, key=str) == [1, None, None, None, None, None]


def test_a_stale_batch_is_taken_over_and_its_former_owner_shut_out(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    old = ownership.claim(batch.pk)
    assert old == 1
    age(batch, 29)
    assert ownership.claim(batch.pk) is None, "29 s are not stale"
    age(batch, 31)
    assert ownership.claim(batch.pk) == 2
    assert ownership.beat(batch.pk, old) is None
    assert not ownership.fail(batch.pk, old, error="by the orphan")
    assert not ownership.hand_back(batch.pk, old)
    batch.refresh_from_db()
    assert (batch.state, batch.error) == (State.RUNNING, "")


def test_a_waiting_batch_is_cancelled_at_once(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    batches.cancel(batch, None)
    batch.refresh_from_db()
    assert batch.state == State.CANCELLED
    assert ownership.claim(batch.pk) is None
    with pytest.raises(batches.WrongState):
        batches.cancel(batch, None)


def test_a_running_batch_learns_of_its_cancel(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    fence = ownership.claim(batch.pk)
    assert fence is not None
    assert ownership.beat(batch.pk, fence) is False
    batches.cancel(batch, None)
    assert ownership.beat(batch.pk, fence) is True


@committed
def test_a_failed_batch_can_be_run_again(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    batch = make_batch(make_trainable(), base)
    with pytest.raises(batches.BatchUnderWay):
        batches.retry(batch, None)
    assert ownership.claim(batch.pk)
    assert ownership.fail(batch.pk, 1, error="no luck")
    ownership.add_step(batch.pk, step=1, epoch=1, loss=1.0, macro_f1=None)
    batches.retry(batch, None)
    batch.refresh_from_db()
    assert (batch.state, batch.error, batch.attempts) == (State.QUEUED, "", 2)
    assert not batch.steps.exists()
    assert queue.job_ids == [f"batch-{batch.pk}-2"]
    assert ownership.claim(batch.pk) == 2


def test_a_succeeded_batch_cannot_be_run_again(base: str) -> None:
    from django.utils import timezone

    batch = make_batch(make_trainable(), base)
    TrainingBatch.objects.filter(pk=batch.pk).update(
        state=State.SUCCEEDED, finished_at=timezone.now()
    )
    batch.refresh_from_db()
    with pytest.raises(batches.WrongState):
        batches.start(batch, None)


# --- Sweep ------------------------------------------------------------------------


@committed
def test_sweep_takes_up_what_shows_no_sign_of_life(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    batch = make_batch(make_trainable(), base)
    assert ownership.claim(batch.pk)
    age(batch, 20)
    assert sweeping.sweep() == []
    age(batch, 40)
    assert sweeping.sweep() == [batch.pk]
    assert sweeping.sweep() == []
    batch.refresh_from_db()
    assert (batch.state, batch.attempts) == (State.QUEUED, 2)
    assert queue.job_ids == [f"batch-{batch.pk}-2"]
    assert "back on the queue" in batch.log


@committed
def test_many_sweeps_at_once_enqueue_once(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    batch = make_batch(make_trainable(), base)
    assert ownership.claim(batch.pk)
    age(batch, 40)
    moved: list[list[int]] = []

    def sweep() -> None:
        moved.append(sweeping.sweep())
        connection.close()

    _at_once(sweep, 6)
    assert sorted(moved) == [*([[]] * 5), [batch.pk]]
    assert queue.job_ids == [f"batch-{batch.pk}-2"]


@committed
def test_many_sweeps_at_once_find_a_lost_batch_once(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    batch = make_batch(make_trainable(), base)
    age(batch, 40)
    moved: list[list[int]] = []

    def sweep() -> None:
        moved.append(sweeping.sweep())
        connection.close()

    _at_once(sweep, 6)
    assert sorted(moved) == [*([[]] * 5), [batch.pk]]
    assert queue.job_ids == [f"batch-{batch.pk}-2"]


def test_an_attempt_is_on_the_queue_once(queue: django_rq.queues.DjangoRQ) -> None:
    for _i in range(3):
        queueing.put(7, 1)
    assert queue.job_ids == ["batch-7-1"]
    assert queueing.is_waiting(7, 1)
    assert not queueing.is_waiting(7, 2)


@committed
def test_sweep_finds_queued_batches_that_the_queue_lost(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    batch = make_batch(make_trainable(), base, enqueue=True)
    age(batch, 40)
    assert sweeping.sweep() == [], "its job still waits"
    _forget_jobs(queue)
    assert sweeping.sweep() == [batch.pk]
    assert queue.job_ids == [f"batch-{batch.pk}-2"]


def test_sweep_leaves_a_foreground_run_alone(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    make_batch(make_trainable(), base)  # made, and about to be claimed by `train`
    assert sweeping.sweep() == []
    assert queue.job_ids == []


def test_sweep_enqueues_the_oldest_of_a_project_when_none_runs(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    project = make_trainable()
    running, second, third = (make_batch(project, base) for _i in range(3))
    assert ownership.claim(running.pk)
    age(second, 40)
    age(third, 40)
    assert sweeping.sweep() == []
    assert ownership.fail(running.pk, 1, error="x")
    assert sweeping.sweep() == [second.pk]


def test_sweep_ends_an_abandoned_batch_that_shall_be_cancelled(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    assert ownership.claim(batch.pk)
    workspace.folder(batch.pk).mkdir(parents=True)
    batches.cancel(batch, None)
    age(batch, 40)
    assert ownership.claim(batch.pk) is None, "nobody takes up what shall end"
    assert sweeping.sweep() == []
    batch.refresh_from_db()
    assert batch.state == State.CANCELLED
    assert not workspace.folder(batch.pk).exists()


def test_a_batch_that_kills_its_process_again_and_again_is_given_up(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    assert ownership.claim(batch.pk)
    TrainingBatch.objects.update(attempts=sweeping.MAX_ATTEMPTS)
    age(batch, 40)
    sweeping.sweep()
    batch.refresh_from_db()
    assert batch.state == State.FAILED
    assert "20 times" in batch.error


@committed
def test_the_next_batch_starts_when_one_ends(
    base: str, queue: django_rq.queues.DjangoRQ
) -> None:
    project = make_trainable()
    first, second = (make_batch(project, base) for _i in range(2))
    assert ownership.claim(first.pk)
    sweeping.start_next(project.pk)
    assert queue.job_ids == []
    assert ownership.end_cancelled(first.pk, 1)
    sweeping.start_next(project.pk)
    assert queue.job_ids == [f"batch-{second.pk}-2"]
    sweeping.start_next(project.pk)
    assert queue.job_ids == [f"batch-{second.pk}-2"]


def test_a_dead_process_says_nothing_of_a_batch_that_was_taken_over(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    assert ownership.claim(batch.pk) == 1
    age(batch, 40)
    assert ownership.claim(batch.pk) == 2
    assert not ownership.abandoned(batch.pk, fence=0).exists()
    assert ownership.abandoned(batch.pk, fence=1).exists()
    sweeping.after_a_kill(batch.pk, fence=0)
    batch.refresh_from_db()
    assert batch.state == State.RUNNING
    sweeping.after_a_kill(batch.pk, fence=1)
    batch.refresh_from_db()
    assert batch.state == State.QUEUED
    assert "process was ended" in batch.log


def test_nobody_overtakes_an_older_batch_of_the_project(base: str) -> None:
    project = make_trainable()
    first, second = (make_batch(project, base) for _i in range(2))
    other = make_batch(make_trainable(), base)
    assert ownership.claim(second.pk) is None
    assert ownership.claim(other.pk) == 1, "it is another project's"
    assert ownership.claim(first.pk) == 1
    assert ownership.claim(second.pk) is None
    assert ownership.end_cancelled(first.pk, 1)
    assert ownership.claim(second.pk) == 1


def test_a_foreground_training_need_not_wait_for_its_turn(base: str) -> None:
    project = make_trainable()
    first, second = (make_batch(project, base) for _i in range(2))
    assert ownership.claim(second.pk, in_turn=False) == 1
    assert ownership.claim(first.pk) is None


def test_a_parent_stays_while_batches_name_it(base: str) -> None:
    project = make_trainable()
    version = make_version(project, active=True, provenance={"base": base})
    batches.create(project, preset="incremental", by=None, force=True)
    assert versions.active(project) == version
    with pytest.raises(Exception, match="restricted"):
        Version.objects.filter(pk=version.pk).delete()


def _at_once(call: object, count: int) -> None:
    gate = threading.Barrier(count)

    def run() -> None:
        gate.wait()
        call()  # type: ignore[operator]

    threads = [threading.Thread(target=run) for _i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
