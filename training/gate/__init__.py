"""The gate: may this version serve? A verdict with reasons, judged on what would serve.

Each rule gives one reason, {code, passed, values}, kept on the version. `sentence` says
it in the reader's language.
"""

from training.gate.sentences import sentence
from training.gate.verdict import (
    MAX_INTENT_LOSS,
    MIN_AGREEMENT,
    MIN_INTENT_QUESTIONS,
    MIN_TEST_QUESTIONS,
    SIGNIFICANT_P,
    Reason,
    gate_of,
    judge,
    passed,
    verdict,
)

__all__ = [
    "MAX_INTENT_LOSS",
    "MIN_AGREEMENT",
    "MIN_INTENT_QUESTIONS",
    "MIN_TEST_QUESTIONS",
    "SIGNIFICANT_P",
    "Reason",
    "gate_of",
    "judge",
    "passed",
    "sentence",
    "verdict",
]
