"""A loss that draws questions of one intent together, and batches that suit it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

ROWS_TOGETHER = 2
"""Rows of an intent that a batch holds at least, where the intent has as many. More of
each would leave fewer intents to tell apart in a batch."""

_SHUFFLED_TOGETHER = 32
"""Batches whose rows are sorted by length together, as `Rows.shuffled` does."""


def loss(
    features: torch.Tensor, wanted: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the supervised contrastive loss of a batch.

    For each row it is the mean, over the rows with its intent, of minus the log of
    their share among all other rows, where rows count by exp(cosine / temperature).
    Rows with several intents draw each other by the share of their intents that they
    have in common; for one intent each that is all or nothing. Rows that share nothing
    with any other only push; a batch of such rows has the loss 0.

    Args:
        features: pooled features (B, H).
        wanted: which intents each row has, bool (B, C).
        temperature: above 0; lower looks at the nearest rows only.

    Source: Khosla et al. 2020, "Supervised Contrastive Learning", equation 2.
    """
    unit = functional.normalize(features, dim=1)  # (B, H)
    itself = torch.eye(len(unit), dtype=torch.bool, device=unit.device)  # (B, B)
    near = (unit @ unit.T / temperature).masked_fill(itself, -torch.inf)  # (B, B)
    draws = _overlap(wanted).masked_fill(itself, 0.0)  # (B, B)
    total = draws.sum(dim=1)  # (B,)
    drawn = total > 0
    if not bool(drawn.any()):
        return features.sum() * 0.0
    log_share = near - near.logsumexp(dim=1, keepdim=True)  # (B, B), -inf on itself
    weighted = draws * log_share.masked_fill(itself, 0.0)
    return -(weighted.sum(dim=1)[drawn] / total[drawn]).mean()


def _overlap(wanted: torch.Tensor) -> torch.Tensor:
    """Return intents in common / intents of either, (B, B); 0 where there is none."""
    sets = wanted.float()  # (B, C)
    both = sets @ sets.T  # (B, B)
    sizes = sets.sum(dim=1)
    either = sizes[:, None] + sizes[None, :] - both
    return both / either.clamp(min=1.0)


def batches(
    targets: npt.NDArray[np.bool_],
    lengths: Sequence[int],
    batch_size: int,
    generator: np.random.Generator,
) -> list[list[int]]:
    """Return one epoch's batches: each row once, `ROWS_TOGETHER` of an intent together.

    Shuffled rows of 150 intents leave most rows of a batch without another of theirs:
    nothing would be drawn together. A row with several intents stands with the rarest
    of them, rows without any stand together.

    Args:
        targets: which intents each row has (N, C).
        lengths: tokens of each row; batches are of like length where rows are many.
        batch_size: rows of a batch; the last one of a window may have fewer.
        generator: decides who stands together and the order.
    """
    counts = targets.sum(axis=0)  # (C,)
    # The rarest intent of each row; `C` for rows without any.
    rarity = np.where(targets, counts, len(targets) + 1)  # (N, C)
    group = np.where(targets.any(axis=1), rarity.argmin(axis=1), targets.shape[1])
    order = generator.permutation(len(targets))
    order = order[group[order].argsort(kind="stable")]
    ends = np.flatnonzero(np.diff(group[order])) + 1
    clusters: list[list[int]] = []
    for rows in np.split(order, ends):
        clusters += [
            rows[start : start + ROWS_TOGETHER].tolist()
            for start in range(0, len(rows), ROWS_TOGETHER)
        ]
    generator.shuffle(clusters)
    result: list[list[int]] = []
    for window in _filled(clusters, batch_size * _SHUFFLED_TOGETHER):
        window.sort(key=lambda cluster: max(lengths[row] for row in cluster))
        for batch in _filled(window, batch_size):
            result.append([row for cluster in batch for row in cluster])
    return [result[i] for i in generator.permutation(len(result)).tolist()]


def _filled(clusters: list[list[int]], size: int) -> list[list[list[int]]]:
    """Return the clusters in runs of at most `size` rows (or of one cluster)."""
    runs: list[list[list[int]]] = []
    room = 0
    for cluster in clusters:
        if not runs or len(cluster) > room:
            runs.append([])
            room = size
        runs[-1].append(cluster)
        room -= len(cluster)
    return runs
