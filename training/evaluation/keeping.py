"""Evaluations as they are kept: run, recorded, never overwritten."""

from collections.abc import Callable

from django.db import transaction

from registry import versions
from registry.models import Evaluation, EvaluationAnswer, Version
from training.evaluation.answers import answer_with
from training.evaluation.appraising import Appraisal, appraise, dataset_of
from training.evaluation.rows import (
    Asked,
    Rows,
    asked,
    audit_questions,
    nobody_waits,
    test_questions,
    wanted,
)
from training.evaluation.scope import scope_of

MAX_ANSWERS = 100_000
"""Answers that are kept of one evaluation, 200 bytes each and the text."""

_ANSWERS_AT_ONCE = 2000

Kind = Evaluation.Kind


def appraise_version(
    version: Version,
    *,
    kind: str = Kind.TEST,
    rows: Rows | Asked | None = None,
    check: Callable[[], None] = nobody_waits,
) -> Appraisal:
    """Measures a registered version, beside the active one, and keeps nothing.

    Args:
        version: Any registered version; it is not compared with itself.
        kind: An `Evaluation.Kind`: which questions, where `rows` does not say.
        rows: Questions with their intents, e.g. from a file.
        check: Called every second or two; may raise to end it.

    Raises:
        registry.artifacts.ArtifactError: A file is missing or damaged.
        registry.onnx.session.ArtifactError: The files are no classifier.
    """
    project = version.project
    scope = scope_of(project)
    if rows is None:
        questions = audit_questions if kind == Kind.AUDIT else test_questions
        rows = asked(questions(project))
    to_ask = rows if isinstance(rows, Asked) else Asked(list(rows))
    active = versions.active(project)
    return appraise(
        project,
        to_ask,
        answer_with(version, to_ask.rows, scope, check=check),
        scope,
        dataset=dataset_of(version),
        against=active if active != version else None,
        check=check,
    )


def run(
    version: Version,
    *,
    kind: str = Kind.TEST,
    rows: Rows | Asked | None = None,
    source: str = "",
) -> Evaluation:
    """Measures a version and keeps the result, with its answers.

    Rows may have been trained on: they are measured as they are. Rows whose label the
    version does not know count as wrong.

    Args:
        version: Any registered version.
        kind: An `Evaluation.Kind`; FILE takes `rows`.
        rows: Questions with their intents.
        source: Where the rows came from, for the record.

    Raises:
        registry.artifacts.ArtifactError, registry.onnx.session.ArtifactError
    """
    appraisal = appraise_version(version, kind=kind, rows=rows)
    return record(version, appraisal, kind=kind, source=source)


def evaluate(
    version: Version, *, rows: Rows | None = None, source: str = ""
) -> Evaluation:
    """`run` on the test questions, or on `rows` as those of a file."""
    kind = Kind.TEST if rows is None else Kind.FILE
    return run(version, kind=kind, rows=rows, source=source)


@transaction.atomic
def record(
    version: Version, appraisal: Appraisal, *, kind: str, source: str = ""
) -> Evaluation:
    """Keeps a measurement and the first `MAX_ANSWERS` answers. Evaluations are never
    overwritten.

    Cost: a statement for each 2,000 answers, about 0.1 s.
    """
    measured, answers = appraisal.measured, appraisal.answers
    evaluation = Evaluation.objects.create(
        version=version,
        kind=kind,
        source=source[:200],
        n=measured["n"],
        accuracy=measured["accuracy"],
        macro_f1=measured["macro_f1"],
        metrics=measured,
    )
    ids = appraisal.asked.question_ids
    made = []
    for n, row in enumerate(appraisal.asked.rows[:MAX_ANSWERS]):
        right, given = wanted(row, appraisal.scope), answers.intents[n]
        made.append(
            EvaluationAnswer(
                evaluation=evaluation,
                row=n,
                question_id=ids[n] if ids else None,
                text=row.text,
                wanted=sorted(right),
                given=sorted(given),
                confidence=float(answers.confidence[n]),
                is_right=right == given,
            )
        )
    EvaluationAnswer.objects.bulk_create(made, batch_size=_ANSWERS_AT_ONCE)
    return evaluation
