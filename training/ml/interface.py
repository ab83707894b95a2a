"""What goes into a training run and what comes out; importable without torch."""

from __future__ import annotations

from dataclasses import dataclass, field


class TrainingError(Exception):
    """A run that cannot go on; the message is a sentence for a manager."""


@dataclass(frozen=True)
class Example:
    """One labelled question."""

    text: str
    """The question as it was asked."""

    labels: tuple[str, ...]
    """Its intents; exactly one in a single-intent project, any number otherwise."""


@dataclass(frozen=True)
class Progress:
    """Where a run is; handed to `report` at every step."""

    step: int
    """Optimizer steps done (in the phase ``export``: stages)."""

    total_steps: int
    """Steps of the whole training (in the phase ``export``: stages)."""

    epoch: int
    """Pass over the training rows, from 1; 0 before the first."""

    loss: float
    """Mean training loss of the latest steps; 0.0 before the first."""

    macro_f1: float | None
    """Latest validation macro-F1, if there was one."""

    phase: str
    """``prepare``, ``train``, ``validate``, ``save`` or ``export``."""

    eta_s: float | None
    """Estimated seconds until training ends; None while unknown."""


@dataclass(frozen=True)
class Epoch:
    """One line of a run's history."""

    epoch: int
    """Pass over the training rows, from 1."""

    step: int
    """Optimizer steps done at its end."""

    loss: float
    """Mean training loss of the epoch."""

    accuracy: float | None
    """Share of validation rows answered right (all intents right, if multi)."""

    macro_f1: float | None
    """Validation macro-F1 over the intents that occur in it."""


@dataclass(frozen=True)
class FitResult:
    """What a run did."""

    steps: int
    """Optimizer steps done in all, earlier runs of a resumed training included."""

    epochs: int
    """Passes over the rows that were begun."""

    best_epoch: int
    """The pass whose weights were saved."""

    accuracy: float | None
    """Validation accuracy of the saved weights; None without validation rows."""

    macro_f1: float | None
    """Validation macro-F1 of the saved weights; None without validation rows."""

    seconds: float
    """Wall-clock seconds of this call."""

    device: str
    """``cpu``, ``cuda`` or ``mps``."""

    resumed_from_step: int
    """Step of the checkpoint that this call went on from; 0 if it began anew."""

    processes: int = 1
    """Processes that shared each step's rows."""

    precision: str = "float32"
    """What the encoder computed in: ``float32`` or ``bf16``."""

    history: list[Epoch] = field(default_factory=list)
    """One entry a finished epoch."""


@dataclass(frozen=True)
class ExportReport:
    """What was exported, and how well the small model agrees with the exact one."""

    files: tuple[str, ...]
    """Names of the files in the export folder, sorted."""

    served: str
    """The model file that serving will open: ``model.int8.onnx`` or ``model.onnx``."""

    int8_kept: bool
    """Whether the int8 model agreed often enough to be kept."""

    agreement: float
    """Share of samples on which int8 and float32 give the same answer."""

    max_probability_difference: float
    """Largest difference of any probability between int8 and float32."""

    reason: str
    """One sentence saying why int8 was kept or dropped."""

    seconds: float
    """Wall-clock seconds."""

    sizes: dict[str, int] = field(default_factory=dict)
    """Bytes of each model file."""
