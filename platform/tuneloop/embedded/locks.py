"""File locks that the kernel drops when their holder ends, however it ends."""

import fcntl
import os
import time
from pathlib import Path

_POLL_S = 0.02


def try_lock(path: Path, *, shared: bool = False) -> int | None:
    """Locks a file without waiting.

    The lock belongs to the open file: a child process that inherits the descriptor
    holds it too, and it is free when the last copy is closed.

    Returns:
        The open descriptor, or None where somebody else's lock is in the way.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except BaseException:
        os.close(fd)
        raise
    return fd


def wait_lock(path: Path, *, shared: bool = False, timeout_s: float) -> int | None:
    """Locks a file, waiting for at most `timeout_s` seconds.

    Returns:
        The open descriptor, or None where the time ran out.
    """
    deadline = time.monotonic() + timeout_s
    while (fd := try_lock(path, shared=shared)) is None:
        if time.monotonic() >= deadline:
            return None
        time.sleep(_POLL_S)
    return fd


def is_locked(path: Path) -> bool:
    """Whether somebody holds an exclusive lock on the file."""
    fd = try_lock(path, shared=True)
    if fd is None:
        return True
    os.close(fd)
    return False
