"""What tests of labelling share: processes beside the test's own."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.processes import Process, Start


@pytest.fixture
def start(process_env: dict[str, str]) -> Iterator[Start]:
    """Starts Python processes: `start(source, *arguments)`; kills what is left.

    The source prints `ready` and reads a line where it is to wait for `go`.
    """
    started: list[Process] = []

    def start(source: str, *arguments: object) -> Process:
        process = subprocess.Popen(
            [sys.executable, "-c", source, *map(str, arguments)],
            env=process_env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()
