"""What a version's answers are worth: all its metrics, ready for JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.evaluation.answers import Answers, Floats
from training.evaluation.rows import Rows, wanted
from training.evaluation.scope import Scope
from training.statistics import metrics, resampling

MAX_CONFUSED = 20
"""Confused pairs that are kept in an evaluation."""

NO_INTENT = ""
"""Stands in the confusion matrix for no intent at all."""


def matrices(
    rows: Rows, *answers: Answers, scope: Scope
) -> tuple[list[str], metrics.Bools, list[metrics.Bools]]:
    """The codes in use, the truth (N, C) and each version's answers (N, C).

    A row's intent that a version does not know gets a column of its own, which that
    version never answers: the row counts as wrong.
    """
    right = [wanted(row, scope) for row in rows]
    codes = sorted(frozenset().union(*right, *(i for a in answers for i in a.intents)))
    column = {code: index for index, code in enumerate(codes)}

    def table(sets: Sequence[frozenset[str]]) -> metrics.Bools:
        result = np.zeros((len(sets), len(codes)), bool)
        for row, members in enumerate(sets):
            for code in members:
                result[row, column[code]] = True
        return result

    return codes, table(right), [table(a.intents) for a in answers]


def measure(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """All metrics of one version's answers, ready for JSON.

    Returns:
        n, accuracy, macro_f1, in_scope_accuracy, majority_accuracy, intervals {measure:
        [low, high]}, per_intent {code: {precision, recall, f1, n, interval}},
        out_of_scope {n, precision, recall, f1, auroc}, calibration {ece, bins, before:
        {ece, bins}} (before: as the logits say, uncalibrated), confusion [{intent,
        answered, n}], matrix {codes, cells: [[right, answered, n]]}, unknown {code: n}
        (intents that the version can't answer); for multi-intent projects also
        micro_f1, example_f1 and exact_match. Shares are 0 to 1, intervals are 95 % ones
        by bootstrap; None where there are no rows to say it of.

    Cost: half a second for 5,500 rows of 150 intents.
    """
    codes, truth, (chosen,) = matrices(rows, answers, scope=scope)
    draws = resampling.Draws(truth, chosen) if len(rows) else None
    result: dict[str, Any] = {
        **_overall(truth, chosen, _outside(codes, truth, scope), multi=scope.multi),
        "majority_accuracy": _majority(rows, scope),
        "intervals": _intervals(draws, codes, scope) if draws else {},
        "per_intent": _per_intent(codes, truth, chosen, draws),
        "out_of_scope": out_of_scope(codes, truth, chosen, answers, scope),
        "calibration": {
            **_calibration(rows, answers, scope),
            "before": _calibration(rows, answers.plain or answers, scope),
        },
        "confusion": [
            {"intent": codes[a], "answered": codes[b], "n": n}
            for a, b, n in metrics.confused_pairs(truth, chosen, limit=MAX_CONFUSED)
        ],
        "matrix": _matrix(codes, truth, chosen),
        "unknown": _unknown(rows, answers, scope),
        "model_file": answers.file_name,
    }
    return result


def summary(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """The few figures of what stands beside a version: accuracy, macro_f1,
    in_scope_accuracy and out_of_scope, and micro_f1, example_f1 and exact_match."""
    codes, truth, (chosen,) = matrices(rows, answers, scope=scope)
    return {
        **_overall(truth, chosen, _outside(codes, truth, scope), multi=scope.multi),
        "out_of_scope": out_of_scope(codes, truth, chosen, answers, scope),
    }


def out_of_scope(
    codes: Sequence[str],
    truth: metrics.Bools,
    chosen: metrics.Bools,
    answers: Answers,
    scope: Scope,
) -> dict[str, Any]:
    """How well the rows of the fallback intent are told from the others."""
    outside = _outside(codes, truth, scope)
    called = _outside(codes, chosen, scope)
    n, hits, given = (
        int(outside.sum()),
        int((outside & called).sum()),
        int(called.sum()),
    )
    return {
        "n": n,
        "precision": hits / given if n and given else None,
        "recall": hits / n if n else None,
        "f1": 2 * hits / (n + given) if n else None,
        "auroc": metrics.auroc(answers.out_of_scope, outside),
    }


def stated(
    rows: Rows, answers: Answers, scope: Scope
) -> tuple[list[int], Floats, metrics.Bools]:
    """Each answered intent: its row, its confidence, and whether it is right."""
    at, confidence, correct = [], [], []
    for n, row in enumerate(rows):
        right = wanted(row, scope)
        for code, p in answers.given[n]:
            at.append(n)
            confidence.append(p)
            correct.append(code in right)
    return at, np.array(confidence, float), np.array(correct, bool)


def _overall(
    truth: metrics.Bools, chosen: metrics.Bools, outside: metrics.Bools, *, multi: bool
) -> dict[str, Any]:
    right = (truth == chosen).all(axis=1)
    has_rows = bool(len(truth))
    result: dict[str, Any] = {
        "n": len(truth),
        "accuracy": _mean(right),
        "macro_f1": metrics.macro_f1(truth, chosen) if has_rows else None,
        "in_scope_accuracy": _mean(right[~outside]),
    }
    if multi:
        result["micro_f1"] = metrics.micro_f1(truth, chosen) if has_rows else None
        result["example_f1"] = metrics.example_f1(truth, chosen) if has_rows else None
        result["exact_match"] = result["accuracy"]
    return result


def _intervals(
    draws: resampling.Draws, codes: Sequence[str], scope: Scope
) -> dict[str, list[float] | None]:
    truth, chosen = draws.tables
    right = (truth == chosen).all(axis=1)
    inside = ~_outside(codes, truth, scope)
    values = {
        "accuracy": draws.share(right),
        "macro_f1": draws.macro_f1(truth, chosen),
        "in_scope_accuracy": draws.share(right, among=inside),
        "micro_f1": draws.micro_f1(truth, chosen),
    }
    if scope.multi:
        values["exact_match"] = values["accuracy"]
    return {name: resampling.interval(value) for name, value in values.items()}


def _per_intent(
    codes: Sequence[str],
    truth: metrics.Bools,
    chosen: metrics.Bools,
    draws: resampling.Draws | None,
) -> dict[str, Any]:
    if draws is None:
        return {}
    precision, recall, f1 = metrics.precision_recall_f1(truth, chosen)
    intervals = resampling.intervals(draws.f1(*draws.tables))
    return {
        code: {
            "precision": float(precision[c]),
            "recall": float(recall[c]),
            "f1": float(f1[c]),
            "n": int(truth[:, c].sum()),
            "interval": intervals[c],
        }
        for c, code in enumerate(codes)
    }


def _matrix(
    codes: Sequence[str], truth: metrics.Bools, chosen: metrics.Bools
) -> dict[str, Any]:
    cells = metrics.confusion_cells(truth, chosen)
    is_complete = all(max(a, b) < len(codes) for a, b, _n in cells)
    return {
        "codes": list(codes) if is_complete else [*codes, NO_INTENT],
        "cells": [list(cell) for cell in cells],
    }


def _outside(codes: Sequence[str], table: metrics.Bools, scope: Scope) -> metrics.Bools:
    """Which rows of the table name the fallback intent, bool (N,)."""
    if scope.fallback not in codes:
        return np.zeros(len(table), bool)
    return table[:, codes.index(scope.fallback)]


def _mean(right: metrics.Bools) -> float | None:
    return float(right.mean()) if len(right) else None


def _majority(rows: Rows, scope: Scope) -> float | None:
    """Accuracy of answering every question with the commonest intents."""
    if not rows:
        return None
    commonest = Counter(wanted(row, scope) for row in rows).most_common(1)
    return commonest[0][1] / len(rows)


def _calibration(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """Single-intent: of each row's answer. Multi-intent: of each intent answered."""
    _at, confidence, correct = stated(rows, answers, scope)
    return metrics.calibration(confidence, correct)


def _unknown(rows: Rows, answers: Answers, scope: Scope) -> dict[str, int]:
    # Without a fallback class the threshold still answers the fallback.
    known = answers.labels | {scope.fallback}
    return dict(
        Counter(c for row in rows for c in scope.today(row.labels) if c not in known)
    )
