"""Processes that do not outlive the one that started them (Linux).

    python -m training.processes.orphans PARENT_PID COMMAND …

becomes COMMAND, and is killed as soon as PARENT_PID has ended: for programs that cannot
ask for it themselves.
"""

import ctypes
import os
import signal
import sys

TRY_AGAIN = 75
"""Exit code for a batch that is not finished and goes on later (EX_TEMPFAIL)."""

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent_pid: int) -> None:
    """Asks the kernel to kill this process when its parent dies (Linux).

    It holds for the program that this process becomes by `exec`, too. Elsewhere the
    batch's fence is what keeps an orphan from doing harm.

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


if __name__ == "__main__":
    die_with_parent(int(sys.argv[1]))
    os.execvp(sys.argv[2], sys.argv[2:])  # noqa: S606 (our own command line)
