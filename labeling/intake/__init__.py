"""How questions come in: one at a time from serving, many at once from files."""

from labeling.intake.asked import Asked, log_question, log_questions
from labeling.intake.bulk import import_rows
from labeling.intake.checks import code_problem, text_problem
from labeling.intake.report import Conflict, ImportReport

__all__ = [
    "Asked",
    "Conflict",
    "ImportReport",
    "code_problem",
    "import_rows",
    "log_question",
    "log_questions",
    "text_problem",
]
