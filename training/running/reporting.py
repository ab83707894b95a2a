"""What a batch's row learns of its run: phase, step, time left, points of curves."""

import time
from collections.abc import Callable, Mapping
from typing import Any

from training.batches import ownership
from training.ml.interface import Progress
from training.models import TrainingBatch
from training.running.heartbeat import REPORT_S, Heartbeat

VALIDATE, TRAIN, EXPORT = "validate", "train", "export"

AFTER_TRAINING_S = {"export": 10.0, "calibrate": 2.0, "evaluate": 10.0}
"""Seconds of what comes after training, until a batch was measured here; in order."""


def usual_seconds(base: str) -> dict[str, float]:
    """Seconds that each part after training took the last time. One query."""
    last = (
        TrainingBatch.objects.filter(state=TrainingBatch.State.SUCCEEDED, base=base)
        .order_by("-id")
        .values_list("metrics__seconds", flat=True)
        .first()
    )
    took = last if isinstance(last, dict) else {}
    return {part: took.get(part, s) for part, s in AFTER_TRAINING_S.items()}


class Reporter:
    """Told of every step; obeys a stop at once, writes about once a second."""

    def __init__(
        self,
        beat: Heartbeat,
        on_progress: Callable[[Progress], None] | None = None,
        *,
        after: Mapping[str, float] | None = None,
    ) -> None:
        """
        Args:
            beat: Writes as the batch's owner.
            on_progress: Told each step too, for a progress bar.
            after: Seconds of each part after training, in order: they belong to the
                time that is left.
        """
        self._beat, self._on_progress = beat, on_progress
        self._after = dict(after or {})
        self._written_at = 0.0
        self._phase = ""
        self._macro_f1: float | None = None
        self._has_trained = False

    def __call__(self, progress: Progress) -> None:
        """
        Raises:
            Lost, Cancelled: The run must stop.
        """
        self._beat.check()
        if self._on_progress is not None:
            self._on_progress(progress)
        # A validation ends with two calls, the second with its result: both write the
        # same step. A result that equals the one before it is a point, too.
        is_measured = progress.phase == TRAIN and (
            self._phase == VALIDATE or progress.macro_f1 != self._macro_f1
        )
        is_new_part = _part(progress.phase) != _part(self._phase)
        self._phase = progress.phase
        if progress.phase == TRAIN:
            self._macro_f1 = progress.macro_f1
        is_due = time.monotonic() - self._written_at >= REPORT_S
        if is_due or is_new_part or is_measured:
            self._write(progress, macro_f1=progress.macro_f1 if is_measured else None)

    def phase(self, name: str) -> None:
        """Begins a part that reports no steps."""
        self._phase = name
        self._beat.write(phase=name, eta_s=self._left_from(name))

    def _write(self, progress: Progress, *, macro_f1: float | None) -> None:
        self._written_at = time.monotonic()
        changes: dict[str, Any] = {"phase": progress.phase}
        if progress.phase != EXPORT:  # its steps are not the training's
            changes |= {"step": progress.step, "total_steps": progress.total_steps}
            changes["eta_s"] = progress.eta_s
            if progress.eta_s is not None:
                changes["eta_s"] += sum(self._after.values())
        self._beat.write(**changes)
        if progress.phase != TRAIN:
            return
        if not self._has_trained:
            # A run that goes on from a checkpoint does its last steps again.
            ownership.forget_steps_after(self._beat.batch_id, progress.step)
            self._has_trained = True
        if progress.step:
            ownership.add_step(
                self._beat.batch_id,
                step=progress.step,
                epoch=progress.epoch,
                loss=progress.loss,
                macro_f1=macro_f1,
            )

    def _left_from(self, part: str) -> float | None:
        """Seconds that this part and those behind it take; None if that is unknown."""
        parts = list(self._after)
        if part not in parts:
            return None
        return sum(self._after[name] for name in parts[parts.index(part) :])


def _part(phase: str) -> str:
    """Training and the validations between its steps are one part."""
    return TRAIN if phase == VALIDATE else phase
