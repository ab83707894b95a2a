"""What a version's answers are worth: all its metrics, ready for JSON."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from training import metrics
from training.evaluation.answers import Answers
from training.evaluation.rows import Rows
from training.evaluation.scope import Scope

MAX_CONFUSED = 20
"""Confused pairs that are kept in an evaluation."""


def matrices(
    rows: Rows, *answers: Answers, scope: Scope
) -> tuple[list[str], metrics.Bools, list[metrics.Bools]]:
    """The codes in use, the truth (N, C) and each version's answers (N, C).

    A row's intent that a version does not know gets a column of its own, which that
    version never answers: the row counts as wrong.
    """
    wanted = [frozenset(scope.today(row.labels)) for row in rows]
    codes = sorted(frozenset().union(*wanted, *(i for a in answers for i in a.intents)))
    column = {code: index for index, code in enumerate(codes)}

    def table(sets: Sequence[frozenset[str]]) -> metrics.Bools:
        result = np.zeros((len(sets), len(codes)), bool)
        for row, members in enumerate(sets):
            for code in members:
                result[row, column[code]] = True
        return result

    return codes, table(wanted), [table(a.intents) for a in answers]


def measure(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """All metrics of one version's answers, ready for JSON.

    Returns:
        n, accuracy, macro_f1, in_scope_accuracy, majority_accuracy, per_intent {code:
        {precision, recall, f1, n}}, out_of_scope {n, precision, recall, f1, auroc},
        calibration {ece, bins}, confusion [{intent, answered, n}], unknown {code: n}
        (intents that the version can't answer); for multi-intent projects also micro_f1
        and exact_match. Shares are 0 to 1; None where there are no rows to say it of.
    """
    codes, truth, (chosen,) = matrices(rows, answers, scope=scope)
    right = (truth == chosen).all(axis=1)
    precision, recall, f1 = metrics.precision_recall_f1(truth, chosen)
    outside = np.array([scope.fallback in scope.today(r.labels) for r in rows], bool)
    called_outside = np.array([scope.fallback in i for i in answers.intents], bool)
    result: dict[str, Any] = {
        "n": len(rows),
        "accuracy": _mean(right),
        "macro_f1": metrics.macro_f1(truth, chosen) if len(rows) else None,
        "in_scope_accuracy": _mean(right[~outside]),
        "majority_accuracy": _majority(rows),
        "per_intent": {
            code: {
                "precision": float(precision[c]),
                "recall": float(recall[c]),
                "f1": float(f1[c]),
                "n": int(truth[:, c].sum()),
            }
            for c, code in enumerate(codes)
        },
        "out_of_scope": _out_of_scope(outside, called_outside, answers),
        "calibration": _calibration(rows, answers, scope),
        "confusion": [
            {"intent": codes[a], "answered": codes[b], "n": n}
            for a, b, n in metrics.confused_pairs(truth, chosen, limit=MAX_CONFUSED)
        ],
        "unknown": _unknown(rows, answers, scope),
        "model_file": answers.file_name,
    }
    if scope.multi:
        result["micro_f1"] = metrics.micro_f1(truth, chosen) if len(rows) else None
        result["exact_match"] = result["accuracy"]
    return result


def _mean(right: metrics.Bools) -> float | None:
    return float(right.mean()) if len(right) else None


def _majority(rows: Rows) -> float | None:
    """Accuracy of answering every question with the commonest intents."""
    if not rows:
        return None
    return Counter(frozenset(row.labels) for row in rows).most_common(1)[0][1] / len(
        rows
    )


def _out_of_scope(
    outside: metrics.Bools, called: metrics.Bools, answers: Answers
) -> dict[str, Any]:
    n, hits = int(outside.sum()), int((outside & called).sum())
    given = int(called.sum())
    return {
        "n": n,
        "precision": hits / given if n and given else None,
        "recall": hits / n if n else None,
        "f1": 2 * hits / (n + given) if n else None,
        "auroc": metrics.auroc(answers.out_of_scope, outside),
    }


def _calibration(rows: Rows, answers: Answers, scope: Scope) -> dict[str, Any]:
    """Single-intent: of each row's answer. Multi-intent: of each intent answered."""
    confidence, correct = [], []
    for n, row in enumerate(rows):
        wanted = set(scope.today(row.labels))
        for code, p in answers.given[n]:
            confidence.append(p)
            correct.append(code in wanted)
    return metrics.calibration(np.array(confidence, float), np.array(correct, bool))


def _unknown(rows: Rows, answers: Answers, scope: Scope) -> dict[str, int]:
    counts: dict[str, int] = {}
    for row in rows:
        for code in scope.today(row.labels):
            # Without a fallback class the threshold still answers the fallback.
            if code not in answers.labels and code != scope.fallback:
                counts[code] = counts.get(code, 0) + 1
    return counts
