"""What an unfinished batch keeps: a folder, and files on their way to a version.

The folder holds checkpoints, results and the process's log. It lies below the data
folder, so a batch resumes from its checkpoint on any machine that shares that folder,
and starts anew elsewhere.
"""

import shutil
from pathlib import Path

from django.conf import settings

from registry import artifacts
from registry.models import Version
from training.models import TrainingBatch

LOG_FILE = "process.log"


def folder(batch_id: int) -> Path:
    """Where a batch keeps its files; need not exist."""
    return Path(settings.HOME) / "batches" / str(batch_id)


def remove(batch_id: int) -> None:
    """Deletes all that a finished batch left; does nothing if there is nothing."""
    shutil.rmtree(folder(batch_id), ignore_errors=True)
    discard_artifact(batch_id)


def discard_artifact(batch_id: int) -> None:
    """Deletes what a batch wrote for a version that it did not come to. Two queries."""
    rows = TrainingBatch.objects.filter(pk=batch_id).values_list("artifact", flat=True)
    name = rows.first()
    if name and not Version.objects.filter(artifact=name).exists():
        artifacts.discard(name)


def last_lines(batch_id: int, count: int = 5) -> str:
    """The end of what the batch's process wrote; empty if it wrote nothing."""
    path = folder(batch_id) / LOG_FILE
    if not path.is_file():
        return ""
    # A process that prints a progress bar writes much; its end is what matters.
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 8192))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return "\n".join([line for line in lines if line.strip()][-count:])
