"""The process in which a worker's job runs torch, and its word with that job."""

import ctypes
import os
import signal
import sys

from django.conf import settings

TRY_AGAIN = 75
"""Exit code for a batch that is not finished and goes on later (EX_TEMPFAIL)."""

_PR_SET_PDEATHSIG = 1


def command(batch_id: int) -> list[str]:
    """The command line that runs a batch as a child of this process."""
    return _command("run_batch", str(batch_id))


def encoder_command() -> list[str]:
    """The command line that builds the encoder as a child of this process."""
    return _command("build_encoder")


def die_with_parent(parent_pid: int) -> None:
    """Asks the kernel to kill this process when its parent dies (Linux).

    Elsewhere the batch's fence is what keeps an orphan from doing harm.

    Args:
        parent_pid: The parent when this process was started; if another one is the
            parent by now, it died before we could ask.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0):
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != parent_pid:
        os._exit(TRY_AGAIN)


def _command(*args: str) -> list[str]:
    manage = str(settings.BASE_DIR / "manage.py")
    return [sys.executable, manage, *args, "--parent", str(os.getpid())]
