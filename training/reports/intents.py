"""An evaluation by intent, the weakest first."""

from dataclasses import dataclass
from typing import Any

from training.reports.figures import Metrics


@dataclass(frozen=True)
class IntentRow:
    """How well one intent is recognised."""

    code: str
    n: int
    """Questions that have it."""
    precision: float
    recall: float
    f1: float
    low: float | None
    high: float | None
    """The 95 % interval of F1."""
    change: float | None
    """Recall less that of the active version, on the same questions."""


def rows(metrics: Metrics) -> list[IntentRow]:
    """Each intent that was asked for or answered; those never asked for at the end."""
    compared: dict[str, Any] = metrics.get("compared") or {}
    changes = compared.get("per_intent") or {}
    found = [
        _row(code, one, changes.get(code))
        for code, one in (metrics.get("per_intent") or {}).items()
    ]
    return sorted(found, key=lambda row: (not row.n, row.f1, row.code))


def _row(code: str, one: dict[str, Any], change: dict[str, Any] | None) -> IntentRow:
    low, high = one.get("interval") or (None, None)
    return IntentRow(
        code=code,
        n=one["n"],
        precision=one["precision"],
        recall=one["recall"],
        f1=one["f1"],
        low=low,
        high=high,
        change=change["after"] - change["before"] if change else None,
    )
