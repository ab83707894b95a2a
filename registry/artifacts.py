"""The files of a version: written once, and never served without their SHA-256."""

import hashlib
import os
import re
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from django.conf import settings
from django.core.files import File
from django.core.files.storage import Storage, storages
from django.utils.translation import gettext as _

from labeling.models import Project
from registry.models import Version

Manifest = dict[str, dict[str, str | int]]
"""{file name: {"sha256": hex, "bytes": size}} of every file."""


class Stored(NamedTuple):
    """A folder in the storage."""

    name: str
    manifest: Manifest


SUFFIXES = frozenset({".onnx", ".json", ".safetensors", ".md", ".txt"})
"""What a version may hold. Nothing that runs code when it is opened (no pickles)."""

FLOAT32_MODEL = "model.onnx"
INT8_MODEL = "model.int8.onnx"
"""There only where its answers agree with the float32 model's; then it is served."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,119}")
_FOLDER = re.compile(r"[A-Za-z0-9_\-]{1,60}/[0-9]{1,10}-[0-9a-f]{8}")
_CHUNK = 1024 * 1024

_verified: set[tuple[str, str]] = set()
"""(folder, file) whose SHA-256 this process has checked; files never change."""
_verifying = threading.Lock()


class ArtifactError(Exception):
    """A version's files cannot be written or used; the message is a sentence."""


class ForbiddenFile(ArtifactError):
    """A file that no version may hold."""


class MissingArtifact(ArtifactError):
    """A file is not in the storage, or the version never had it."""


class CorruptArtifact(ArtifactError):
    """A file is not what was registered."""


def new_name(project: Project, number: int) -> str:
    """A name that no other folder in the storage has; `number` only tells a reader."""
    return f"{project.slug}/{number}-{secrets.token_hex(4)}"


def write(folder: Path, name: str) -> Stored:
    """Copies a folder's files into the storage, where nobody changes them again.

    On the storage's own disk files are hard-linked, which costs nothing at any size;
    whoever made the folder may delete it, but must not write into its files.

    Args:
        folder: A flat folder of files with the suffixes in `SUFFIXES`.
        name: From `new_name`. Whoever may be killed meanwhile notes it before, for
            `discard`.

    Raises:
        ForbiddenFile: A sub-folder, a link or a file of another kind.
        ArtifactError: There are no files.
    """
    files = _files_of(folder)
    manifest: Manifest = {
        path.name: {"sha256": _sha256(path), "bytes": path.stat().st_size}
        for path in files
    }
    storage = _storage()
    local = _local_path(storage, name)
    if local is not None:
        _link(files, local)
    else:
        _upload(files, storage, name)
    return Stored(name, manifest)


def open_verified(version: Version, *, only: Iterable[str] | None = None) -> Path:
    """A local folder that holds the version's files, each with its SHA-256 checked.

    That is the storage's own folder where it is local, else a copy in the cache. Each
    file is checked once a process: 0.1 to 0.5 s for 100 MB.

    Args:
        version: Its artifact.
        only: The files that are needed; all of them when None.

    Raises:
        MissingArtifact: A file is not there.
        CorruptArtifact: A file is not what was registered.
    """
    if not _FOLDER.fullmatch(version.artifact):
        raise CorruptArtifact(
            _("“%(name)s” names no artifact.") % {"name": version.artifact}
        )
    names = sorted(version.manifest if only is None else only)
    storage = _storage()
    local = _local_path(storage, version.artifact)
    folder = local or Path(settings.CACHE_DIR) / "artifacts" / version.artifact
    # One at a time: of two that need the same file, the second finds it checked.
    with _verifying:
        for name in names:
            expected = _expected(version, name)
            if (version.artifact, name) in _verified and (folder / name).is_file():
                continue
            if local is None and not (folder / name).is_file():
                _download(storage, f"{version.artifact}/{name}", folder / name)
            if not (folder / name).is_file():
                raise _missing(version, name)
            if _sha256(folder / name) != expected:
                if local is None:
                    (folder / name).unlink()
                raise CorruptArtifact(
                    _("%(file)s of %(version)s is not the file that was registered.")
                    % {"file": name, "version": version}
                )
            _verified.add((version.artifact, name))
    return folder


