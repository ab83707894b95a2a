"""What a batch costs: CPU and wall seconds, memory, the accelerator's memory.

A run's meter is read with each sign of life and the sum of all attempts goes into the
batch's row, so that a killed attempt counts up to its last sign of life.
"""

import resource
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import psutil
from django.db import DatabaseError, InterfaceError

from training.models import TrainingBatch

CPU = "cpu"

_SUMS = ("cpu_s", "wall_s")
_PEAKS = ("peak_memory_mb", "gpu_peak_memory_mb", "processes")
_KIB_OF_MAXRSS = 1 / 1024 if sys.platform == "darwin" else 1.0
"""`ru_maxrss` is in KiB, on macOS in bytes."""


class Meter:
    """Counts what this process and those below it use, from `with` to its end."""

    def __init__(self, batch: TrainingBatch, fence: int) -> None:
        """
        Args:
            batch: The batch as it was claimed; its `resources` are what earlier
                attempts used.
            fence: What the claim returned: only its holder writes.
        """
        self._batch_id, self._fence = batch.pk, fence
        self._before: dict[str, Any] = dict(batch.resources)
        self._started_at = time.monotonic()
        self._cpu_at_start = 0.0
        self._own_peak_at_start = _own_peak_mb()
        self._cpu_s, self._peak_mb, self._processes = 0.0, 0.0, 1

    def __enter__(self) -> Self:
        self._cpu_at_start = self._look()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # The claim may be over, by success, failure or a cancel; the fence is still
        # ours unless somebody else has taken the batch over and counts on from here.
        rows = TrainingBatch.objects.filter(pk=self._batch_id, fence=self._fence)
        try:
            rows.update(resources=self.total())
        except (DatabaseError, InterfaceError):
            if error is None:
                raise

    def beat(self) -> dict[str, Any]:
        """Columns for the row, to be written with a sign of life."""
        return {"resources": self.total()}

    def total(self) -> dict[str, Any]:
        """What all attempts used until now.

        Returns:
            {device, cpu_s, wall_s, peak_memory_mb, gpu_peak_memory_mb, processes}: the
            seconds are sums, the rest the most of any attempt. Memory is in MiB; the
            accelerator's is that of the main process, None without one.

        Cost: about 1 ms a process.
        """
        from training.ml.usage import accelerator

        self._cpu_s = max(self._cpu_s, self._look() - self._cpu_at_start)
        own_peak_mb = _own_peak_mb()
        if own_peak_mb > self._own_peak_at_start:  # the kernel misses no short peak
            self._peak_mb = max(self._peak_mb, own_peak_mb)
        device = accelerator()
        return add(
            self._before,
            {
                "device": device.name if device else CPU,
                "cpu_s": self._cpu_s,
                "wall_s": time.monotonic() - self._started_at,
                "peak_memory_mb": self._peak_mb,
                "gpu_peak_memory_mb": device.peak_memory_mb if device else None,
                "processes": self._processes,
            },
        )

    def _look(self) -> float:
        """CPU seconds of all processes so far; notes their memory and number."""
        cpu_s, memory_mb, count = 0.0, 0.0, 0
        me = psutil.Process()
        for process in (me, *me.children(recursive=True)):
            try:
                with process.oneshot():
                    cpu = process.cpu_times()
                    memory_mb += process.memory_info().rss / 2**20
            except psutil.Error:  # it has just ended: its parent counts it
                continue
            # What ended below it and was waited for is in `children_*`.
            cpu_s += cpu.user + cpu.system
            cpu_s += getattr(cpu, "children_user", 0.0)
            cpu_s += getattr(cpu, "children_system", 0.0)
            count += 1
        self._peak_mb = max(self._peak_mb, memory_mb)
        self._processes = max(self._processes, count)
        return cpu_s


def add(before: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, Any]:
    """Resources of earlier attempts and of one more: seconds add up, peaks don't."""
    total = dict(now)
    for key in _SUMS:
        total[key] = round(before.get(key, 0.0) + now[key], 2)
    for key in _PEAKS:
        known = [v for v in (before.get(key), now[key]) if v is not None]
        total[key] = round(max(known)) if known else None
    if now["device"] == CPU:  # an attempt that died early did not get to its device
        total["device"] = before.get("device", CPU)
    return total


def _own_peak_mb() -> float:
    """The most memory that this process ever held, in MiB."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak * _KIB_OF_MAXRSS / 1024)
