"""Real processes that a test lets go at once, and what they printed."""

import subprocess
from collections.abc import Callable, Sequence

Process = subprocess.Popen[str]
Start = Callable[..., Process]


def go(processes: Sequence[Process]) -> None:
    """Lets processes go at the same moment, once each of them waits.

    A process waits where it prints `ready` and reads a line.
    """
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


def outputs(processes: Sequence[Process]) -> list[list[str]]:
    """The lines that each printed until it ended well."""
    printed = []
    for process in processes:
        output, _error = process.communicate(timeout=240)
        assert process.returncode == 0
        printed.append(output.splitlines())
    return printed
