"""What a training used of this process's accelerator."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Accelerator:
    """The device that torch computes on in this process."""

    name: str
    """What the vendor calls it, e.g. ``NVIDIA H100 80GB HBM3``."""

    peak_memory_mb: float
    """The most that torch held at once since the process began, in MiB."""


def accelerator() -> Accelerator | None:
    """Return what this process uses; None on a CPU, or before torch is imported.

    Never imports torch and never touches a device that nobody used yet.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "mps"):  # in the middle of its import
        return None
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        peak = torch.cuda.max_memory_reserved()
        return Accelerator(torch.cuda.get_device_name(), peak / 2**20)
    if torch.backends.mps.is_available():
        peak = torch.mps.driver_allocated_memory()  # it keeps no peak: what is held now
        return Accelerator("MPS", peak / 2**20) if peak else None
    return None
