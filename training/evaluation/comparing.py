"""Two versions on the same questions: what the second fixes and what it breaks."""

from typing import Any

from training import metrics
from training.evaluation.answers import Answers
from training.evaluation.measuring import matrices
from training.evaluation.rows import Rows
from training.evaluation.scope import Scope


def compare(
    rows: Rows, before: Answers, after: Answers, scope: Scope
) -> dict[str, Any]:
    """Two versions on the same questions: what the second fixes and what it breaks.

    Returns:
        n, fixed, broken (rows), p (McNemar), accuracy, macro_f1 and macro_f1_interval
        (differences, after minus before), per_intent {code: {n, before, after,
        p}}: recall of each intent that the first version knew, and the chance of such a
        loss by accident.
    """
    codes, truth, (old, new) = matrices(rows, before, after, scope=scope)
    was_right = (truth == old).all(axis=1)
    is_right = (truth == new).all(axis=1)
    per_intent = {}
    for c, code in enumerate(codes):
        member = truth[:, c]
        if code in before.labels and member.any():
            per_intent[code] = {
                "n": int(member.sum()),
                "before": float(old[member, c].mean()),
                "after": float(new[member, c].mean()),
                "p": metrics.loss_p(old[member, c], new[member, c]),
            }
    return {
        "n": len(rows),
        "fixed": int((~was_right & is_right).sum()),
        "broken": int((was_right & ~is_right).sum()),
        "p": metrics.mcnemar_p(was_right, is_right),
        "accuracy": float(is_right.mean() - was_right.mean()) if len(rows) else 0.0,
        "macro_f1": metrics.macro_f1(truth, new) - metrics.macro_f1(truth, old),
        "macro_f1_interval": metrics.macro_f1_difference(truth, old, new),
        "per_intent": per_intent,
    }
