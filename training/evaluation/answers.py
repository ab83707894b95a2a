"""What a version answers: the model alone, in the file that will be served."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from registry import artifacts
from registry.models import Version
from training import metrics
from training.evaluation.rows import Rows
from training.evaluation.scope import Scope

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Answers:
    """What a version answered, row by row."""

    intents: list[frozenset[str]]
    confidence: npt.NDArray[np.float64]
    """(N,): the largest probability of a row."""
    out_of_scope: npt.NDArray[np.float64]
    """(N,): how likely a row is out of scope; comparable within a version only."""
    given: list[list[tuple[str, float]]]
    """Each row's answered intents with their probability."""
    labels: frozenset[str]
    """All intents that the version can answer."""
    file_name: str
    """The model file that answered."""


def answer(
    folder: Path,
    rows: Rows,
    scope: Scope,
    *,
    temperature: float = 1.0,
    thresholds: dict[str, float] | None = None,
) -> Answers:
    """Runs the model file that would be served from `folder` over the rows.

    Raises:
        registry.onnx.session.ArtifactError: The folder holds no classifier.
    """
    from registry.onnx.session import OnnxClassifier, probabilities

    classifier = OnnxClassifier(folder, threads=_threads())
    logits = classifier.logits([row.text for row in rows])  # (N, C)
    p = probabilities(logits, multi=scope.multi, temperature=temperature)
    cut = np.array([(thresholds or {}).get(c, 0.5) for c in classifier.labels])
    labels, p, cut = _merged(scope.today(classifier.labels), p, cut, scope.multi)
    best = p.max(axis=1) if len(rows) else np.zeros(0)
    knows_fallback = scope.fallback in labels
    if scope.multi:
        chosen = p > cut  # (N, C)
    else:
        chosen = metrics.largest(p)
        if scope.fallback is not None and not knows_fallback:
            chosen &= (best >= scope.accept_threshold)[:, None]
    given = [
        [(labels[c], float(p[n, c])) for c in np.flatnonzero(chosen[n])]
        for n in range(len(rows))
    ]
    nothing = frozenset() if scope.fallback is None else frozenset([scope.fallback])
    return Answers(
        intents=[frozenset(code for code, _p in row) or nothing for row in given],
        confidence=best,
        out_of_scope=p[:, labels.index(scope.fallback)]
        if scope.fallback is not None and knows_fallback
        else 1.0 - best,
        given=given,
        labels=frozenset(labels),
        file_name=classifier.file_name,
    )


def _merged(
    labels: list[str], p: Floats, cut: Floats, multi: bool
) -> tuple[list[str], Floats, Floats]:
    """One column an intent of today, where some were merged since the training.

    As serving reads them: exactly one of them was asked for (single-intent), so their
    probabilities add up; or either was (multi-intent), so the larger one counts.

    Args:
        labels: Codes of today of the C columns, some of them maybe the same.
        p: (N, C) probabilities.
        cut: (C,) thresholds; the lowest of merged ones stays.
    """
    codes = list(dict.fromkeys(labels))
    if len(codes) == len(labels):
        return labels, p, cut
    columns = [[c for c, label in enumerate(labels) if label == code] for code in codes]
    join = np.max if multi else np.sum
    joined = np.stack([join(p[:, own], axis=1) for own in columns], axis=1)
    return codes, joined, np.array([cut[own].min() for own in columns])


def answer_with(version: Version, rows: Rows, scope: Scope) -> Answers:
    """Answers of a registered version, from its verified files.

    Raises:
        registry.artifacts.ArtifactError: A file is missing or damaged.
        registry.onnx.session.ArtifactError: The files are no classifier.
    """
    # What continues a training is a multiple of what serves, and not read here.
    folder = artifacts.open_verified(version, only=_served_files(version))
    return answer(
        folder,
        rows,
        scope,
        temperature=version.temperature,
        thresholds=version.thresholds,
    )


def _served_files(version: Version) -> list[str]:
    from registry.onnx.session import FLOAT32_FILE, INT8_FILE, LABELS_FILE

    model = INT8_FILE if INT8_FILE in version.manifest else FLOAT32_FILE
    return [model, "tokenizer.json", LABELS_FILE]


def _threads() -> int:
    # An evaluation is one long run of batches: it may have the whole machine.
    return min(8, os.cpu_count() or 1)
