"""The folders of all processes' logs on this machine, and who has them."""

import contextlib
import fcntl
import logging
import os
import uuid
from collections.abc import Iterator
from pathlib import Path

REJECTED = "rejected"
"""Folder beside those of the processes: what people must look at."""

_logger = logging.getLogger(__name__)


class Folder:
    """A process's folder, locked as long as this object is not released."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def make(cls, root: Path) -> "Folder":
        """A new folder below `root`, locked."""
        if not root.is_dir():
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            sync(root.parent)
        while True:
            path = root / str(uuid.uuid4())
            path.mkdir(mode=0o700)
            # Between these lines somebody may take it for an orphan and remove it.
            if (folder := cls.claim(path)) is not None:
                sync(root)
                return folder

    @classmethod
    def claim(cls, path: Path) -> "Folder | None":
        """Locks a folder; None if it is somebody's, or gone."""
        try:
            fd = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held it before may have removed it meanwhile.
            if os.path.samestat(os.fstat(fd), os.stat(path / "lock")):
                return cls(path, fd)
        except OSError:
            pass
        os.close(fd)
        return None

    def segments(self) -> list[Path]:
        """The files with records, in their order."""
        return sorted(self.path.glob("*.wal"))

    def remove(self) -> None:
        """Removes the folder, which holds no records any more, and lets go of it."""
        for path in self.path.iterdir():
            path.unlink()
        self.path.rmdir()
        self.release()

    def release(self) -> None:
        """Lets go of the folder; another process may have it."""
        os.close(self._lock)


def orphans(root: Path) -> Iterator[Folder]:
    """Folders whose process has ended, locked; the caller removes or releases them."""
    for path in sorted(root.iterdir()) if root.is_dir() else ():
        with contextlib.suppress(ValueError):
            uuid.UUID(path.name)
            if (folder := Folder.claim(path)) is not None:
                yield folder


def size(root: Path, *, apart: Path | None = None) -> int:
    """Bytes of all records below `root`, those of one folder aside."""
    total = 0
    for folder in root.iterdir() if root.is_dir() else ():
        if folder == apart:
            continue
        # Files come and go.
        with contextlib.suppress(OSError):
            total += sum(path.stat().st_size for path in folder.glob("*.wal"))
    return total


def set_aside(path: Path, root: Path, error: Exception) -> None:
    """Keeps a damaged file below `root`, for people, when its folder is removed."""
    rejected = root / REJECTED
    rejected.mkdir(mode=0o700, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.link(path, rejected / f"{path.parent.name}-{path.name}")
        _logger.error("kept in %s: %s", rejected, error)


def sync(path: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
