"""All that is said of a version on some questions: measured, compared, beside."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from labeling.models import Dataset, Project
from registry import artifacts
from registry.models import Version
from registry.onnx import session
from training.evaluation.answers import Answers, answer_with
from training.evaluation.beside import rules_alone, with_floor
from training.evaluation.comparing import broken_rows, compare
from training.evaluation.measuring import measure
from training.evaluation.rows import Asked, nobody_waits
from training.evaluation.scope import Scope
from training.statistics import floor


@dataclass(frozen=True)
class Appraisal:
    """A measurement with all that stands beside it."""

    project: Project
    asked: Asked
    answers: Answers
    scope: Scope
    measured: dict[str, Any]
    """As `Evaluation.metrics` keeps it."""
    broken: list[int] = field(default_factory=list)
    """Questions that the version compared with has right and this one wrong."""
    problem: str = ""
    """Why there is no comparison although there is a version to compare with."""

    @property
    def comparison(self) -> dict[str, Any] | None:
        """With the version that serves, if one was asked too."""
        found: dict[str, Any] | None = self.measured["compared"]
        return found


def appraise(
    project: Project,
    asked: Asked,
    answers: Answers,
    scope: Scope,
    *,
    dataset: Dataset | None,
    against: Version | None,
    check: Callable[[], None] = nobody_waits,
    budget_s: float = floor.BUDGET_S,
) -> Appraisal:
    """Measures answers, and what stands beside them on the same questions.

    Args:
        project: Whose rules are asked alone.
        asked: The questions.
        answers: What the version answered to them.
        scope: The project's.
        dataset: What the version was trained on: the floor is, too.
        against: A version to compare with, if any. One whose files can't be opened
            can't serve either: there is nothing to compare with.
        check: Called every second or two; may raise to end it.
        budget_s: What the floor's training may take, at most.

    Returns:
        Its `measured` is what `measure` gives, with `floor`, `rules` and `compared`
        (None where there is none).

    Cost: the other version answers all questions (some 10 ms each on one core); the
    floor's training (10 s for 15,000 labels); a second or two for the rest.
    """
    rows = asked.rows
    check()
    measured = measure(rows, answers, scope)
    check()
    compared, broken, problem = None, [], ""
    if against is not None:
        try:
            before = answer_with(against, rows, scope, check=check)
        except (artifacts.ArtifactError, session.ArtifactError) as error:
            problem = str(error)
        else:
            compared = compare(rows, before, answers, scope, version=against.number)
            ids = asked.question_ids
            broken = [
                pk
                for n in broken_rows(rows, before, answers, scope)
                if ids and (pk := ids[n]) is not None
            ]
    check()
    measured = with_floor(
        {**measured, "compared": compared},
        rows,
        answers,
        scope,
        dataset=dataset,
        check=check,
        budget_s=budget_s,
    )
    measured["rules"] = rules_alone(project, rows, scope, check=check)
    return Appraisal(project, asked, answers, scope, measured, broken, problem)


def dataset_of(version: Version) -> Dataset | None:
    """What a version was trained on; None where it came from elsewhere. One query."""
    trained_on = (version.provenance or {}).get("dataset") or {}
    pk = trained_on.get("id")
    if pk is None:
        return None
    return Dataset.objects.filter(project=version.project_id, pk=pk).first()
