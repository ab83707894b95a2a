"""Checkpoints: the complete state of a training, in safetensors and JSON only."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from training.ml.interface import Epoch

logger = logging.getLogger(__name__)

_TENSORS, _STATE = "tensors.safetensors", "state.json"
_WRITING = ".writing-"


@dataclass
class Position:
    """Where a training stands between two steps."""

    step: int = 0
    """Optimizer steps done."""

    epoch: int = 1
    """The running pass, from 1."""

    batch: int = 0
    """Batches of the running pass that are done."""

    loss_sum: float = 0.0
    """Sum of the losses since the last validation."""

    loss_steps: int = 0
    """Steps since the last validation."""

    best: Epoch | None = None
    """The validation with the best macro-F1 so far."""

    worse: int = 0
    """Validations since then."""

    finished: bool = False
    """Whether training is over and only saving is left."""

    history: list[Epoch] = field(default_factory=list)


class Checkpoints:
    """The newest checkpoint of one run, in a folder of its own."""

    def __init__(self, folder: Path, *, run: str) -> None:
        """Use `folder` (made at the first write).

        Args:
            folder: holds one folder a checkpoint.
            run: digest of everything that the run depends on; checkpoints of another
                run are not taken up.
        """
        self.folder, self.run = folder, run

    @property
    def is_open(self) -> bool:
        """Whether there is a checkpoint."""
        return bool(self._newest_first())

    def write(
        self,
        position: Position,
        trained: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        best: dict[str, torch.Tensor],
    ) -> None:
        """Write one checkpoint, all or nothing, and remove the older ones.

        Where that fails, for want of room on the disk for instance, training is worth
        more than its checkpoint: a warning, and the older one stays.
        """
        try:
            self._write(position, trained, optimizer, best)
        except (OSError, SafetensorError) as error:
            logger.warning(
                "no checkpoint at step %s: %s (%s free)",
                position.step,
                error,
                _free(self.folder),
            )

    def _write(
        self,
        position: Position,
        trained: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
        best: dict[str, torch.Tensor],
    ) -> None:
        tensors = {f"now.{name}": p.detach().cpu() for name, p in trained.items()}
        tensors |= {f"best.{name}": tensor for name, tensor in best.items()}
        for name, parameter in trained.items():
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer.{key}.{name}"] = value.detach().cpu()
        tensors["rng"] = torch.get_rng_state()
        if torch.cuda.is_available():
            tensors["rng.cuda"] = torch.cuda.get_rng_state()
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{_WRITING}*"):  # by a process that was killed
            shutil.rmtree(left, ignore_errors=True)
        temporary = Path(tempfile.mkdtemp(prefix=_WRITING, dir=self.folder))
        try:
            save_file(tensors, temporary / _TENSORS)
            state = {
                "run": self.run,
                "sha256": _sha256(temporary / _TENSORS),
                "position": asdict(position),
            }
            (temporary / _STATE).write_text(json.dumps(state), "utf-8")
            target = self.folder / f"step-{position.step:08d}"
            shutil.rmtree(target, ignore_errors=True)
            os.rename(temporary, target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        for older in self._newest_first()[1:]:
            shutil.rmtree(older, ignore_errors=True)

    def restore(
        self,
        trained: dict[str, nn.Parameter],
        optimizer: torch.optim.Optimizer,
    ) -> tuple[Position, dict[str, torch.Tensor]]:
        """Put the newest sound checkpoint back into model, optimizer and generator.

        A damaged or foreign one is passed over with a warning.

        Returns:
            The position to go on from, and the best weights so far; a fresh position
            if there is no checkpoint.
        """
        for folder in self._newest_first():
            try:
                position, tensors = self._read(folder)
                return position, _apply(tensors, trained, optimizer)
            except Exception as error:  # whatever is wrong: training starts earlier
                logger.warning("checkpoint %s is not used: %s", folder.name, error)
        return Position(), {}

    def _read(self, folder: Path) -> tuple[Position, dict[str, torch.Tensor]]:
        state = json.loads((folder / _STATE).read_text("utf-8"))
        if state["run"] != self.run:
            raise ValueError("it belongs to another run")
        if state["sha256"] != _sha256(folder / _TENSORS):
            raise ValueError("its checksum differs")
        values = state["position"]
        values["best"] = Epoch(**values["best"]) if values["best"] else None
        values["history"] = [Epoch(**line) for line in values["history"]]
        return Position(**values), load_file(folder / _TENSORS)

    def _newest_first(self) -> list[Path]:
        return sorted(self.folder.glob("step-*"), reverse=True)


def _apply(
    tensors: dict[str, torch.Tensor],
    trained: dict[str, nn.Parameter],
    optimizer: torch.optim.Optimizer,
) -> dict[str, torch.Tensor]:
    if {name[4:] for name in tensors if name.startswith("now.")} != set(trained):
        raise ValueError("it holds other weights")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(tensors[f"now.{name}"])
    for name, parameter in trained.items():
        for key in ("step", "exp_avg", "exp_avg_sq"):
            value = tensors.get(f"optimizer.{key}.{name}")
            if value is not None:
                # AdamW counts its steps on the CPU unless it is fused on a GPU.
                where = "cpu" if key == "step" else parameter.device
                optimizer.state[parameter][key] = value.to(where)
    torch.set_rng_state(tensors["rng"])
    if "rng.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["rng.cuda"])
    prefix = "best."
    return {n[len(prefix) :]: t for n, t in tensors.items() if n.startswith(prefix)}


def _free(folder: Path) -> str:
    try:
        return f"{shutil.disk_usage(folder).free / 1e9:.1f} GB"
    except OSError:
        return "unknown"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
