"""The loss of a model's answers, and how much each intent counts in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

_LARGEST_WEIGHT = 10.0
"""The most that a row of a rare intent counts for: one row is not a whole batch."""


def loss(
    logits: torch.Tensor,
    wanted: torch.Tensor,
    weights: torch.Tensor | None,
    *,
    multi: bool,
    label_smoothing: float = 0.0,
) -> torch.Tensor:
    """Return the mean loss () of some rows.

    Args:
        logits: the head's answers, float32 (B, C).
        wanted: the right answers, bool (B, C).
        weights: see `weights`, (C,), or None where all intents count the same.
        multi: whether a row may have any number of intents.
        label_smoothing: see `Recipe.label_smoothing`.
    """
    if multi:
        soft = wanted.float() * (1.0 - label_smoothing) + label_smoothing / 2.0
        return functional.binary_cross_entropy_with_logits(
            logits, soft, pos_weight=weights
        )
    intents = wanted.int().argmax(dim=1)  # (B,)
    losses = functional.cross_entropy(
        logits, intents, label_smoothing=label_smoothing, reduction="none"
    )  # (B,)
    if weights is not None:
        losses = losses * weights[intents]
    return losses.mean()


def weights(targets: npt.NDArray[np.bool_]) -> torch.Tensor:
    """Return how much a row of each intent counts for, float32 (C,).

    The rows of every intent count for the same together, and the average row for one;
    none for more than `_LARGEST_WEIGHT`. Intents without rows count for one.

    Args:
        targets: which intents each training row has, (N, C).
    """
    counts = targets.sum(axis=0)  # (C,)
    occurs = counts > 0
    mean = counts[occurs].mean()
    found = np.ones(len(counts))
    found[occurs] = np.minimum(mean / counts[occurs], _LARGEST_WEIGHT)
    return torch.from_numpy(found).float()
