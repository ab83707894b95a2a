"""The processes that train one model together, and what each computes on and in.

One process is the usual case: then nothing here costs anything. `accelerate launch`
(or torchrun) starts more, each with a GPU of its own, or all on the CPU; Accelerate
knows how many there are and which device is this one's. All of them hold the whole
model and all rows, run the same loop and learn their share of every step's rows; the
gradients are added up before each step, so that the weights stay the same everywhere.

The gradients are added up here, in one go for all weights, and not by torch's
DistributedDataParallel: that sees a model only through its `forward`, while the loop
runs parts of it (frozen layers once, the rest in every step), and it would average over
processes where a step's rows are not always dealt evenly. What is lost is that no
gradient travels while the next is computed: milliseconds a step for an encoder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any

import torch
from accelerate import PartialState  # type: ignore[import-untyped]
from torch import distributed, nn

from training.ml.interface import TrainingError

_PATIENCE = timedelta(hours=1)
"""How long processes wait for each other; the main one may write a checkpoint."""


class Deserted(RuntimeError):
    """Another process of this training has ended."""


class Processes:
    """This process among all that train together."""

    def __init__(self, precision: str) -> None:
        """Find the device, and the other processes if there are any.

        Args:
            precision: see `Recipe.precision`. Call it within `fast_matrices`.

        Raises:
            TrainingError: the device cannot do that, or there are too few devices.
        """
        _check_devices(int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        state = PartialState(cpu=_is_on_cpu(), timeout=_PATIENCE)
        self.count: int = state.num_processes
        self.index: int = state.process_index
        self.device: torch.device = state.device
        self.precision = _precision(precision, self.device)
        if precision == "float32":
            _matrices().fp32_precision = "ieee"

    @property
    def is_main(self) -> bool:
        """Whether this is the one that reports and writes."""
        return self.index == 0

    def autocast(self) -> AbstractContextManager[object]:
        """Compute in the recipe's precision."""
        if self.precision == "bf16":
            return torch.autocast(self.device.type, dtype=torch.bfloat16)
        return nullcontext()

    def scatter_seeds(self, seed: int, step: int) -> None:
        """Give every process but the main one a dropout of its own."""
        if self.index:
            torch.manual_seed(hash((seed, step, self.index)) % (1 << 63))

    def mine(self, batches: Iterable[list[int]]) -> Iterator[list[int]]:
        """Yield this process's share of some batches."""
        for number, batch in enumerate(batches):
            if number % self.count == self.index:
                yield batch

    def parts(self, batch: Sequence[int], count: int) -> Iterator[list[int]]:
        """Yield this process's share of a step's rows, in up to `count` parts."""
        # Neighbours stay together: some losses compare the rows of a part.
        start, end = (
            len(batch) * index // self.count for index in (self.index, self.index + 1)
        )
        own = batch[start:end]
        size = max(1, -(-len(own) // count))
        for start in range(0, len(own), size):
            yield list(own[start : start + size])

    def add_up(self, tensor: torch.Tensor) -> None:
        """Replace a tensor, on any device, by its sum over all processes."""
        if self.count == 1:
            return
        moved = tensor.to(self.device)
        try:
            distributed.all_reduce(moved)
        except RuntimeError as error:
            raise Deserted(str(error)) from error
        if moved is not tensor:
            tensor.copy_(moved)

    def add_up_gradients(
        self, trained: Iterable[nn.Parameter], loss: torch.Tensor
    ) -> None:
        """Replace all gradients, and the loss (), by their sums over all processes."""
        if self.count == 1:
            return
        parameters = list(trained)
        for parameter in parameters:
            # A step of few rows may leave a process without any.
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        tensors = [loss, *(p.grad for p in parameters if p.grad is not None)]
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors])
        self.add_up(flat)
        start = 0
        for tensor in tensors:
            end = start + tensor.numel()
            tensor.copy_(flat[start:end].view_as(tensor))
            start = end

    def check_same(self, step: int) -> None:
        """Make sure that all processes go on from the same step.

        Raises:
            TrainingError: they do not.
        """
        if self.count == 1:
            return
        steps = torch.zeros(self.count, dtype=torch.int64)
        steps[self.index] = step
        self.add_up(steps)
        if set(steps.tolist()) != {step}:
            raise TrainingError(
                "The training processes see different checkpoints: all machines need"
                " the same data folder."
            )


def part() -> None:
    """Leave the other processes, once there is nothing more to add up."""
    if distributed.is_initialized():
        distributed.destroy_process_group()


@contextmanager
def fast_matrices() -> Iterator[None]:
    """Let oneDNN multiply float32 matrices on the CPU, which MKL does by default.

    On AMD processors MKL stays with AVX2: oneDNN's AVX-512 kernels, float32 as well,
    made a step 1.7 times as fast. Where the processor has matrix units (AMX), oneDNN
    may multiply in bfloat16 and add in float32, unless the recipe insists on float32;
    elsewhere nothing changes.
    """
    before = _matrices().fp32_precision
    _matrices().fp32_precision = "bf16"
    try:
        yield
    finally:
        _matrices().fp32_precision = before


def best_device() -> torch.device:
    """Return the accelerator of this machine, or the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def _matrices() -> Any:
    return torch.backends.mkldnn.matmul  # type: ignore[attr-defined]


def _check_devices(processes: int) -> None:
    devices = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if 0 < devices < processes:
        raise TrainingError(
            f"{processes} processes want a GPU each, and this machine has {devices}:"
            " choose fewer processes."
        )


def _is_on_cpu() -> bool:
    # Several processes cannot share Apple's GPU.
    return best_device().type == "cpu" or (
        distributed.is_torchelastic_launched() and not torch.cuda.is_available()
    )


def _precision(wanted: str, device: torch.device) -> str:
    if wanted == "float32":
        return wanted
    knows_bf16 = device.type != "cuda" or torch.cuda.is_bf16_supported(
        including_emulation=False
    )
    if wanted == "bf16":
        if not knows_bf16:
            raise TrainingError(
                "This GPU does not compute in bf16: choose the precision “float32”"
                " or “auto”."
            )
        return wanted
    return "bf16" if device.type == "cuda" and knows_bf16 else "float32"