def served_files(version: Version) -> tuple[str, ...]:
    """What a serving process opens: first the model file, then what it needs."""
    model = INT8_MODEL if INT8_MODEL in version.manifest else FLOAT32_MODEL
    return model, "tokenizer.json", "labels.json"


def remove(version: Version) -> None:
    """Deletes a version's files from the storage; what is gone already is no error."""
    discard(version.artifact)


def discard(name: str) -> None:
    """Deletes a folder that no version uses, whole or half written."""
    if not _FOLDER.fullmatch(name):
        return
    storage = _storage()
    local = _local_path(storage, name)
    if local is not None:
        for path in (local, _aside(local)):
            shutil.rmtree(path, ignore_errors=True)
        return
    try:
        files = storage.listdir(name)[1]
    except FileNotFoundError:
        return
    for file in files:
        storage.delete(f"{name}/{file}")


def shared_path(name: str) -> Path | None:
    """Where a name of the storage lies on this machine; None when it is elsewhere."""
    return _local_path(_storage(), name)


def share(path: Path, name: str) -> None:
    """Copies a file into a storage that is elsewhere, over one of that name.

    Raises:
        ArtifactError: The storage gives it another name.
    """
    storage = _storage()
    storage.delete(name)
    _upload([path], storage, name.rpartition("/")[0])


def fetch(name: str, target: Path) -> bool:
    """Copies a file from the storage here, whole or not at all.

    Returns:
        Whether the storage has it.
    """
    storage = _storage()
    found = storage.exists(name)
    if found:
        _download(storage, name, target)
    return found


def _storage() -> Storage:
    return storages["artifacts"]


def _local_path(storage: Storage, name: str) -> Path | None:
    """Where a name lies on this machine; None when the storage is elsewhere."""
    try:
        return Path(storage.path(name))
    except NotImplementedError:
        return None


def _files_of(folder: Path) -> list[Path]:
    paths = sorted(folder.iterdir())
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise ForbiddenFile(
                _("“%(name)s” is not a plain file.") % {"name": path.name}
            )
        if path.suffix not in SUFFIXES or not _NAME.fullmatch(path.name):
            raise ForbiddenFile(
                _("A version may not hold “%(name)s”.") % {"name": path.name}
            )
    if not paths:
        raise ArtifactError(_("“%(folder)s” holds no files.") % {"folder": folder})
    return paths


def _expected(version: Version, name: str) -> str:
    """The SHA-256 that a file must have. Also what keeps names inside the folder."""
    entry = version.manifest.get(name)
    if entry is None or not _NAME.fullmatch(name):
        raise _missing(version, name)
    return str(entry["sha256"])


def _missing(version: Version, name: str) -> MissingArtifact:
    return MissingArtifact(
        _("%(version)s has no file %(file)s.") % {"version": version, "file": name}
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _link(files: list[Path], target: Path) -> None:
    """Puts the files into a folder that appears under its name when it is complete."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = _aside(target)
    aside.mkdir(mode=0o755)
    try:
        for path in files:
            try:
                os.link(path, aside / path.name)
            except OSError:  # another disk, or one that knows no links
                shutil.copyfile(path, aside / path.name)
        aside.rename(target)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise


def _aside(target: Path) -> Path:
    """Where a folder is written before it is complete."""
    return target.with_name(f".writing-{target.name}")


def _upload(files: list[Path], storage: Storage, name: str) -> None:
    written: list[str] = []
    try:
        for path in files:
            wanted = f"{name}/{path.name}"
            with path.open("rb") as stream:
                written.append(storage.save(wanted, File(stream)))
            if written[-1] != wanted:
                raise ArtifactError(
                    _("The storage calls %(file)s “%(name)s”.")
                    % {"file": wanted, "name": written[-1]}
                )
    except BaseException:
        for done in written:
            storage.delete(done)
        raise


def _download(storage: Storage, name: str, target: Path) -> None:
    """Copies one file here, under its name only when it is complete."""
    if not storage.exists(name):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, aside = tempfile.mkstemp(prefix=".reading-", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as out, storage.open(name, "rb") as stream:
            shutil.copyfileobj(stream, out, _CHUNK)
        os.replace(aside, target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
