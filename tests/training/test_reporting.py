"""What a run's reports leave in the batch's row and curves."""

import pytest

from tests.training.makers import make_batch, make_trainable
from training import batches
from training.batches import ownership
from training.ml.interface import Progress
from training.models import TrainingBatch
from training.running import reporting
from training.running.heartbeat import Cancelled, Heartbeat, Lost

pytestmark = pytest.mark.django_db


@pytest.fixture
def beat(base: str) -> Heartbeat:
    """Of a claimed batch; not started, so it only writes when told to."""
    batch = make_batch(make_trainable(questions=40), base)
    fence = ownership.claim(batch.pk)
    assert fence is not None
    return Heartbeat(batch.pk, fence)


def progress(step: int, *, phase: str = "train", f1: float | None = None) -> Progress:
    return Progress(step, 100, 1, 2.0, f1, phase, 9.0)


def row(beat: Heartbeat) -> TrainingBatch:
    return TrainingBatch.objects.get(pk=beat.batch_id)


def points(beat: Heartbeat) -> list[tuple[int, float | None]]:
    return list(row(beat).steps.values_list("step", "macro_f1"))


def test_steps_are_written_once_a_second(
    beat: Heartbeat, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [100.0]
    monkeypatch.setattr("training.running.reporting.time.monotonic", lambda: clock[0])
    report = reporting.Reporter(beat)
    for step in range(1, 13):
        report(progress(step))
        clock[0] += 0.25
    assert [step for step, _f1 in points(beat)] == [1, 5, 9]
    batch = row(beat)
    assert (batch.phase, batch.step, batch.total_steps) == ("train", 9, 100)
    assert batch.eta_s == 9.0


def test_every_validation_is_a_point_also_an_equal_one(beat: Heartbeat) -> None:
    report = reporting.Reporter(beat)
    last = None
    for step, f1 in ((10, 0.5), (20, 0.5), (30, 0.7)):
        report(progress(step, f1=last))
        report(progress(step, phase="validate", f1=last))
        report(progress(step, f1=last))  # the validation is over
        report(progress(step, f1=f1))  # and this is its result
        last = f1
    assert points(beat) == [(10, 0.5), (20, 0.5), (30, 0.7)]


def test_an_export_keeps_the_training_s_steps(beat: Heartbeat) -> None:
    report = reporting.Reporter(beat)
    report(progress(80))
    report(Progress(1, 4, 0, 0.0, None, "export", None))
    batch = row(beat)
    assert (batch.phase, batch.step, batch.total_steps) == ("export", 80, 100)
    assert [step for step, _f1 in points(beat)] == [80]


def test_a_resumed_run_takes_back_the_points_it_makes_again(beat: Heartbeat) -> None:
    for step in (10, 20, 30):
        ownership.add_step(beat.batch_id, step=step, epoch=1, loss=1.0, macro_f1=None)
    report = reporting.Reporter(beat)
    report(progress(0, phase="prepare"))
    assert len(points(beat)) == 3
    report(progress(20))
    assert [step for step, _f1 in points(beat)] == [10, 20]


def test_what_the_heartbeat_learned_is_obeyed_before_the_next_write(
    beat: Heartbeat,
) -> None:
    report = reporting.Reporter(beat)
    report(progress(1))
    beat._note(True)  # as its thread does
    with pytest.raises(Cancelled):
        report(progress(2))


def test_a_report_obeys(beat: Heartbeat) -> None:
    report = reporting.Reporter(beat)
    report(progress(1))
    batches.cancel(row(beat), None)
    with pytest.raises(Cancelled):
        report(progress(2, phase="export"))
    with pytest.raises(Cancelled):
        report(progress(3))
    other = reporting.Reporter(Heartbeat(beat.batch_id, beat.fence + 1))
    with pytest.raises(Lost):
        other(progress(1))


def test_the_time_left_counts_what_comes_after_training(beat: Heartbeat) -> None:
    after = {"export": 4.0, "calibrate": 1.0, "evaluate": 3.0}
    report = reporting.Reporter(beat, after=after)
    report.phase("prepare")
    assert row(beat).eta_s is None
    report(progress(5))
    assert row(beat).eta_s == 9.0 + 8.0
    report.phase("export")
    assert row(beat).eta_s == 8.0
    report(progress(1, phase="export"))
    assert row(beat).eta_s == 8.0, "an export says nothing of the rest"
    report.phase("evaluate")
    assert row(beat).eta_s == 3.0
    report.phase("register")
    assert row(beat).eta_s is None


def test_what_comes_after_takes_as_long_as_the_last_time(base: str) -> None:
    assert reporting.usual_seconds(base) == reporting.AFTER_TRAINING_S
    batch = make_batch(make_trainable(questions=40), base)
    TrainingBatch.objects.filter(pk=batch.pk).update(
        state="succeeded",
        finished_at=batch.created_at,
        metrics={"seconds": {"export": 2.5, "evaluate": 0.5, "fit": 99.0}},
    )
    usual = reporting.usual_seconds(base)
    assert list(usual) == ["export", "calibrate", "evaluate"]
    assert (usual["export"], usual["evaluate"]) == (2.5, 0.5)
