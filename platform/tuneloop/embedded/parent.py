"""Ties a process to its parent, so that killing the parent leaves no orphan.

`python -m tuneloop.embedded.parent PROGRAM ARG...` runs any program that way.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def die_with_parent(
    sig: signal.Signals = signal.SIGKILL, *, parent_pid: int | None = None
) -> None:
    """Asks the kernel to send `sig` to this process when its parent ends.

    Survives exec, is not inherited by children, and does nothing outside Linux.

    Args:
        sig: The signal to get.
        parent_pid: The parent as its child was told; when it has already gone, this
            process ends at once instead of living on unnoticed.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(sig))
    if parent_pid is not None and os.getppid() != parent_pid:
        os.kill(os.getpid(), sig)


if __name__ == "__main__":
    die_with_parent(signal.SIGTERM)
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606
