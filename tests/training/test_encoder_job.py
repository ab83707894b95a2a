"""The worker's job that has the encoder built, and the command that it starts."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from registry import encoder
from tests.makers import make_project, make_question
from tests.training.ml.makers import make_tiny_base
from training import jobs
from training.processes import child

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(settings: Any, tmp_path: Path) -> Iterator[Path]:
    """A storage and a cache of the test's own: nothing is built yet."""
    alias = dict(settings.STORAGES["artifacts"])
    alias["OPTIONS"] = {"location": str(tmp_path / "store")}
    settings.STORAGES = {**settings.STORAGES, "artifacts": alias}
    settings.CACHE_DIR = tmp_path / "cache"
    yield tmp_path
    encoder._opened = None


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Exit codes that the next build processes end with; taken from the end."""
    codes: list[int] = []

    def command() -> list[str]:
        return [sys.executable, "-c", f"raise SystemExit({codes.pop()})"]

    monkeypatch.setattr(child, "encoder_command", command)
    return codes


def build(monkeypatch: pytest.MonkeyPatch, base: Path, *args: str) -> Path:
    """Runs the command here, with a tiny base."""
    from training.management.commands import build_encoder

    monkeypatch.setattr(build_encoder, "DEFAULT_BASE", f"path:{base}")
    out = StringIO()
    call_command("build_encoder", *args, stdout=out)
    return Path(out.getvalue().strip())


def test_the_command_builds_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = build(monkeypatch, make_tiny_base(home))
    assert found == encoder.folder()
    assert encoder.embed(["clock in"]).shape == (1, 32)
    other = make_tiny_base(home, seed=1)
    assert build(monkeypatch, other) == found
    assert build(monkeypatch, other, "--again") == encoder.folder() != found


def test_the_command_says_what_is_wrong_with_the_base(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(CommandError, match="there is no folder"):
        build(monkeypatch, home / "nothing")
    assert encoder.folder() is None


def test_nothing_is_built_before_there_are_questions(started: list[int]) -> None:
    jobs.build_encoder()  # a process would find no exit code


def test_with_questions_a_process_builds(started: list[int]) -> None:
    make_question(make_project())
    started.append(0)
    jobs.build_encoder()
    assert started == []


def test_what_is_built_is_not_built_again(
    home: Path, started: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_question(make_project())
    build(monkeypatch, make_tiny_base(home))
    jobs.build_encoder()


def test_a_failed_build_fails_the_job(started: list[int]) -> None:
    make_question(make_project())
    started.append(1)
    with pytest.raises(RuntimeError, match="could not be built"):
        jobs.build_encoder()


@pytest.mark.slow
def test_the_default_base_puts_like_questions_side_by_side(home: Path) -> None:
    """As a worker does it: 25 s, and 1.8 GB in the child alone."""
    done = subprocess.run(
        child.encoder_command(),
        check=False,
        env={**os.environ, "TUNELOOP_HOME": str(home)},
    )
    assert done.returncode == 0
    shutil.copytree(home / "artifacts" / encoder.FOLDER, encoder.root())
    texts = [
        *("怎么修改登录密码", "如何更改登录密码", "How do I change my password?"),
        *("明天天气怎么样", "what is the weather tomorrow"),
    ]
    vectors = encoder.embed(texts)
    assert vectors.shape == (5, 384)
    alike = vectors @ vectors.T
    assert alike[0, 1] > 0.95
    assert min(alike[0, 2], alike[3, 4]) > max(alike[0, 3], alike[2, 4])
