"""Verdicts of annotators, and the gold labels that they add up to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils.translation import gettext as _

from labeling.labels import gold
from labeling.models import (
    Annotation,
    GoldLabel,
    Intent,
    LabelChange,
    Lease,
    Project,
    Question,
)
from labeling.ranking.priority import RAISED


class InvalidVerdict(ValueError):
    """A verdict that the project's kind does not allow; the message says why."""


class CannotUndo(RuntimeError):
    """There is nothing to take back, or somebody else built on it."""


@dataclass(frozen=True)
class Shown:
    """Where a question was handed out, and so what its annotator could see."""

    queue: str = ""
    """A `Queue`; "" for a verdict that came by no queue."""
    is_blind: bool = False
    """No suggestion was shown."""


_CHANGED = ["state", "labelled_at", "trained_in", "suspicion", "broken_by", "priority"]


def lock(question_id: int) -> Question:
    """The question with its project, locked against verdicts and claims.

    Call it inside a transaction. Does not block readers or foreign keys.

    Raises:
        Question.DoesNotExist: There is no such question.
    """
    return (
        Question.objects.select_related("project")
        .select_for_update(of=("self",), no_key=True)
        .get(pk=question_id)
    )


_NAME = """
WITH dropped AS (
    DELETE FROM labeling_annotation_intents
    WHERE annotation_id = %(annotation)s AND intent_id <> ALL(%(intents)s)
)
INSERT INTO labeling_annotation_intents (annotation_id, intent_id)
SELECT %(annotation)s, intent FROM unnest(%(intents)s::bigint[]) AS intent
ON CONFLICT DO NOTHING
"""


@transaction.atomic
def record(
    question: Question,
    annotator: User,
    *,
    verdict: str,
    intents: Sequence[Intent] = (),
    comment: str = "",
    time_spent_ms: int | None = None,
    shown: Shown | None = None,
) -> Annotation:
    """Writes one annotator's verdict and settles the question when it was the last.

    The caller holds the question's `lock`. Settled means: as many verdicts as the
    project's overlap. All the same label: gold; all skipped: skipped; else disputed.

    Raises:
        InvalidVerdict: Not exactly one intent in a single-intent project.

    Cost: three statements, and one or two to settle.
    """
    if verdict == Annotation.Verdict.LABEL:
        check_intents(question.project, intents)
    shown = shown or Shown()
    annotation = Annotation(
        question=question,
        annotator=annotator,
        verdict=verdict,
        comment=comment,
        time_spent_ms=time_spent_ms,
        queue=shown.queue,
        is_blind=shown.is_blind,
        suggested=_best_suggestion(question),
        suggested_by=question.predicted_by,
    )
    Annotation.objects.bulk_create(
        [annotation],
        update_conflicts=True,
        unique_fields=["question", "annotator"],
        update_fields=[
            *("verdict", "comment", "time_spent_ms", "queue", "is_blind"),
            *("suggested", "suggested_by", "bulk", "updated_at"),
        ],
    )
    _run(
        _NAME,
        {"annotation": annotation.pk, "intents": [intent.pk for intent in intents]},
    )
    _settle(question, annotation, intents)
    return annotation


def check_intents(project: Project, intents: Sequence[Intent]) -> None:
    """Raises InvalidVerdict unless the project takes that many intents a question."""
    if not project.is_multi_intent and len(intents) != 1:
        raise InvalidVerdict(_("This project takes exactly one intent a question."))


def _best_suggestion(question: Question) -> str:
    return str(question.predicted[0]["code"])[:100] if question.predicted else ""


_VERDICTS = """
SELECT a.verdict, array(
    SELECT intent_id FROM labeling_annotation_intents
    WHERE annotation_id = a.id ORDER BY intent_id)
FROM labeling_annotation a WHERE a.question_id = %(question)s
"""


