"""Artifacts: what is served is what was registered, and nothing else gets in."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.storage import FileSystemStorage

from registry import artifacts, versions
from registry.models import Version
from tests.makers import make_project
from tests.registry.makers import make_version

pytestmark = pytest.mark.django_db


class Elsewhere(FileSystemStorage):
    """A storage that, like S3, has no paths on this machine."""

    def path(self, name: str) -> str:
        raise NotImplementedError

    def _local(self, name: str) -> str:
        return super().path(name)

    def _open(self, name: str, mode: str = "rb") -> Any:
        from django.core.files import File

        return File(open(self._local(name), mode))

    def _save(self, name: str, content: Any) -> str:
        target = Path(self._local(name))
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"".join(content.chunks()))
        return name

    def exists(self, name: str) -> bool:
        return os.path.exists(self._local(name))

    def delete(self, name: str) -> None:
        Path(self._local(name)).unlink(missing_ok=True)

    def listdir(self, path: str) -> tuple[list[str], list[str]]:
        return [], os.listdir(self._local(path))


@pytest.fixture(params=["here", "elsewhere"])
def storage(request: Any, settings: Any, tmp_path: Path) -> Iterator[str]:
    backend = "django.core.files.storage.FileSystemStorage"
    if request.param == "elsewhere":
        backend = f"{__name__}.Elsewhere"
    alias = {"BACKEND": backend, "OPTIONS": {"location": str(tmp_path / "store")}}
    settings.STORAGES = {**settings.STORAGES, "artifacts": alias}
    settings.CACHE_DIR = tmp_path / "cache"
    return str(request.param)


def stored(tmp_path: Path, version: Version, name: str) -> Path:
    return tmp_path / "store" / version.artifact / name


def fill(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for stem, text in files.items():
        (folder / f"{stem}.json").write_text(text)
    return folder


def test_files_come_back_as_they_were_written(storage: str, tmp_path: Path) -> None:
    version = make_version(make_project())
    folder = artifacts.open_verified(version)
    assert {p.name for p in folder.iterdir()} == set(version.manifest)
    for name, entry in version.manifest.items():
        assert (folder / name).stat().st_size == entry["bytes"]
    assert (folder.parent.parent.name == "store") is (storage == "here")


def test_a_changed_file_is_never_opened(storage: str, tmp_path: Path) -> None:
    version = make_version(make_project())
    stored(tmp_path, version, "model.onnx").write_bytes(b"other weights")
    with pytest.raises(artifacts.CorruptArtifact, match=r"model\.onnx"):
        artifacts.open_verified(version)
    # What is not asked for is not read.
    artifacts.open_verified(version, only=["labels.json"])


def test_a_file_that_is_gone_is_missing(storage: str, tmp_path: Path) -> None:
    version = make_version(make_project())
    stored(tmp_path, version, "tokenizer.json").unlink()
    with pytest.raises(artifacts.MissingArtifact, match=r"tokenizer\.json"):
        artifacts.open_verified(version)
    with pytest.raises(artifacts.MissingArtifact, match=r"other\.json"):
        artifacts.open_verified(version, only=["other.json"])


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("name", ["../secret_key", "/etc/passwd", "a/b.json", ".."])
def test_no_name_leaves_the_folder(name: str) -> None:
    version = make_version(make_project())
    version.manifest[name] = {"sha256": "0" * 64, "bytes": 1}
    with pytest.raises(artifacts.MissingArtifact):
        artifacts.open_verified(version)
    version.artifact = f"{version.artifact}/../../.."
    with pytest.raises(artifacts.CorruptArtifact):
        artifacts.open_verified(version, only=["labels.json"])


@pytest.mark.usefixtures("storage")
def test_only_plain_files_of_known_kinds_are_taken(tmp_path: Path) -> None:
    project = make_project()
    pickle = fill(tmp_path / "pickle", labels="[]")
    (pickle / "model.bin").write_bytes(b"\x80")
    nested = fill(tmp_path / "nested", labels="[]")
    (nested / "more").mkdir()
    linked = fill(tmp_path / "linked", labels="[]")
    (linked / "key.json").symlink_to("/etc/hostname")
    for folder in (pickle, nested, linked):
        with pytest.raises(artifacts.ForbiddenFile):
            artifacts.write(folder, artifacts.new_name(project, 1))
    with pytest.raises(artifacts.ArtifactError):
        artifacts.write(fill(tmp_path / "empty"), artifacts.new_name(project, 1))
    assert not (tmp_path / "store").exists()


def test_local_files_are_linked_not_copied(tmp_path: Path, settings: Any) -> None:
    here = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path / "store")},
    }
    settings.STORAGES = {**settings.STORAGES, "artifacts": here}
    source = fill(tmp_path / "export", labels="[]")
    name, _manifest = artifacts.write(source, artifacts.new_name(make_project(), 1))
    written = tmp_path / "store" / name / "labels.json"
    assert written.samefile(source / "labels.json")


def test_what_is_stored_is_deleted_by_its_name_alone(
    storage: str, tmp_path: Path
) -> None:
    project = make_project()
    source = fill(tmp_path / "export", labels="[]")
    kept, gone = (
        artifacts.write(source, artifacts.new_name(project, 1)) for _i in range(2)
    )
    half = (tmp_path / "store" / kept.name).with_name(".writing-1-00000000")
    half.mkdir()
    artifacts.discard(gone.name)
    artifacts.discard("../elsewhere")
    artifacts.discard(f"{project.slug}/9-00000000")  # was never there
    if storage == "here":
        artifacts.discard(f"{project.slug}/1-00000000")  # half written
        assert not half.exists()
    left = [p for p in (tmp_path / "store").rglob("*") if p.is_file()]
    assert [p.parent.name for p in left] == [kept.name.rpartition("/")[2]]


def test_a_failed_registration_leaves_no_files(storage: str, tmp_path: Path) -> None:
    project = make_project()
    source = fill(tmp_path / "export", labels="[]")
    with pytest.raises(Exception, match="version_temperature_positive"):
        versions.register(
            project,
            folder=source,
            label_set=[],
            parent=None,
            provenance={},
            temperature=-1.0,
        )
    assert not [p for p in (tmp_path / "store").rglob("*") if p.is_file()]


@pytest.mark.usefixtures("storage")
def test_remove_takes_the_files_away(tmp_path: Path) -> None:
    version = make_version(make_project())
    artifacts.remove(version)
    assert not stored(tmp_path, version, "model.onnx").exists()
    artifacts.remove(version)
