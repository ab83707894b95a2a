"""Measures a version on questions with known intents.

Measured is the model alone, in the file that will be served: the intent with the
largest probability (single-intent), or all intents above their thresholds
(multi-intent). Rules, exact answers from gold labels and the LLM fallback stay out, so
that versions compare.

Out-of-scope are the rows of the project's fallback intent. A version that knows that
intent answers it like any other; one that doesn't is taken to answer it when no intent
reaches the project's accept threshold, as serving does.
"""

from training.evaluation.answers import Answers, Floats, answer, answer_with
from training.evaluation.comparing import compare
from training.evaluation.keeping import evaluate, record
from training.evaluation.measuring import MAX_CONFUSED, matrices, measure
from training.evaluation.rows import Rows, test_rows
from training.evaluation.scope import Scope, scope_of

__all__ = [
    "MAX_CONFUSED",
    "Answers",
    "Floats",
    "Rows",
    "Scope",
    "answer",
    "answer_with",
    "compare",
    "evaluate",
    "matrices",
    "measure",
    "record",
    "scope_of",
    "test_rows",
]
