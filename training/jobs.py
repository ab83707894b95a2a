"""RQ's entry points. They take ids, start what does the work, and decide nothing."""

import signal
import subprocess
import time
from math import inf
from pathlib import Path

from django.db import DatabaseError, InterfaceError, connection
from django.utils.translation import gettext as _

from labeling.models import Question
from registry.models import Version
from training.batches import failures, ownership, sweeping, workspace
from training.models import TrainingBatch
from training.processes import child

OBEY_S = 2.0
"""Seconds that a run has to notice a cancel by itself before it is killed."""


def run_batch(batch_id: int) -> None:
    """Runs a batch in a process of its own, if it is its turn, and waits for it."""
    fence, project_id = TrainingBatch.objects.values_list("fence", "project_id").get(
        pk=batch_id
    )
    if ownership.claimable(batch_id).exists():
        _run_in_a_process(batch_id, fence)
    sweeping.start_next(project_id)


def _run_in_a_process(batch_id: int, fence: int) -> None:
    """Runs a batch as a child of this process, and says what its end means.

    A process of its own, because torch must not run in one that was forked, and because
    its memory is given back at the end. It dies with this one, so that no orphan trains
    on.
    """
    killed_for_memory = _killed_for_memory()
    try:
        code = _wait_for(batch_id, child.command(batch_id))
    except OSError as error:  # no room for the log, no memory for a process
        _fail(batch_id, fence, failures.explain(error))
        return
    is_for_memory = _killed_for_memory() != killed_for_memory
    if code == child.TRY_AGAIN or (code == -signal.SIGKILL and not is_for_memory):
        sweeping.after_a_kill(batch_id, fence=fence)
    elif code:
        _fail(batch_id, fence, _why(batch_id, code, is_for_memory=is_for_memory))
    if not TrainingBatch.objects.filter(pk=batch_id, finished_at=None).exists():
        workspace.remove(batch_id)  # cancelled before it began, or killed


def _wait_for(batch_id: int, command: list[str]) -> int:
    """The exit code of a batch's process, which dies with this one.

    A cancelled run stops by itself at its next step. One that has not for `OBEY_S` is
    killed from here: in the middle of an import or of a long call into a library not
    even a thread of its own would get its turn.

    Raises:
        OSError: It could not be started.
    """
    folder = workspace.folder(batch_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / workspace.LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        obey_by = inf
        try:
            while (code := _exit_code(process)) is None:
                if time.monotonic() > obey_by:
                    process.kill()
                elif obey_by == inf and _is_to_be_cancelled(batch_id):
                    obey_by = time.monotonic() + OBEY_S
            return code
        finally:
            process.kill()  # RQ's time limit ends the wait with an exception
            process.wait()


def _exit_code(process: "subprocess.Popen[bytes]") -> int | None:
    """The exit code; None after a second in which the process has not ended."""
    try:
        return process.wait(timeout=1)
    except subprocess.TimeoutExpired:
        return None


def _is_to_be_cancelled(batch_id: int) -> bool:
    """Whether a cancel was asked for; not known while the database is away."""
    try:
        return TrainingBatch.objects.filter(pk=batch_id, cancel_requested=True).exists()
    except (DatabaseError, InterfaceError):
        connection.close()
        return False


def evaluate(version_id: int) -> None:
    """Measures a version on the test questions and renews its verdict."""
    from training import gate

    gate.judge(Version.objects.select_related("project").get(pk=version_id))


def evaluate_run(run_id: int) -> None:
    """Runs an evaluation that somebody asked for."""
    from training import evaluation

    evaluation.execute(run_id)


def sweep() -> None:
    """Puts back on the queue what crashed workers left; the scheduler calls it."""
    from training import evaluation

    sweeping.sweep()
    evaluation.sweep()


def build_encoder() -> None:
    """Has the encoder of neighbours built, once there are questions to embed.

    The scheduler calls it. In a process of its own, as a batch is: it needs torch.
    """
    from registry import encoder

    if Question.objects.exists() and not encoder.available():
        process = subprocess.Popen(child.encoder_command(), stdin=subprocess.DEVNULL)
        try:
            code = process.wait()
        finally:
            process.kill()
            process.wait()
        if code:
            raise RuntimeError(_("The encoder could not be built; see the log."))


def _fail(batch_id: int, fence: int, error: str) -> None:
    rows = ownership.abandoned(batch_id, fence=fence)
    ownership.end(rows, TrainingBatch.State.FAILED, error=error)


def _why(batch_id: int, code: int, *, is_for_memory: bool) -> str:
    if is_for_memory:
        error = _(
            "The machine ran out of memory and ended the training process: use a"
            " smaller batch size, a shorter maximum length or a smaller base model."
        )
    elif code < 0:
        error = _("The training process crashed (signal %d).") % -code
    else:
        error = _("The training process ended without a result (%d).") % code
    return f"{error}\n{workspace.last_lines(batch_id)}".strip()


def _killed_for_memory() -> int | None:
    """How many processes the kernel has killed for lack of memory; None if unknown."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
    except OSError:
        return None
    counts = dict(line.split() for line in lines)
    return int(counts["oom_kill"]) if "oom_kill" in counts else None
