"""A version loaded into memory: immutable, checked and warm."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from registry import artifacts
from registry.models import Version
from registry.onnx.reading import Reading
from registry.onnx.session import OnnxClassifier
from registry.serving.batcher import Batcher

_WARM_UP = ("?", "One longer text, so that the first question need not wait. " * 4)


class Said(NamedTuple):
    """What the model says of one text."""

    probabilities: npt.NDArray[np.float64]
    """(C,), in the order of `Bundle.reading.codes`."""
    was_cut: bool
    """Whether the text was longer than what the model reads."""


class Bundle:
    """Model, tokenizer and reading of one version."""

    def __init__(self, version: Version) -> None:
        """Checks the files, opens and warms the model: 0.5 to 2 s for 100 MB.

        Raises:
            artifacts.ArtifactError: Files are missing or damaged, or the model does
                not fit the version's label set.
            registry.onnx.session.ArtifactError: The files hold no classifier.
        """
        self.version_id = version.pk
        self.project_id = version.project_id
        self.number = version.number
        needed = artifacts.served_files(version)
        folder = artifacts.open_verified(version, only=needed)
        self._classifier = OnnxClassifier(folder, file_name=needed[0])
        if self._classifier.labels != list(version.label_set):
            raise artifacts.CorruptArtifact(
                f"{version}: labels.json is not the version's label set"
            )
        self.multi = self._classifier.multi
        self.reading = Reading.of(version, multi=self.multi)
        """What logits say; its `codes` are what this version answers."""
        self.ask: Batcher[Said] = Batcher(self._run)
        """One `Said` a text; requests of several threads are run together."""
        self.ask(_WARM_UP)

    def _run(self, texts: Sequence[str]) -> list[Said]:
        answers = self._classifier.answer(texts)
        p = self.reading.probabilities(answers.logits)  # (N, C)
        if not np.isfinite(p).all():
            raise ArithmeticError("the model's answer is not a number")
        return [Said(row, cut) for row, cut in zip(p, answers.was_cut, strict=True)]
