"""Imports and exports that a worker runs: start, cancel, run, sweep; what files get.

Nothing here decides who may: callers check `access` first.
"""

from labeling.background import workers
from labeling.transfers.running import as_json, run
from labeling.transfers.starting import (
    KEPT,
    Stored,
    WrongState,
    cancel,
    keep,
    start_export,
    start_import,
)
from labeling.transfers.sweeping import sweep

__all__ = [
    "KEPT",
    "Stored",
    "WrongState",
    "as_json",
    "cancel",
    "keep",
    "run",
    "start_export",
    "start_import",
    "sweep",
    "workers",
]
