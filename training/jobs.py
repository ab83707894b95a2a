"""RQ's entry points. They take ids, start what does the work, and decide nothing."""

import subprocess

from django.utils.translation import gettext as _

from labeling.models import Question
from registry.models import Version
from training import batches, child, ownership, workspace
from training.models import TrainingBatch


def run_batch(batch_id: int) -> None:
    """Runs a batch in a process of its own and waits for it.

    A process of its own, because torch must not run in one that was forked, and because
    its memory is given back at the end. It dies with this one, so that no orphan trains
    on.
    """
    fence = TrainingBatch.objects.values_list("fence", flat=True).get(pk=batch_id)
    folder = workspace.folder(batch_id)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / workspace.LOG_FILE).open("ab") as log:
        process = subprocess.Popen(
            child.command(batch_id), stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            code = process.wait()
        finally:
            process.kill()  # RQ's time limit ends the wait with an exception
            process.wait()
    if code not in (0, child.TRY_AGAIN):
        ownership.abandon(batch_id, fence=fence, error=_why(batch_id, code))
    if not TrainingBatch.objects.filter(pk=batch_id, finished_at=None).exists():
        workspace.remove(batch_id)  # cancelled before it began, or killed


def evaluate(version_id: int) -> None:
    """Measures a version on the test questions and renews its verdict."""
    from training import gate

    gate.judge(Version.objects.select_related("project").get(pk=version_id))


def sweep() -> None:
    """Puts back on the queue what crashed workers left; the scheduler calls it."""
    batches.sweep()


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


def _why(batch_id: int, code: int) -> str:
    if code == -9:
        error = _("The training process was killed, most likely for lack of memory.")
    else:
        error = _("The training process ended without a result (%d).") % code
    return f"{error}\n{workspace.last_lines(batch_id)}".strip()
