"""The gate: may this version serve? A verdict with reasons, judged on what would serve.

Each rule gives one reason, {code, passed, values}, kept on the version. `sentence` says
it in the reader's language.
"""

from training.gate.rules import MIN_INTENT_QUESTIONS, SIGNIFICANT_P, Reason
from training.gate.sentences import sentence
from training.gate.verdict import (
    gate_of,
    judge,
    keep,
    passed,
    reasons_for,
    rules_of,
    verdict,
)

__all__ = [
    "MIN_INTENT_QUESTIONS",
    "SIGNIFICANT_P",
    "Reason",
    "gate_of",
    "judge",
    "keep",
    "passed",
    "reasons_for",
    "rules_of",
    "sentence",
    "verdict",
]
