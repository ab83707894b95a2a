"""The encoder of a process: opened when asked, fetched from afar, never with torch."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError

from labeling.models import Project
from labeling.search import similar
from labeling.search.similar import EncoderMissing
from registry import encoder
from registry.onnx.encoder import MODEL_FILE, POINTER_FILE
from tests.homes import ROOT
from tests.training.ml.makers import make_tiny_base
from training.ml.encoder import build


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one encoder and the pointer to it; copy it, do not write to it."""
    folder = tmp_path_factory.mktemp("made")
    build(f"path:{make_tiny_base(folder)}", folder / "root", folder / "cache")
    return folder / "root"


@pytest.fixture(params=["here", "elsewhere"])
def place(request: Any, settings: Any, tmp_path: Path) -> Iterator[str]:
    """A storage on this machine's disk, or one without paths here, like S3."""
    backend = "django.core.files.storage.FileSystemStorage"
    if request.param == "elsewhere":
        backend = "tests.registry.test_artifacts.Elsewhere"
    alias = {"BACKEND": backend, "OPTIONS": {"location": str(tmp_path / "store")}}
    settings.STORAGES = {**settings.STORAGES, "artifacts": alias}
    settings.CACHE_DIR = tmp_path / "cache"
    _forget()
    yield str(request.param)
    _forget()


def _forget() -> None:
    """As in a new process."""
    encoder._opened, encoder._asked_at = None, float("-inf")


def install(made: Path) -> Path:
    """What the worker's machine does."""
    shutil.copytree(made, encoder.root(), dirs_exist_ok=True)
    found = encoder.folder()
    assert found is not None
    encoder.publish(found)
    return found


def on_another_machine(settings: Any, tmp_path: Path) -> None:
    settings.CACHE_DIR = tmp_path / "cache of another"
    _forget()


def test_before_it_is_built_a_sentence_says_what_to_do(place: str) -> None:
    assert not encoder.available()
    with pytest.raises(EncoderMissing, match="build_encoder"):
        encoder.embed(["clock in"])


def test_every_machine_gives_the_same_vectors(
    place: str, made: Path, settings: Any, tmp_path: Path
) -> None:
    install(made)
    expected = encoder.embed(["clock in", "stock"])
    on_another_machine(settings, tmp_path)
    assert encoder.available()
    assert np.array_equal(similar.encode(["clock in", "stock"]), expected)


@pytest.mark.parametrize("place", ["elsewhere"], indirect=True)
def test_a_storage_without_an_encoder_is_not_asked_each_time(
    place: str, made: Path, settings: Any, tmp_path: Path
) -> None:
    assert not encoder.available()
    install(made)
    settings.CACHE_DIR = tmp_path / "cache of another"
    assert not encoder.available()  # not again within half a minute
    encoder._asked_at = float("-inf")
    assert encoder.available()


def test_damaged_files_are_not_used(place: str, made: Path) -> None:
    found = install(made)
    with (found / MODEL_FILE).open("r+b") as file:
        file.seek(100)
        file.write(b"\0damaged\0")
    with pytest.raises(EncoderMissing, match="--again"):
        encoder.embed(["clock in"])


@pytest.mark.parametrize("place", ["elsewhere"], indirect=True)
def test_a_damaged_upload_does_no_lasting_harm(
    place: str, made: Path, settings: Any, tmp_path: Path
) -> None:
    found = install(made)
    stored = tmp_path / "store" / encoder.FOLDER / found.name / MODEL_FILE
    whole = stored.read_bytes()
    stored.write_bytes(whole[: len(whole) // 2])
    on_another_machine(settings, tmp_path)
    with pytest.raises(EncoderMissing):
        encoder.embed(["clock in"])
    encoder.publish(found)  # what `build_encoder --again` does on the worker's machine
    encoder._asked_at = float("-inf")
    assert encoder.embed(["clock in"]).shape == (1, 32)


def test_a_new_encoder_is_taken_up(place: str, made: Path, tmp_path: Path) -> None:
    install(made)
    before = encoder.embed(["clock in"])
    base = make_tiny_base(tmp_path, seed=1)
    build(f"path:{base}", encoder.root(), tmp_path / "bases")
    assert not np.allclose(encoder.embed(["clock in"]), before)


def test_threads_that_ask_first_open_it_once(
    place: str, made: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(made)
    opened: list[Path] = []
    real = encoder.OnnxEncoder

    def count(folder: Path) -> Any:
        opened.append(folder)
        return real(folder)

    monkeypatch.setattr(encoder, "OnnxEncoder", count)
    threads = [
        threading.Thread(target=encoder.embed, args=(["stock"],)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 1


def test_no_project_can_get_in_its_way() -> None:
    with pytest.raises(ValidationError):
        Project._meta.get_field("slug").run_validators(encoder.FOLDER)


SCRIPT = """
import sys
import tuneloop.wsgi
from labeling.search import similar
from registry import encoder

assert encoder._opened is None, "opened before anybody asked"
assert similar.encode(["clock in"]).shape == (1, 32)
assert encoder._opened is not None
print(sorted({"torch", "transformers", "peft", "accelerate"} & set(sys.modules)))
"""


def test_a_web_process_encodes_without_torch(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "artifacts" / encoder.FOLDER)
    assert (tmp_path / "artifacts" / encoder.FOLDER / POINTER_FILE).is_file()
    roots = os.pathsep.join([str(ROOT), str(ROOT / "platform")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        env={**os.environ, "TUNELOOP_HOME": str(tmp_path), "PYTHONPATH": roots},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
