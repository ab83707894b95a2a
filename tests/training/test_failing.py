"""What goes wrong ends a batch with a sentence for a manager, and leaves nothing."""

import html
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from django.conf import settings as django_settings
from django.test import Client
from django.urls import reverse

from registry import artifacts, versions
from registry.models import Version
from tests.makers import make_person
from tests.training.makers import make_batch, make_trainable, tiny_base
from training import batches, jobs
from training.batches import failures, workspace
from training.models import TrainingBatch
from training.running import runner

pytestmark = pytest.mark.django_db(transaction=True)

State = TrainingBatch.State
MIB = 2**20


@pytest.fixture
def base_copy(base: str, tmp_path: Path) -> Path:
    """A base model that a test may damage."""
    copy = tmp_path / "base"
    shutil.copytree(base.removeprefix("path:"), copy)
    return copy


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounting = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        subprocess.run(mounting, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this machine lets nobody mount")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def assert_failed(batch: TrainingBatch, *words: str) -> None:
    """The row and the page say these words; nothing half registered is left."""
    batch.refresh_from_db()
    assert batch.state == State.FAILED, f"{batch.state}: {batch.log}"
    page = _page(batch)
    for word in words:
        assert word in batch.error
        assert word in page
    assert "Traceback" not in batch.error
    assert "Unexpected error" not in batch.error
    assert batch.version is None
    assert not batch.project.versions.exclude(pk=batch.parent_id).exists()
    assert not batch.project.questions.exclude(trained_in="").exists()
    assert not workspace.folder(batch.pk).exists()
    location = django_settings.STORAGES["artifacts"]["OPTIONS"]["location"]
    folders = Path(location, batch.project.slug).glob("*")
    known = {artifact for (artifact,) in Version.objects.values_list("artifact")}
    assert {f"{batch.project.slug}/{f.name}" for f in folders} <= known
    assert batch.resources["wall_s"] > 0


def _page(batch: TrainingBatch) -> str:
    client = Client()
    client.force_login(make_person("mia", batch.project))
    answer = client.get(reverse("training:batch", args=[batch.pk]))
    assert answer.status_code == 200
    return html.unescape(answer.content.decode())


@pytest.mark.parametrize(
    ("recipe", "says"),
    [
        ({"epoch": 3}, "unknown recipe field: epoch"),
        ({"epochs": "three"}, "epochs must be int, not 'three'"),
        ({"head_lr": 7.0}, "head_lr must be at least 0 and below 1"),
        (["epochs"], "recipe cannot be used"),
        (None, "recipe cannot be used"),
    ],
)
def test_a_broken_recipe(base: str, recipe: Any, says: str) -> None:
    batch = make_batch(make_trainable(), base)
    TrainingBatch.objects.filter(pk=batch.pk).update(recipe=recipe or 7)
    runner.run(batch.pk)
    assert_failed(batch, says)


def test_a_dataset_of_one_intent(base: str) -> None:
    batch = make_batch(make_trainable(questions=40, topics=("stock",)), base)
    runner.run(batch.pk)
    assert_failed(batch, "same intent", "at least two")


def test_a_loss_that_is_no_number(base_copy: Path) -> None:
    # No learning rate that a recipe may have drives weights so far in a few steps.
    from safetensors.numpy import load_file, save_file

    weights = base_copy / "model.safetensors"
    tensors = load_file(weights)
    save_file({name: 1e30 * value for name, value in tensors.items()}, weights)
    batch = make_batch(make_trainable(), f"path:{base_copy}", encoder_lr=0.9)
    runner.run(batch.pk)
    assert_failed(batch, "no longer a number", "learning rates")


def test_a_missing_base_model(base_copy: Path) -> None:
    batch = make_batch(make_trainable(), f"path:{base_copy}")
    shutil.rmtree(base_copy)
    runner.run(batch.pk)
    assert_failed(batch, "there is no folder", str(base_copy))


def test_a_click_runs_a_failed_batch_again(base_copy: Path, base: str) -> None:
    batch = make_batch(make_trainable(), f"path:{base_copy}")
    shutil.rmtree(base_copy)
    runner.run(batch.pk)
    assert_failed(batch, "there is no folder")
    shutil.copytree(base.removeprefix("path:"), base_copy)
    client = Client()
    client.force_login(make_person("mia", batch.project))
    client.post(reverse("training:batch-retry", args=[batch.pk]))
    done = runner.run(batch.pk)
    assert done is not None
    assert (done.state, done.error, done.fence) == (State.SUCCEEDED, "", 2)


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_damaged_base_model(base_copy: Path, name: str) -> None:
    batch = make_batch(make_trainable(), f"path:{base_copy}")
    damaged = base_copy / name
    damaged.write_bytes(damaged.read_bytes()[:-40])
    runner.run(batch.pk)
    assert_failed(batch, name)


def test_a_damaged_parent(base: str) -> None:
    project = make_trainable()
    first = runner.run(make_batch(project, base).pk)
    assert first is not None
    assert first.version is not None
    versions.activate(first.version, by=None)
    project.questions.update(trained_in="")
    batch = batches.create(
        project, preset="incremental", by=None, force=True, enqueue=False
    )
    artifacts._verified.clear()
    folder = artifacts.shared_path(first.version.artifact)
    assert folder is not None
    (folder / "head.safetensors").write_bytes(b"no weights")
    runner.run(batch.pk)
    assert_failed(batch, "head.safetensors", "not the file that was registered")


def test_a_full_disk_while_training(base: str, small_disk: Path, settings: Any) -> None:
    settings.HOME = small_disk
    batch = make_batch(make_trainable(), base)
    workspace.folder(batch.pk).mkdir(parents=True)
    (small_disk / "others").write_bytes(b"x" * (MIB - 80_000))
    runner.run(batch.pk)
    assert_failed(batch, "The disk is full")


def test_a_full_disk_while_registering(
    base: str, small_disk: Path, settings: Any
) -> None:
    artifacts_alias = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(small_disk)},
    }
    settings.STORAGES = {**settings.STORAGES, "artifacts": artifacts_alias}
    (small_disk / "others").write_bytes(b"x" * (MIB - 80_000))
    batch = make_batch(make_trainable(), base)
    runner.run(batch.pk)
    assert_failed(batch, "The disk is full")
    assert batch.artifact


