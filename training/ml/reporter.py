"""Tells the caller of a training where it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from training.ml.checkpoint import Position
from training.ml.interface import Epoch, Progress


class Reporter:
    """Turns what the training loop does into calls of `report`."""

    def __init__(self, report: Callable[[Progress], None], total_steps: int) -> None:
        self._report, self._total = report, total_steps
        self._phase = "prepare"
        self._at = Position()
        self._loss = 0.0
        self._macro_f1: float | None = None
        self._started, self._first_step = time.monotonic(), 0

    def phase(self, name: str) -> None:
        """Enter a phase (see `Progress.phase`)."""
        self._phase = name
        self.tick()

    def start_training(self, at: Position) -> None:
        """Begin, or go on, at `at`, which then moves with the loop."""
        self._at = at
        self._macro_f1 = at.history[-1].macro_f1 if at.history else None
        self._started, self._first_step = time.monotonic(), at.step
        self.phase("train")

    def step(self, at: Position, loss: float) -> None:
        """Tell that a step was done."""
        # Smoothed over about ten steps: single batches jump.
        self._loss = loss if at.step <= 1 else 0.9 * self._loss + 0.1 * loss
        self.tick()

    def validated(self, line: Epoch) -> None:
        """Tell the scores of a validation."""
        self._macro_f1 = line.macro_f1
        self.tick()

    def tick(self) -> None:
        """Tell that the training is alive."""
        done = self._at.step - self._first_step
        eta_s = None
        if done:
            elapsed = time.monotonic() - self._started
            eta_s = elapsed / done * (self._total - self._at.step)
        self._report(
            Progress(
                step=self._at.step,
                total_steps=self._total,
                epoch=self._at.epoch if self._at.step else 0,
                loss=self._loss,
                macro_f1=self._macro_f1,
                phase=self._phase,
                eta_s=eta_s,
            )
        )
