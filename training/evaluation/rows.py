"""The questions that versions are measured on, with their right intents."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import IO

from django.db.models import Prefetch, QuerySet
from django.utils.translation import gettext as _

from labeling import formats
from labeling.models import Dataset, DatasetItem, GoldLabel, Project, Question
from training.evaluation.scope import Scope
from training.ml.interface import Example

Rows = Sequence[Example]

MAX_ROWS = 100_000
"""Of a file; more would keep a worker busy for an hour."""


def nobody_waits() -> None:
    """A `check` that never ends anything."""


class TooManyRows(ValueError):
    """A file has more than `MAX_ROWS`; the message is for a manager."""


@dataclass(frozen=True)
class Asked:
    """Rows to measure on, and the project's questions that they are."""

    rows: list[Example]
    question_ids: list[int | None] = field(default_factory=list)
    """One a row; empty for rows of a file."""
    left_out: list[str] = field(default_factory=list)
    """Of a file: `line: reason` of each that says no intent."""


def test_questions(project: Project) -> QuerySet[Question]:
    """The project's labelled test questions."""
    return Question.objects.filter(
        project=project, state=Question.State.LABELLED, split=Question.Split.TEST
    )


def audit_questions(project: Project) -> QuerySet[Question]:
    """The test questions that users asked and people labelled blind.

    A fair sample of the texts that were asked, as `labeling.reports.audit` reads it:
    labels that came with an import are left out, since whoever imports chooses the
    texts.
    """
    imported = GoldLabel.objects.filter(source=GoldLabel.Source.IMPORT)
    return (
        test_questions(project)
        .filter(occurrences__gt=0)
        .exclude(pk__in=imported.values("question_id"))
    )


def asked(questions: QuerySet[Question]) -> Asked:
    """Labelled questions with their intents, in a fixed order. Two queries."""
    gold = GoldLabel.objects.select_related("intent").order_by("intent_id")
    found = list(
        questions.prefetch_related(Prefetch("gold_labels", gold))
        .order_by("id")
        .only("id", "text")
    )
    return Asked(
        [
            Example(q.text, tuple(label.intent.code for label in q.gold_labels.all()))
            for q in found
        ],
        [q.pk for q in found],
    )


def test_rows(project: Project) -> list[Example]:
    """The project's labelled test questions, in a fixed order. Two queries."""
    return asked(test_questions(project)).rows


def audit_rows(project: Project) -> list[Example]:
    """The project's `audit_questions`, in a fixed order. Two queries."""
    return asked(audit_questions(project)).rows


def dataset_rows(dataset: Dataset) -> list[Example]:
    """What versions of a dataset learn from: its train split. One query."""
    items = DatasetItem.objects.filter(
        dataset=dataset, split=DatasetItem.Split.TRAIN
    ).order_by("id")
    return [
        Example(text, tuple(codes))
        for text, codes in items.values_list("text", "codes")
    ]


def read_file(
    file: IO[bytes],
    *,
    kind: str,
    encoding: str = "utf-8",
    many: bool = False,
    check: Callable[[], None] = nobody_waits,
) -> Asked:
    """The labelled rows of a file.

    Args:
        file: Opened for reading bytes.
        kind: One of `labeling.formats.KINDS`.
        encoding: One of `labeling.formats.ENCODINGS`.
        many: Whether a question may have several intents.
        check: Called for each row; may raise to end it.

    Raises:
        labeling.formats.Unreadable: The file is not what `kind` says.
        TooManyRows: It has more than `MAX_ROWS`.
    """
    rows: list[Example] = []
    left_out: list[str] = []
    for row in formats.read(file, kind=kind, encoding=encoding, many=many):
        check()
        if isinstance(row, formats.BadLine):
            left_out.append(f"{row.line}: {row.reason}")
        elif row.labels is None or not row.text.strip():
            left_out.append(f"{row.line}: {_('no text or no label')}")
        elif len(rows) == MAX_ROWS:
            raise TooManyRows(
                _("The file has more than %(max)d questions.") % {"max": MAX_ROWS}
            )
        else:
            # PostgreSQL keeps no NUL.
            rows.append(Example(row.text.replace("\0", ""), row.labels))
    return Asked(rows, left_out=left_out)


def wanted(row: Example, scope: Scope) -> frozenset[str]:
    """The right intents of a row by their names of today.

    A label of no intent is that of the fallback intent, where there is one.
    """
    codes = frozenset(scope.today(row.labels))
    if not codes and scope.fallback is not None:
        return frozenset([scope.fallback])
    return codes
