"""Where the embedded services keep their files below the data folder."""

import hashlib
import os
import stat
from pathlib import Path
from typing import TypedDict


class RunAs(TypedDict, total=False):
    """Arguments of subprocess that make a program run as another user; none: as us."""

    user: int
    group: int
    extra_groups: list[int]


_LONGEST_SOCKET_PATH = 103
"""Bytes; 107 on Linux, 103 on macOS."""


def run_file(home: Path, name: str) -> Path:
    """A lock, address or process file; the folder is made with the data folder."""
    return home / "run" / name


def log_file(home: Path, service: str) -> Path:
    """The file that a service's keeper and its server write to."""
    return home / "logs" / f"{service}.log"


def socket_folder(home: Path, service: str, preferred: Path, file_name: str) -> Path:
    """The folder for a service's Unix socket: `preferred`, or a short one in /tmp.

    The answer depends on the data folder alone: a server that is started again has
    the address that it had before.
    """
    if len(os.fsencode(preferred / file_name)) <= _LONGEST_SOCKET_PATH:
        return preferred
    digest = hashlib.sha256(f"{os.getuid()}:{home}".encode()).hexdigest()[:16]
    return Path("/tmp") / f"tuneloop-{digest}-{service}"  # noqa: S108


def make_private_folder(folder: Path, *, owner: int) -> None:
    """Makes a folder that only the user id `owner` can enter.

    Raises:
        PermissionError: It exists and is somebody else's: in /tmp anyone may have
            made it first.
    """
    try:
        folder.mkdir(mode=0o700)
        if owner != os.getuid():
            os.chown(folder, owner, -1)
    except FileExistsError:
        found = folder.lstat()
        mine = stat.S_ISDIR(found.st_mode) and found.st_uid == owner
        if not mine or stat.S_IMODE(found.st_mode) & 0o077:
            raise PermissionError(
                f"{folder} belongs to somebody else: remove it, or choose a shorter "
                "TUNELOOP_HOME."
            ) from None
