"""Checkpoints on a full disk, and of a process that is killed while it writes one."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.training.ml.makers import make_recipe
from tests.training.ml.test_loop import train
from training.ml.checkpoint import Checkpoints

ROOT = Path(__file__).parents[3]
RECIPE = make_recipe(checkpoint_every_s=1e-6)


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    write, (soft, hard) = Checkpoints._write, resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = []

    def write_with_little_room(self: Checkpoints, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) > 2:
            # The system refuses to make a file larger than that.
            resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
        try:
            write(self, *arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    monkeypatch.setattr(Checkpoints, "_write", write_with_little_room)
    folder = tmp_path / "checkpoints"
    result = train(base, tmp_path / "out", recipe=RECIPE, checkpoints=folder)
    assert result.steps == 48
    assert len(calls) > 40
    assert "no checkpoint at step 3" in caplog.text
    # The last one that was written is there, and nothing half-written.
    assert [path.name for path in folder.iterdir()] == ["step-00000002"]


KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.ml.test_checkpoint import RECIPE
from tests.training.ml.test_loop import train
from training.ml import checkpoint

written = []
def die_in_the_fourth(path):
    written.append(path)
    if len(written) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return digest(path)
digest, checkpoint._sha256 = checkpoint._sha256, die_in_the_fourth
base, out, folder = map(Path, sys.argv[1:])
train(base, out, recipe=RECIPE, checkpoints=folder)
"""


def test_a_kill_in_the_middle_of_a_checkpoint_leaves_the_one_before(
    base: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "checkpoints"
    arguments = [str(base), str(tmp_path / "out"), str(folder)]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    names = sorted(path.name for path in folder.iterdir())
    assert len(names) == 2
    assert names[0].startswith(".writing-")
    assert names[1] == "step-00000003"
    result = train(base, tmp_path / "out", recipe=RECIPE, checkpoints=folder)
    assert (result.resumed_from_step, result.steps) == (3, 48)
    assert not list(folder.glob(".writing-*"))