def _settle(question: Question, own: Annotation, intents: Sequence[Intent]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(_VERDICTS, {"question": question.pk})
        verdicts: list[tuple[str, list[int]]] = cursor.fetchall()
    if len(verdicts) < question.project.overlap:
        _ask_others_soon(question)
    elif any(one != verdicts[0] for one in verdicts):
        dispute([question.pk])
    elif own.verdict == Annotation.Verdict.SKIP:
        pass_over(question)
    else:  # all say what this one says
        gold.set_gold(
            [question.pk],
            intents,
            source=GoldLabel.Source.ANNOTATION,
            by=own.annotator,
            kind=LabelChange.Kind.ANNOTATION,
            comment=own.comment,
        )


def _ask_others_soon(question: Question) -> None:
    """Puts a question that has some of its verdicts before those that have none.

    Else a new prediction could make it sink, and its first verdict would wait for
    months. It still stands in the queue's one index, so no claim looks in two places.
    """
    if question.priority < RAISED:
        Question.objects.filter(pk=question.pk).update(priority=RAISED)


_DISPUTE = """
WITH said AS (
    SELECT a.question_id, a.verdict, count(*) AS number
    FROM labeling_annotation a CROSS JOIN LATERAL (
        SELECT array_agg(intent_id ORDER BY intent_id) AS ids
        FROM labeling_annotation_intents WHERE annotation_id = a.id
    ) named
    WHERE a.question_id = ANY(%(ids)s)
    GROUP BY a.question_id, a.verdict, named.ids
), agreement AS (
    SELECT question_id, max(number)::float8 / sum(number)::float8 AS share
    FROM said GROUP BY question_id
), freed AS (
    DELETE FROM labeling_lease WHERE question_id = ANY(%(ids)s)
)
UPDATE labeling_question q SET state = 'disputed', priority = 1 - agreement.share
FROM agreement WHERE q.id = agreement.question_id
"""


def dispute(question_ids: Sequence[int]) -> None:
    """Puts questions whose verdicts differ before the reviewers.

    Their priority becomes the share of verdicts that are not the most common one, so
    that reviewers see the lowest agreement first. The caller holds the rows' locks.

    Cost: one statement; none without questions.
    """
    if question_ids:
        _run(_DISPUTE, {"ids": list(question_ids)})


def pass_over(question: Question) -> None:
    """Takes a question without a label out of the queue: nobody could judge it."""
    question.state = Question.State.SKIPPED
    question.save(update_fields=["state"])
    Lease.objects.filter(question=question).delete()


_REOPEN = f"""
UPDATE labeling_question q SET state = 'open',
    priority = CASE WHEN q.state = 'disputed' THEN {RAISED} ELSE q.priority END
WHERE q.id = ANY(%(ids)s) AND q.state IN ('disputed', 'skipped')
"""  # noqa: S608 (a constant)


def reopen(question_ids: Sequence[int]) -> None:
    """Puts disputed and skipped questions back into the queue; verdicts keep slots.

    The caller holds the rows' locks. Cost: two statements; none without questions.
    """
    if question_ids:
        _run(_REOPEN, {"ids": list(question_ids)})
        gold.take_slots(question_ids)


def set_gold(
    question: Question,
    intents: Iterable[Intent],
    *,
    source: str,
    by: User | None,
    reason: str = "",
    comment: str = "",
) -> None:
    """Makes these intents the question's gold labels and the question labelled.

    The door to `gold.set_gold` for one question. An import leaves no history.
    """
    kind = "" if source == GoldLabel.Source.IMPORT else LabelChange.Kind(source)
    gold.set_gold(
        [question.pk],
        list(intents),
        source=source,
        by=by,
        kind=kind,
        reason=reason,
        comment=comment,
    )
    question.refresh_from_db(fields=_CHANGED)


@transaction.atomic
def withdraw(annotation: Annotation) -> Question:
    """Takes a verdict back: the annotation goes, its question is open again.

    Verdicts of others that remain hold their slots again.

    Raises:
        CannotUndo: Somebody else judged or relabelled the question since.
    """
    question = lock(annotation.question_id)
    if _somebody_built_on(question, annotation):
        raise CannotUndo(
            _("Somebody else has changed “%(question)s” since. Ask a reviewer.")
            % {"question": question}
        )
    annotation.delete()
    if question.state == Question.State.LABELLED:
        kind = LabelChange.Kind.UNDO
        gold.clear([question.pk], by=annotation.annotator, kind=kind)
    else:
        reopen([question.pk])
    question.refresh_from_db(fields=_CHANGED)
    return question


def _somebody_built_on(question: Question, annotation: Annotation) -> bool:
    if question.state == Question.State.OPEN:
        return False
    mine = annotation.annotator_id
    others = Annotation.objects.filter(question=question).exclude(annotator=mine)
    if others.filter(updated_at__gt=annotation.updated_at).exists():
        return True
    by_others = GoldLabel.objects.filter(question=question).exclude(
        set_by_id=mine, source=GoldLabel.Source.ANNOTATION
    )
    if by_others.exists():
        return True
    newest = LabelChange.objects.filter(question=question).first()
    return newest is not None and newest.kind == LabelChange.Kind.ADJUDICATION


def next_token() -> int:
    """A fencing token larger than all before it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('labeling_lease_token')")
        return int(cursor.fetchone()[0])


def _run(sql: str, values: dict[str, Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
