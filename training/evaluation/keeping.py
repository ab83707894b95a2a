"""Evaluations as they are kept: run, recorded, never overwritten."""

from typing import Any

from registry.models import Evaluation, Version
from training.evaluation.answers import answer_with
from training.evaluation.measuring import measure
from training.evaluation.rows import Rows, test_rows
from training.evaluation.scope import scope_of


def evaluate(
    version: Version, *, rows: Rows | None = None, source: str = ""
) -> Evaluation:
    """Measures a version on the test questions, or on `rows`, and keeps the result.

    Rows may have been trained on: they are measured as they are. Rows whose label the
    version does not know count as wrong.

    Args:
        version: Any registered version.
        rows: Questions with their intents, e.g. from a file.
        source: Where the rows came from, for the record.

    Raises:
        registry.artifacts.ArtifactError, registry.onnx.session.ArtifactError
    """
    project = version.project
    kind = Evaluation.Kind.TEST if rows is None else Evaluation.Kind.FILE
    rows = test_rows(project) if rows is None else rows
    scope = scope_of(project)
    measured = measure(rows, answer_with(version, rows, scope), scope)
    return record(version, measured, kind=kind, source=source)


def record(
    version: Version, measured: dict[str, Any], *, kind: str, source: str = ""
) -> Evaluation:
    """Keeps a measurement; evaluations are never overwritten."""
    return Evaluation.objects.create(
        version=version,
        kind=kind,
        source=source[:200],
        n=measured["n"],
        accuracy=measured["accuracy"],
        macro_f1=measured["macro_f1"],
        metrics=measured,
    )
