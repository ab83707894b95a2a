"""Makers of kept evaluations whose answers are known, without a model that answers."""

import random
from collections.abc import Sequence
from typing import Any

import numpy as np

from labeling.models import Question
from registry.models import Evaluation, EvaluationAnswer, Version
from training.statistics import metrics

Row = tuple[str, list[str], list[str], float]
"""Text, right intents, answered intents, confidence."""


def make_evaluation(
    version: Version,
    rows: Sequence[Row],
    *,
    kind: str = "test",
    questions: Sequence[Question | None] | None = None,
    **overrides: Any,
) -> Evaluation:
    """An evaluation of these very answers, in the shape that a measurement has.

    Args:
        version: Whose answers they are.
        rows: As measured.
        kind: test, file or audit.
        questions: Of each row; none by default.
        **overrides: Of the metrics.
    """
    measured = {**metrics_of(rows, version.project.is_multi_intent), **overrides}
    evaluation = Evaluation.objects.create(
        version=version,
        kind=kind,
        source="rows.jsonl" if kind == "file" else "",
        n=len(rows),
        accuracy=measured["accuracy"],
        macro_f1=measured["macro_f1"],
        metrics=measured,
    )
    EvaluationAnswer.objects.bulk_create(
        EvaluationAnswer(
            evaluation=evaluation,
            row=at,
            question=questions[at] if questions else None,
            text=text,
            wanted=sorted(wanted),
            given=sorted(given),
            confidence=confidence,
            is_right=sorted(wanted) == sorted(given),
        )
        for at, (text, wanted, given, confidence) in enumerate(rows)
    )
    return evaluation


def metrics_of(rows: Sequence[Row], multi: bool) -> dict[str, Any]:
    """What is measured of rows."""
    codes = sorted({code for row in rows for part in row[1:3] for code in part})
    truth, chosen = (
        np.array([[code in row[side] for code in codes] for row in rows], bool).reshape(
            len(rows), len(codes)
        )
        for side in (1, 2)
    )
    right = (truth == chosen).all(axis=1)
    precision, recall, f1 = metrics.precision_recall_f1(truth, chosen)
    confidence = np.array([row[3] for row in rows], float)
    cells = metrics.confusion_cells(truth, chosen)
    has_gaps = any(max(a, b) == len(codes) for a, b, _n in cells)
    accuracy = float(right.mean()) if len(rows) else None
    half = 0.02
    result: dict[str, Any] = {
        "n": len(rows),
        "accuracy": accuracy,
        "macro_f1": metrics.macro_f1(truth, chosen) if len(rows) else None,
        "in_scope_accuracy": accuracy,
        "majority_accuracy": 0.2 if len(rows) else None,
        "intervals": {
            name: [max(0.0, accuracy - half), min(1.0, accuracy + half)]
            for name in ("accuracy", "macro_f1", "micro_f1", "in_scope_accuracy")
        }
        if accuracy is not None
        else {},
        "per_intent": {
            code: {
                "precision": float(precision[c]),
                "recall": float(recall[c]),
                "f1": float(f1[c]),
                "n": int(truth[:, c].sum()),
                "interval": [
                    max(0.0, float(f1[c]) - 0.1),
                    min(1.0, float(f1[c]) + 0.05),
                ],
            }
            for c, code in enumerate(codes)
        },
        "out_of_scope": {
            "n": 0,
            "precision": None,
            "recall": None,
            "f1": None,
            "auroc": None,
        },
        "calibration": {
            **metrics.calibration(confidence, right),
            "before": metrics.calibration(confidence**2, right),
        },
        "confusion": [
            {"intent": codes[a], "answered": codes[b], "n": n}
            for a, b, n in metrics.confused_pairs(truth, chosen, limit=20)
        ],
        "matrix": {
            "codes": [*codes, ""] if has_gaps else codes,
            "cells": [list(cell) for cell in cells],
        },
        "unknown": {},
        "floor": None,
        "rules": None,
        "compared": None,
        "model_file": "model.onnx",
    }
    if multi:
        result["micro_f1"] = metrics.micro_f1(truth, chosen)
        result["example_f1"] = result["micro_f1"]
        result["exact_match"] = accuracy
    return result


def make_rows(
    codes: Sequence[str], *, each: int, wrong: float, seed: int = 0
) -> list[Row]:
    """`each` questions an intent; a share of them is answered with a neighbour."""
    chance = random.Random(seed)
    rows: list[Row] = []
    for at, code in enumerate(codes):
        for number in range(each):
            is_wrong = chance.random() < wrong
            answered = codes[(at + chance.choice((1, 1, 2))) % len(codes)]
            given = answered if is_wrong else code
            confidence = (
                chance.betavariate(3, 2) if is_wrong else chance.betavariate(9, 1)
            )
            rows.append((f"{code}: question {number}", [code], [given], confidence))
    return rows
