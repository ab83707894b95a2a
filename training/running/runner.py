"""Runs one batch: claims it, works through its stages, registers, ends it."""

import logging
import traceback
from collections.abc import Callable
from pathlib import Path

from django.db import InterfaceError, OperationalError, connection, transaction
from django.db.models.functions import Now
from django.utils.translation import gettext as _
from redis.exceptions import RedisError

from labeling import datasets
from registry import artifacts, versions
from training import gate
from training.batches import failures, ownership, sweeping, workspace
from training.ml.interface import Progress
from training.models import TrainingBatch
from training.running import accounting, stages
from training.running.heartbeat import Cancelled, Heartbeat, Lost

_NO_DATABASE = (OperationalError, InterfaceError)

_logger = logging.getLogger(__name__)


class Interrupted(BaseException):
    """The process was told to stop: the batch goes back on the queue."""


def run(
    batch_id: int,
    *,
    in_turn: bool = True,
    on_lost: Callable[[], None] | None = None,
    on_progress: Callable[[Progress], None] | None = None,
) -> TrainingBatch | None:
    """Claims a batch and runs it to its end, whatever that is.

    A run that was begun earlier, here or elsewhere, goes on from its last checkpoint.
    Nothing is registered before everything is measured; then the version, its
    evaluation, its verdict and the batch's end are one transaction under the fence.

    Args:
        batch_id: The batch.
        in_turn: Not before an older batch of the project that waits.
        on_lost: See `Heartbeat`.
        on_progress: Told each step, for a progress bar.

    Returns:
        The batch as it ended; None if the claim was somebody else's.

    Raises:
        Interrupted, KeyboardInterrupt: After the batch's row says what became of it.
        OperationalError, InterfaceError: The database went away; the batch is taken up
            again by whoever finds it without a sign of life.
    """
    fence = ownership.claim(batch_id, in_turn=in_turn)
    if fence is None:
        return None
    batch = TrainingBatch.objects.select_related("project", "dataset", "parent").get(
        pk=batch_id
    )
    meter = accounting.Meter(batch, fence)
    beat = Heartbeat(
        batch_id,
        fence,
        changes=meter.beat,
        on_lost=on_lost,
    )
    try:
        with meter:
            with beat:
                result = stages.Run(batch, beat, on_progress).work()
                stored = _store(batch, beat, result.folder)
            _finish(batch, fence, result, stored)
        workspace.remove(batch_id)
    except Lost:
        _logger.warning("batch %s: somebody else has taken it over", batch_id)
        return None
    except (Cancelled, KeyboardInterrupt) as stop:
        _forget_statement()
        if ownership.end_cancelled(batch_id, fence):
            ownership.note(batch_id, _("Cancelled."))
            workspace.remove(batch_id)
        if isinstance(stop, KeyboardInterrupt):
            raise
    except Interrupted:
        _forget_statement()
        if ownership.hand_back(batch_id, fence):
            ownership.note(batch_id, _("Stopped: goes on from its last checkpoint."))
        raise
    except _NO_DATABASE:
        raise  # nothing can be written: whoever finds the batch stale goes on
    except Exception as error:
        _fail(batch_id, fence, error)
    _start_next(batch.project_id)
    batch.refresh_from_db()
    return batch


def _forget_statement() -> None:
    """A signal may have come in the middle of a statement: the next one reconnects."""
    if not connection.in_atomic_block:
        connection.close()


def _store(batch: TrainingBatch, beat: Heartbeat, folder: Path) -> artifacts.Stored:
    """Puts the version's files into the storage, while the batch can be cancelled.

    The row names them first, so that whoever finds this run dead can delete them.

    Raises:
        Lost, Cancelled
    """
    workspace.discard_artifact(batch.pk)  # of an attempt that died here
    name = versions.new_artifact(batch.project)
    beat.write(phase="register", artifact=name)
    stored = artifacts.write(folder, name)
    try:
        beat.check()
    except Lost:
        artifacts.discard(name)  # the row may name another's by now
        raise
    return stored


def _finish(
    batch: TrainingBatch, fence: int, result: stages.Result, stored: artifacts.Stored
) -> None:
    """Registers the version and ends the batch: all of it, or nothing.

    The batch's row is locked from the first statement on, so that nobody can take the
    batch over, or cancel it, before the commit.

    Raises:
        Lost, Cancelled
    """
    try:
        with transaction.atomic():
            mine = ownership.held(batch.pk, fence)
            if not mine.filter(cancel_requested=False).update(heartbeat_at=Now()):
                raise Cancelled if mine.exists() else Lost
            version = versions.register(
                batch.project,
                folder=stored,
                label_set=result.label_set,
                parent=batch.parent,
                provenance=result.provenance,
                **result.calibration.as_json(),
            )
            gate.keep(version, result.appraisal, result.reasons)
            datasets.mark_trained(batch.dataset, str(version.number))
            mine.update(
                state=TrainingBatch.State.SUCCEEDED,
                version=version,
                metrics=result.metrics,
                finished_at=Now(),
                eta_s=None,
                phase="",
            )
    except Lost:
        artifacts.discard(stored.name)
        raise
    ownership.note(
        batch.pk, _("Registered as version %(number)d.") % {"number": version.number}
    )


def _fail(batch_id: int, fence: int, error: Exception) -> None:
    if not isinstance(error, failures.EXPECTED):
        _logger.error("batch %s failed", batch_id, exc_info=error)
        ownership.note(batch_id, "".join(traceback.format_exception(error)[-6:]))
    if ownership.fail(batch_id, fence, error=failures.explain(error)):
        # The next try starts anew: what led here lies in the checkpoints.
        workspace.remove(batch_id)


def _start_next(project_id: int) -> None:
    try:
        sweeping.start_next(project_id)
    except RedisError:
        _logger.exception("the next batch of project %s waits", project_id)
