"""What a version answers: the model alone, in the file that will be served."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from registry import artifacts
from registry.models import Version
from registry.onnx.reading import Reading
from training.evaluation.rows import Rows, nobody_waits
from training.evaluation.scope import Scope

Floats = npt.NDArray[np.float64]

_ROWS_AT_ONCE = 256
"""A second or two on one core."""


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
    plain: "Answers | None" = None
    """The same logits read as they were trained: without temperature, thresholds and
    out-of-scope score. None where the version has none of them."""


def answer(
    folder: Path,
    rows: Rows,
    scope: Scope,
    *,
    reading: Reading,
    check: Callable[[], None] = nobody_waits,
) -> Answers:
    """Runs the model file that would be served from `folder` over the rows.

    Args:
        folder: As exported: the model, its tokenizer and labels.json.
        rows: Questions; their intents are not looked at.
        scope: The project's fallback intent, accept threshold and codes of today.
        reading: How the model's logits are read.
        check: Called every few seconds; may raise to end it.

    Raises:
        registry.onnx.session.ArtifactError: The folder holds no classifier, or one of
            other labels than those of `reading`.
    """
    from registry.onnx.session import ArtifactError, OnnxClassifier

    classifier = OnnxClassifier(folder, threads=_threads())
    if tuple(classifier.labels) != reading.labels:
        raise ArtifactError(f"“{folder}” answers other intents than its version says")
    parts = [np.zeros((0, len(reading.labels)), np.float32)]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        check()
        texts = [row.text for row in rows[start : start + _ROWS_AT_ONCE]]
        parts.append(classifier.logits(texts))
    logits = np.concatenate(parts)  # (N, C)
    answers = read(logits, scope, reading=reading, file_name=classifier.file_name)
    as_trained = Reading(reading.labels, reading.multi)
    if as_trained == reading:
        return answers
    plain = read(logits, scope, reading=as_trained, file_name=classifier.file_name)
    return replace(answers, plain=plain)


def read(
    logits: npt.NDArray[np.floating[Any]],
    scope: Scope,
    *,
    reading: Reading,
    file_name: str,
) -> Answers:
    """What logits (N, C) answer.

    Without a fallback intent no question is out of scope, so the best guess is what is
    measured, however unsure. Serving gives no intent at all there, and says so.
    """
    columns = reading.under(scope.current)
    p = columns.join(reading.probabilities(logits))  # (N, today's codes)
    accept = scope.accept_threshold if scope.fallback is not None else 0.0
    chosen = columns.choose(p, accept=accept, fallback=scope.fallback)
    best = p.max(axis=1, initial=0.0)
    given: list[list[tuple[str, float]]] = [[] for _row in p]
    for n, c in np.argwhere(chosen):
        given[n].append((columns.codes[c], float(p[n, c])))
    nothing = frozenset() if scope.fallback is None else frozenset([scope.fallback])
    return Answers(
        intents=[frozenset(code for code, _p in row) or nothing for row in given],
        confidence=best,
        out_of_scope=p[:, columns.codes.index(scope.fallback)]
        if scope.fallback in columns.codes
        else 1.0 - best,
        given=given,
        labels=frozenset(columns.codes),
        file_name=file_name,
    )


def answer_with(
    version: Version,
    rows: Rows,
    scope: Scope,
    *,
    check: Callable[[], None] = nobody_waits,
) -> Answers:
    """Answers of a registered version, from its verified files; `check` as above.

    Raises:
        registry.artifacts.ArtifactError: A file is missing or damaged.
        registry.onnx.session.ArtifactError: The files are no classifier.
    """
    # What continues a training is a multiple of what serves, and not read here.
    folder = artifacts.open_verified(version, only=_served_files(version))
    reading = Reading.of(version, multi=scope.multi)
    return answer(folder, rows, scope, reading=reading, check=check)


def _served_files(version: Version) -> list[str]:
    from registry.onnx.session import FLOAT32_FILE, INT8_FILE, LABELS_FILE

    model = INT8_FILE if INT8_FILE in version.manifest else FLOAT32_FILE
    return [model, "tokenizer.json", LABELS_FILE]


def _threads() -> int:
    # An evaluation is one long run of batches: it may have the whole machine.
    return min(8, os.cpu_count() or 1)
