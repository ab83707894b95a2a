"""Training rows: labels as arrays, texts as tokens, batches of like length."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import torch

from registry.onnx.tokens import TextEncoder, pad
from training.ml.interface import Example, TrainingError

_SHUFFLED_TOGETHER = 32
"""Batches whose rows are sorted by length together: more pad less, but shuffle less."""


class Rows:
    """Tokenised examples with their targets."""

    def __init__(
        self,
        examples: Sequence[Example],
        labels: Sequence[str],
        encoder: TextEncoder,
    ) -> None:
        """Tokenise `examples` (about 0.03 ms each).

        Raises:
            TrainingError: an example has an intent that is not in `labels`.
        """
        self.ids = encoder.encode([example.text for example in examples]).ids
        self.targets = targets(examples, labels)  # (N, C)
        self.pad_id = encoder.pad_id

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Return input_ids and attention_mask, int64 (B, T)."""
        ids, mask = pad([self.ids[row] for row in rows], self.pad_id)
        return torch.from_numpy(ids), torch.from_numpy(mask)

    def in_order(
        self, batch_tokens: int, only: Collection[int] | None = None
    ) -> Iterator[list[int]]:
        """Yield rows from short to long, `batch_tokens` padded tokens at a time."""
        batch: list[int] = []
        rows = range(len(self)) if only is None else only
        for row in sorted(rows, key=lambda row: len(self.ids[row])):
            if batch and (len(batch) + 1) * len(self.ids[row]) > batch_tokens:
                yield batch
                batch = []
            batch.append(row)
        if batch:
            yield batch

    def shuffled(
        self,
        batch_size: int,
        generator: np.random.Generator,
        *,
        balanced: bool = False,
    ) -> list[list[int]]:
        """Return one epoch's batches: rows of like length together, in random order.

        Args:
            batch_size: rows of a batch; the last of a window may have fewer.
            generator: decides the order.
            balanced: draw each intent equally often, see `drawn_equally`, instead of
                each row once.
        """
        if balanced:
            order = drawn_equally(self.targets, generator)
        else:
            order = generator.permutation(len(self)).tolist()
        batches: list[list[int]] = []
        window = batch_size * _SHUFFLED_TOGETHER
        for start in range(0, len(order), window):
            part = sorted(
                order[start : start + window], key=lambda row: len(self.ids[row])
            )
            batches += [
                part[i : i + batch_size] for i in range(0, len(part), batch_size)
            ]
        return [batches[i] for i in generator.permutation(len(batches)).tolist()]


def drawn_equally(
    targets: npt.NDArray[np.bool_], generator: np.random.Generator
) -> list[int]:
    """Draw as many rows as there are, each intent equally often, in random order.

    A row of a rare intent is drawn again only once all of its intent were; of a common
    one, a pass sees a part. A row of several intents is drawn for its rarest, and rows
    without any are drawn like an intent of their own.

    Args:
        targets: which intents each row has, (N, C).
        generator: decides which rows, and the order.
    """
    counts = targets.sum(axis=0)  # (C,)
    rarest = np.where(targets, counts, len(targets) + 1).argmin(axis=1)  # (N,)
    strata = np.where(targets.any(axis=1), rarest, targets.shape[1])  # (N,)
    present = generator.permutation(np.unique(strata))
    # What is left over goes to the first of them, who are others in every pass.
    shares = np.full(len(present), len(targets) // len(present))
    shares[: len(targets) % len(present)] += 1
    drawn: list[int] = []
    for stratum, share in zip(present.tolist(), shares.tolist(), strict=True):
        rows = np.flatnonzero(strata == stratum)
        rounds = [generator.permutation(rows) for _ in range(-(-share // len(rows)))]
        drawn += np.concatenate(rounds)[:share].tolist()
    return [drawn[i] for i in generator.permutation(len(drawn)).tolist()]


def targets(
    examples: Sequence[Example], labels: Sequence[str]
) -> npt.NDArray[np.bool_]:
    """Return bool (N, C): which intents each example has.

    Raises:
        TrainingError: an example has an intent that is not in `labels`.
    """
    column = {label: index for index, label in enumerate(labels)}
    result = np.zeros((len(examples), len(labels)), bool)
    for row, example in enumerate(examples):
        for label in example.labels:
            if label not in column:
                raise TrainingError(
                    f"A question has the intent “{label}”, which is not among the"
                    f" {len(labels)} intents of this training."
                )
            result[row, column[label]] = True
    return result
