"""A cancel is obeyed within seconds wherever a run is, and leaves nothing."""

import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings as django_settings
from django.db import connection

from tests.registry.test_artifacts import Elsewhere
from tests.training.makers import make_batch, make_trainable
from training import batches, jobs
from training.batches import workspace
from training.models import TrainingBatch
from training.running import runner

pytestmark = pytest.mark.django_db(transaction=True)

PHASES = ("train", "validate", "save", "export", "evaluate", "register")


class Slow(Elsewhere):
    """A storage behind a slow line."""

    def _save(self, name: str, content: Any) -> str:
        time.sleep(0.3)
        return super()._save(name, content)


@pytest.mark.parametrize("phase", PHASES)
def test_a_cancel_is_obeyed_in_each_phase(
    base: str, phase: str, settings: Any, tmp_path: Path
) -> None:
    if phase == "register":
        slow = {"BACKEND": f"{__name__}.Slow", "OPTIONS": {"location": str(tmp_path)}}
        settings.STORAGES = {**settings.STORAGES, "artifacts": slow}
    project = make_trainable()
    batch = make_batch(project, base, epochs=30)
    asked_at: list[float] = []

    def cancel() -> None:
        if not asked_at:
            batches.cancel(batch, None)
            asked_at.append(time.monotonic())

    def cancel_when_it_is_in_the_phase() -> None:
        rows = TrainingBatch.objects.filter(pk=batch.pk, phase=phase)
        while not is_over.wait(0.005) and not asked_at:
            if rows.exists():
                cancel()
        connection.close()

    is_over = threading.Event()
    watcher = threading.Thread(target=cancel_when_it_is_in_the_phase)
    watcher.start()
    done = runner.run(
        batch.pk,
        on_progress=lambda progress: cancel() if progress.phase == phase else None,
    )
    took_s = time.monotonic() - asked_at[0] if asked_at else -1.0
    is_over.set()
    watcher.join()
    print(f"cancelled in {phase}: {took_s:.2f} s")
    assert asked_at, f"no {phase} was seen"
    assert done is not None
    assert (done.state, done.error, done.version) == ("cancelled", "", None)
    assert_nothing_is_left(batch)


@pytest.mark.slow
def test_a_process_that_notices_nothing_is_killed(
    base: str, process_env: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in process_env.items():
        monkeypatch.setenv(name, value)
    batch = make_batch(make_trainable(), base, epochs=100_000)
    asked_at: list[float] = []

    def stop_it_and_cancel() -> None:
        while not TrainingBatch.objects.filter(pk=batch.pk, phase="train").exists():
            time.sleep(0.05)
        (process,) = (
            child
            for child in psutil.Process().children()
            if "run_batch" in child.cmdline()
        )
        process.suspend()  # as in a long call into a library
        batches.cancel(batch, None)
        asked_at.append(time.monotonic())
        connection.close()

    watcher = threading.Thread(target=stop_it_and_cancel)
    watcher.start()
    jobs.run_batch(batch.pk)
    watcher.join()
    print(f"killed {time.monotonic() - asked_at[0]:.2f} s after the cancel")
    batch.refresh_from_db()
    assert (batch.state, batch.error) == ("cancelled", "")
    assert batch.fence == 1, "it was put back on the queue"
    assert_nothing_is_left(batch)


def assert_nothing_is_left(batch: TrainingBatch) -> None:
    project = batch.project
    assert not project.versions.exists()
    assert not workspace.folder(batch.pk).exists()
    store = Path(django_settings.STORAGES["artifacts"]["OPTIONS"]["location"])
    assert not [path for path in (store / project.slug).rglob("*") if path.is_file()]
    assert not project.questions.exclude(trained_in="").exists()
