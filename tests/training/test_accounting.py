"""What a batch used: of all its processes, of all its attempts, however they ended."""

import subprocess
import sys
import time

import pytest

from tests.training.makers import make_batch, make_trainable
from training.batches import ownership
from training.models import TrainingBatch
from training.running import accounting, runner

pytestmark = pytest.mark.django_db(transaction=True)

BUSY = """
import time
held = bytearray(300 * 2**20)
end = time.process_time() + 0.5
while time.process_time() < end: pass
print("ready", flush=True)
input()
"""


def claimed(base: str) -> tuple[TrainingBatch, int]:
    batch = make_batch(make_trainable(), base)
    fence = ownership.claim(batch.pk)
    assert fence is not None
    batch.refresh_from_db()
    return batch, fence


def test_processes_below_count_too(base: str) -> None:
    batch, fence = claimed(base)
    with accounting.Meter(batch, fence) as meter:
        before = meter.total()
        below = subprocess.Popen(
            [sys.executable, "-c", BUSY], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert below.stdout is not None
        below.stdout.readline()
        during = meter.total()
        below.communicate(b"\n")
        after = meter.total()
    # The database of the tests may run below this process, too.
    assert during["processes"] == after["processes"] == before["processes"] + 1
    assert during["peak_memory_mb"] > before["peak_memory_mb"] + 290
    assert during["cpu_s"] > before["cpu_s"] + 0.4
    assert after["cpu_s"] >= during["cpu_s"], "it ended, what it used stays"
    assert after["peak_memory_mb"] >= during["peak_memory_mb"]
    batch.refresh_from_db()
    assert batch.resources["cpu_s"] >= after["cpu_s"]
    assert batch.resources["device"] == "cpu"
    assert batch.resources["gpu_peak_memory_mb"] is None


def test_seconds_add_up_and_peaks_do_not() -> None:
    first = {
        "device": "NVIDIA H100",
        "cpu_s": 10.0,
        "wall_s": 20.0,
        "peak_memory_mb": 900,
        "gpu_peak_memory_mb": 4000,
        "processes": 2,
    }
    died_early = {
        "device": "cpu",
        "cpu_s": 1.5,
        "wall_s": 2.0,
        "peak_memory_mb": 300.4,
        "gpu_peak_memory_mb": None,
        "processes": 1,
    }
    assert accounting.add(first, died_early) == {
        "device": "NVIDIA H100",
        "cpu_s": 11.5,
        "wall_s": 22.0,
        "peak_memory_mb": 900,
        "gpu_peak_memory_mb": 4000,
        "processes": 2,
    }
    assert accounting.add({}, died_early)["peak_memory_mb"] == 300


def test_who_lost_the_batch_counts_nothing(base: str) -> None:
    batch, fence = claimed(base)
    with accounting.Meter(batch, fence):
        TrainingBatch.objects.filter(pk=batch.pk).update(fence=9, resources={"x": 1})
    batch.refresh_from_db()
    assert batch.resources == {"x": 1}


def test_a_batch_that_is_taken_up_again_counts_on(base: str) -> None:
    batch = make_batch(make_trainable(), base, epochs=12, checkpoint_every_s=0.01)

    def stop(progress: object) -> None:
        if progress.step == 30:  # type: ignore[attr-defined]
            time.sleep(1.2)  # for a heartbeat
            counted = TrainingBatch.objects.get(pk=batch.pk).resources
            assert counted["wall_s"] > 0, "a killed run counts to its last heartbeat"
            raise runner.Interrupted

    with pytest.raises(runner.Interrupted):
        runner.run(batch.pk, on_progress=stop)
    batch.refresh_from_db()
    first = batch.resources
    assert first["wall_s"] > 1.2
    done = runner.run(batch.pk)
    assert done is not None
    assert (done.state, done.error) == ("succeeded", "")
    assert done.resources["wall_s"] > first["wall_s"]
    assert done.resources["cpu_s"] > first["cpu_s"] > 0
    assert done.resources["peak_memory_mb"] >= first["peak_memory_mb"] > 50
