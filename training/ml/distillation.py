"""What a version said before it learns more: its right answers are held on to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

from training.ml import metrics
from training.ml.frozen import Lowered

_TEMPERATURE = 2.0
"""Softens both sides, so that what the version holds for unlikely counts, too."""


class Teacher:
    """The answers of a model as it was, to the rows that it answered right.

    Where it was wrong there is nothing to hold on to, and on intents that it did not
    know it has nothing to say: there the labels alone teach.

    Source: Li and Hoiem 2017, "Learning without Forgetting"; the temperature as in
        Hinton et al. 2015, "Distilling the Knowledge in a Neural Network".
    """

    def __init__(
        self,
        logits: torch.Tensor,
        targets: npt.NDArray[np.bool_],
        known: Sequence[bool],
        *,
        multi: bool,
    ) -> None:
        """Remember answers (N, C) to rows with the intents `targets` (N, C).

        Args:
            logits: what the model answered, on the CPU.
            targets: the right answers.
            known: which intents it was trained on (C,).
            multi: whether a row may have any number of intents.
        """
        self.multi, self.known = multi, torch.tensor(known)  # (C,)
        said = metrics.answers(logits.numpy(), multi=multi)
        is_right = (said == targets).all(axis=1)
        is_right &= ~targets[:, ~np.array(known)].any(axis=1)
        self.is_right = torch.from_numpy(is_right)  # (N,)
        self.logits = logits[:, self.known]  # (N, K)

    def loss(self, part: Sequence[int], logits: torch.Tensor) -> torch.Tensor:
        """Return how far answers have moved, () : the mean over all rows of a part.

        Args:
            part: numbers of the rows.
            logits: what the model answers to them now, float32 (B, C).
        """
        right = self.is_right[list(part)]  # (B,)
        if not bool(right.any()):
            return logits.sum() * 0.0
        device = logits.device
        before = self.logits[list(part)][right].to(device) / _TEMPERATURE  # (R, K)
        now = logits[right.to(device)][:, self.known.to(device)] / _TEMPERATURE
        if self.multi:
            apart = functional.binary_cross_entropy_with_logits(
                now, before.sigmoid(), reduction="none"
            ) - functional.binary_cross_entropy_with_logits(
                before, before.sigmoid(), reduction="none"
            )  # (R, K)
            apart = apart.mean(dim=1)
        else:
            apart = functional.kl_div(
                now.log_softmax(dim=1),
                before.log_softmax(dim=1),
                reduction="none",
                log_target=True,
            ).sum(dim=1)  # (R,)
        return apart.sum() * _TEMPERATURE**2 / len(right)


def teach(lowered: Lowered, known: Sequence[bool], *, multi: bool) -> Teacher:
    """Let the model answer all rows as it is, which then is its own teacher.

    Cost: one pass of the layers that train over all rows, without gradients.
    """
    targets = lowered.rows.targets
    logits = torch.zeros(targets.shape)  # (N, C)
    with lowered.processes.autocast():
        for batch, features in lowered.all_features():
            with torch.inference_mode():
                logits[batch] = lowered.model.classify(features).float().cpu()
    lowered.processes.add_up(logits)
    return Teacher(logits, targets, known, multi=multi)
