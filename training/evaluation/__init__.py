"""Measures a version on questions with known intents.

Measured is the model alone, in the file that will be served: the intent with the
largest probability (single-intent), or all intents above their thresholds
(multi-intent). Rules, exact answers from gold labels and the LLM fallback stay out, so
that versions compare.

Out-of-scope are the rows of the project's fallback intent. A version that knows that
intent answers it like any other; one that doesn't is taken to answer it when no intent
reaches the project's accept threshold, as serving does.
"""

from training.evaluation.answers import Answers, Floats, answer, answer_with, read
from training.evaluation.appraising import Appraisal, appraise, dataset_of
from training.evaluation.beside import floor_answers, rules_alone
from training.evaluation.comparing import broken_rows, compare
from training.evaluation.keeping import (
    MAX_ANSWERS,
    appraise_version,
    evaluate,
    record,
    run,
)
from training.evaluation.measuring import (
    MAX_CONFUSED,
    NO_INTENT,
    matrices,
    measure,
    summary,
)
from training.evaluation.rows import (
    MAX_ROWS,
    Asked,
    Rows,
    TooManyRows,
    asked,
    audit_questions,
    audit_rows,
    read_file,
    test_questions,
    test_rows,
    wanted,
)
from training.evaluation.runs import RequestError, execute, request, sweep
from training.evaluation.scope import Scope, scope_of

__all__ = [
    "MAX_ANSWERS",
    "MAX_CONFUSED",
    "MAX_ROWS",
    "NO_INTENT",
    "Answers",
    "Appraisal",
    "Asked",
    "Floats",
    "RequestError",
    "Rows",
    "Scope",
    "TooManyRows",
    "answer",
    "answer_with",
    "appraise",
    "appraise_version",
    "asked",
    "audit_questions",
    "audit_rows",
    "broken_rows",
    "compare",
    "dataset_of",
    "evaluate",
    "execute",
    "floor_answers",
    "matrices",
    "measure",
    "read",
    "read_file",
    "record",
    "request",
    "rules_alone",
    "run",
    "scope_of",
    "summary",
    "sweep",
    "test_questions",
    "test_rows",
    "wanted",
]
