"""Rows whose way through the frozen layers is computed once and remembered."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from training.ml.data import Rows
from training.ml.model import IntentModel
from training.ml.processes import Processes

FORWARD_TOKENS = 2048
"""Padded tokens of one pass without gradients."""

_LARGEST_CACHE_BYTES = 2 << 30
"""More rows than this holds are run through the frozen layers in every pass again."""


class Lowered:
    """Rows that come with the output of the model's frozen layers.

    The frozen layers see no dropout and never change, so one pass over the rows
    replaces one in every epoch: with two thirds of the layers frozen an epoch costs
    about a third. Kept as float16, 2 bytes x hidden size a token.
    """

    def __init__(
        self,
        model: IntentModel,
        rows: Rows,
        processes: Processes,
        tick: Callable[[], None],
    ) -> None:
        """Run all rows through the frozen layers, if there are any.

        Args:
            model: on the device of this process.
            rows: all rows, in every process.
            processes: each runs a part of the rows and learns the others' output.
            tick: called after every batch.
        """
        self.model, self.rows, self.processes = model, rows, processes
        device = processes.device
        lengths = np.array([len(ids) for ids in rows.ids])
        self._starts = np.concatenate([[0], lengths.cumsum()])  # (N + 1,)
        hidden_size = model.head.in_features
        size = int(self._starts[-1]) * hidden_size * 2
        self._hidden: torch.Tensor | None = None
        if not (model.frozen and size <= _LARGEST_CACHE_BYTES):
            return
        # One row of zeros at the end stands for padding.
        flat = torch.zeros(int(self._starts[-1]) + 1, hidden_size, dtype=torch.float16)
        model.eval()
        with torch.inference_mode():
            for batch in processes.mine(rows.in_order(FORWARD_TOKENS)):
                ids, mask = rows.batch(batch)  # (B, T)
                hidden = model.lower(ids.to(device), mask.to(device))  # (B, T, H)
                real = mask.bool()
                flat[self._places(batch)[real]] = hidden.half().cpu()[real]
                tick()
        processes.add_up(flat)
        self._hidden = flat

    def features(self, batch: list[int]) -> torch.Tensor:
        """Return pooled features (B, H) of some rows."""
        ids, mask = self.rows.batch(batch)  # (B, T)
        device = self.processes.device
        mask = mask.to(device)
        if self._hidden is None:
            return self.model.features(ids.to(device), mask)
        hidden = self._hidden[self._places(batch)]  # (B, T, H)
        return self.model.upper(hidden.to(device).float(), mask)

    def all_features(
        self, rows: list[int] | None = None
    ) -> Iterator[tuple[list[int], torch.Tensor]]:
        """Yield row numbers and their features (B, H), without gradients.

        Args:
            rows: the rows to go through; None for all. Of them, this process's share.
        """
        self.model.eval()
        wanted = None if rows is None else set(rows)
        batches = self.rows.in_order(FORWARD_TOKENS, only=wanted)
        for batch in self.processes.mine(batches):
            with torch.inference_mode():
                features = self.features(batch)
            yield batch, features

    def _places(self, batch: list[int]) -> torch.Tensor:
        """Return where each token's output lies, int64 (B, T); padding is last."""
        starts, ends = self._starts[batch], self._starts[np.array(batch) + 1]
        longest = int((ends - starts).max())
        places = starts[:, None] + np.arange(longest)  # (B, T)
        places[places >= ends[:, None]] = self._starts[-1]
        return torch.from_numpy(places)
