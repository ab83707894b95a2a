"""Several processes that train one batch, started and watched by the one that owns it.

The owner keeps the claim, writes to the database, hears a cancel, exports and measures;
the trainers (`training.ml.rank`) know files only. So whatever becomes of a trainer, the
owner is there to say it, and whatever becomes of the owner, the kernel ends launcher
and trainers.

On one machine `TUNELOOP_TRAIN_PROCESSES`, or the batch's form, says how many: one for
each GPU. With several machines:

1. All of them share `TUNELOOP_HOME` (trainers read the base model, the rows and the
   checkpoints there) and the versions of Python's packages.
2. `accelerate config` on each: the same number of machines and processes in all, the
   address of the first and a free port of it, and a machine rank of its own, 0 for the
   worker's.
3. The worker gets that file by `TUNELOOP_ACCELERATE_CONFIG`. A batch of more than one
   process then waits for the other machines.
4. On each other machine, with the batch's number:

       accelerate launch --config_file its.yaml \
           --module training.ml.rank $TUNELOOP_HOME/batches/NUMBER/together

   It ends with the training. A trainer that ends early, anywhere, ends all of them.
"""

import json
import queue
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from django.conf import settings

from training.ml.interface import FitResult, Progress
from training.processes import child

_TICK_S = 1.0
"""Seconds without a word from the trainers after which the owner hears a cancel."""


def fit(
    *, processes: int, folder: Path, report: Callable[[Progress], None], **rest: Any
) -> FitResult:
    """Trains in several processes.

    Args:
        processes: How many.
        folder: For what they tell each other; made anew, stays behind.
        report: Told the progress, also while there is none; whatever it raises ends all
            processes.
        rest: The other arguments of `training.ml.loop.fit`.

    Raises:
        What `training.ml.rank.read_result` raises.
    """
    from training.ml import rank

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    rank.write_arguments(folder, rest)
    launcher = subprocess.Popen(
        child.ranks_command(str(folder), processes=processes),
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )
    assert launcher.stdout is not None
    lines = _Lines(launcher.stdout)
    try:
        for progress in lines:
            report(progress)
    finally:
        _end(launcher)
        lines.drain()
    return rank.read_result(folder)


class _Lines:
    """What the main trainer prints; ends when all of them have ended."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(maxsize=1000)
        self._thread = threading.Thread(target=self._read, args=(stream,), daemon=True)
        self._thread.start()

    def _read(self, stream: IO[bytes]) -> None:
        for line in stream:
            self._queue.put(line)
        self._queue.put(None)

    def __iter__(self) -> Iterator[Progress]:
        """Yields each progress, and the last one again after a silence."""
        last = Progress(0, 0, 0, 0.0, None, "prepare", None)
        while True:
            try:
                line = self._queue.get(timeout=_TICK_S)
            except queue.Empty:
                yield last
                continue
            if line is None:
                self._queue.put(None)
                return
            try:
                last = Progress(**json.loads(line))
            except (ValueError, TypeError):
                sys.stderr.buffer.write(line)  # a library's: into the process's log
                continue
            yield last

    def drain(self) -> None:
        """Waits until all trainers have ended."""
        while self._queue.get() is not None:
            pass
        self._thread.join()


def _end(launcher: "subprocess.Popen[bytes]") -> None:
    if launcher.poll() is None and sys.platform != "linux":
        launcher.terminate()  # it ends the trainers; Linux does, whoever ends it
        with suppress(subprocess.TimeoutExpired):
            launcher.wait(timeout=5)
    launcher.kill()
    launcher.wait()