def test_no_place_for_the_log(base: str, settings: Any, tmp_path: Path) -> None:
    settings.HOME = tmp_path
    (tmp_path / "batches").write_text("a file where folders should be")
    batch = make_batch(make_trainable(), base)
    jobs.run_batch(batch.pk)
    batch.refresh_from_db()
    assert batch.state == State.FAILED
    assert str(tmp_path / "batches") in batch.error


def test_a_file_that_may_not_grow(base: str) -> None:
    batch = make_batch(make_trainable(), base)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, hard))
    try:
        runner.run(batch.pk)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert_failed(batch, "larger than the system lets")


def test_too_little_memory(tmp_path: Path) -> None:
    base = tiny_base(tmp_path, width=512, layers=4)  # 200 MiB with AdamW's state
    batch = make_batch(make_trainable(), base)
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)

    def limit(progress: object) -> None:
        if resource.getrlimit(resource.RLIMIT_AS)[0] == soft:
            room = psutil.Process().memory_info().vms + 64 * MIB
            resource.setrlimit(resource.RLIMIT_AS, (room, hard))

    try:
        runner.run(batch.pk, on_progress=limit)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert_failed(batch, "Not enough memory")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (OSError(28, "No space left on device"), "The disk is full"),
        (RuntimeError("I/O error: No space left on device (os error 28)"), "disk"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "Not enough mem"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"), "Not enough mem"),
        (MemoryError(), "Not enough memory"),
        (KeyError("x"), "Unexpected error, see the log: KeyError"),
    ],
)
def test_errors_of_libraries_become_sentences(error: Exception, says: str) -> None:
    assert says in failures.explain(error)


def test_the_cause_of_an_error_counts() -> None:
    error = RuntimeError("could not save")
    error.__cause__ = OSError(28, "No space left on device")
    assert failures.explain(error).startswith("The disk is full")
