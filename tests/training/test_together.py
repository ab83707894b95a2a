"""Several processes that train one batch: the same result, and no one left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.training.makers import make_batch, make_trainable
from tests.training.ml.makers import (
    TOPICS,
    make_examples,
    make_recipe,
    make_tiny_base,
)
from training.batches import workspace
from training.ml.interface import FitResult, Progress, TrainingError
from training.ml.loop import fit
from training.models import TrainingBatch
from training.processes import together

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LONG = make_recipe(epochs=100_000, encoder_lr=1e-5, head_lr=1e-5)


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tiny base without dropout, so that two trainings can be compared."""
    return make_tiny_base(
        tmp_path, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )


def arguments(base: Path, tmp_path: Path, **changes: Any) -> dict[str, Any]:
    return {
        # 63 rows: the last step of a pass has 7, 3 for one process and 4 for the other.
        "train": make_examples(63),
        "validation": make_examples(25, seed=1),
        "labels": tuple(TOPICS),
        "multi": False,
        "base": base,
        "parent": None,
        "recipe": make_recipe(frozen_layers=1, checkpoint_every_s=1e-6),
        "out": tmp_path / "out",
        "checkpoints": None,
        "report": lambda progress: None,
        **changes,
    }


def ranks(folder: Path) -> list[psutil.Process]:
    """The launcher and the trainers that work on a folder."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if str(folder) in (process.info["cmdline"] or []):
            found.append(process)
    return found


def assert_gone(folder: Path, *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while left := ranks(folder):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.1)


def test_two_processes_go_on_from_one_to_the_same_result(
    base: Path, tmp_path: Path
) -> None:
    alone: FitResult = fit(**arguments(base, tmp_path, out=tmp_path / "alone"))

    def interrupt(progress: Progress) -> None:
        if progress.step > 10:
            raise KeyboardInterrupt

    checkpoints = tmp_path / "checkpoints"
    with pytest.raises(KeyboardInterrupt):
        fit(**arguments(base, tmp_path, checkpoints=checkpoints, report=interrupt))
    seen: list[Progress] = []
    both = together.fit(
        processes=2,
        folder=tmp_path / "together",
        **arguments(base, tmp_path, checkpoints=checkpoints, report=seen.append),
    )
    assert (both.processes, both.resumed_from_step, both.steps) == (2, 10, alone.steps)
    assert both.macro_f1 == pytest.approx(alone.macro_f1, abs=0.05)
    # Not only as good: without dropout it is the same training.
    losses = [[line.loss for line in run.history] for run in (alone, both)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02)
    assert {p.step for p in seen if p.step} == set(range(10, alone.steps + 1))
    assert seen[-1].phase == "save"
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"model.safetensors", "head.safetensors", "labels.json"} <= names
    # And one process goes on from what two have left.
    last = fit(**arguments(base, tmp_path, checkpoints=checkpoints))
    assert last.resumed_from_step == alone.steps
    assert last.macro_f1 == both.macro_f1


def test_what_report_raises_ends_all_processes(base: Path, tmp_path: Path) -> None:
    class CancelledError(Exception):
        pass

    folder, raised_at = tmp_path / "together", []

    def cancel(progress: Progress) -> None:
        if progress.step >= 5:
            assert len(ranks(folder)) == 3  # the launcher and two trainers
            raised_at.append(time.monotonic())
            raise CancelledError

    with pytest.raises(CancelledError):
        together.fit(
            processes=2,
            folder=folder,
            **arguments(base, tmp_path, recipe=LONG, report=cancel),
        )
    print(f"ended {time.monotonic() - raised_at[0]:.1f} s after the cancel")
    assert not ranks(folder)
    assert not (tmp_path / "out").exists()


def test_a_killed_trainer_ends_the_others_and_is_explained(
    base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "together"

    def kill_one(progress: Progress) -> None:
        if progress.step == 5:
            with contextlib.suppress(psutil.Error):
                trainers = [p for p in ranks(folder) if p.environ().get("RANK") == "1"]
                for trainer in trainers:
                    trainer.kill()

    with pytest.raises(TrainingError, match="was killed, most likely for lack of mem"):
        together.fit(
            processes=2,
            folder=folder,
            **arguments(base, tmp_path, recipe=LONG, report=kill_one),
        )
    assert not ranks(folder)


def test_an_error_of_the_trainers_is_the_owners(base: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="All layers are frozen"):
        together.fit(
            processes=2,
            folder=tmp_path / "together",
            **arguments(
                base, tmp_path, recipe=make_recipe(lora_rank=2, frozen_layers=2)
            ),
        )


OWNER = """
import django, sys
django.setup()
from pathlib import Path
from tests.training.test_together import LONG, arguments
from training.processes import together
base, folder = map(Path, sys.argv[1:])
def tell(progress):
    print(progress.step, flush=True)
together.fit(
    processes=2, folder=folder, **arguments(base, folder, recipe=LONG, report=tell)
)
"""


@pytest.fixture
def owner(base: Path, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", OWNER, str(base), str(tmp_path / "together")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield process
    process.kill()
    process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="asks the Linux kernel")
def test_no_trainer_outlives_its_owner(
    owner: subprocess.Popen[str], tmp_path: Path
) -> None:
    assert owner.stdout is not None
    for line in owner.stdout:
        if int(line) >= 5:
            break
    assert len(ranks(tmp_path / "together")) == 4  # owner, launcher, two trainers
    owner.kill()
    owner.wait()
    assert_gone(tmp_path / "together", timeout_s=5)


@pytest.mark.django_db(transaction=True)
def test_a_batch_of_two_processes(
    base: Path, manage: list[str], process_env: dict[str, str]
) -> None:
    batch = make_batch(make_trainable(), f"path:{base}")
    TrainingBatch.objects.filter(pk=batch.pk).update(processes=2)
    env = {**process_env, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*manage, "run_batch", str(batch.pk)],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    batch.refresh_from_db()
    assert (batch.state, batch.error) == (TrainingBatch.State.SUCCEEDED, ""), (
        done.stderr
    )
    assert batch.metrics["fit"]["processes"] == 2
    assert batch.metrics["fit"]["macro_f1"] > 0.8
    assert batch.steps.count() > 0
    assert not workspace.folder(batch.pk).exists()
