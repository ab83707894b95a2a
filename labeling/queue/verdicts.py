"""Answering a question that one holds: label, skip, adjudicate."""

from collections.abc import Sequence

from django.contrib.auth.models import User
from django.db import transaction

from labeling import bulk, taxonomy
from labeling.labels import annotations, gold
from labeling.labels.annotations import Shown
from labeling.models import (
    Annotation,
    BulkAction,
    GoldLabel,
    Intent,
    LabelChange,
    Lease,
    Question,
    Queue,
)
from labeling.queue.leases import StaleLease, answer, is_reviewing, why_gone


@taxonomy.again_if_merged
def submit(
    question_id: int,
    user: User,
    *,
    token: int,
    intents: Sequence[str],
    comment: str = "",
    time_spent_ms: int | None = None,
    with_duplicates: bool = False,
) -> Annotation:
    """Records a person's label for a question that they hold.

    A repeated submit of the same label, for example after a lost connection, returns
    what was recorded.

    Args:
        intents: Codes, old ones too; exactly one in a single-intent project.
        with_duplicates: Also label the question's near-duplicates; one `undo` takes
            all of it back.

    Raises:
        StaleLease: Somebody else holds the question by now, or it was settled.
        UnknownIntent: A code names no intent in use.
        InvalidVerdict: The project does not take that many intents a question.
        Question.DoesNotExist: There is no such question.

    Cost: about ten statements; a dozen more with duplicates.
    """
    question = annotations.lock(question_id)
    resolved = taxonomy.resolve_codes(question.project, intents)
    annotations.check_intents(question.project, resolved)
    queue = answer(question, user, token)
    if queue is None:
        return _recorded(question, user, Annotation.Verdict.LABEL, resolved)
    duplicates = _duplicates(question, user) if with_duplicates else []
    annotation = annotations.record(
        question,
        user,
        verdict=Annotation.Verdict.LABEL,
        intents=resolved,
        comment=comment,
        time_spent_ms=time_spent_ms,
        shown=_shown(queue),
    )
    if duplicates:
        _label_duplicates(annotation, duplicates, resolved)
    return annotation


@transaction.atomic
def skip(
    question_id: int,
    user: User,
    *,
    token: int,
    reason: str = "",
    time_spent_ms: int | None = None,
) -> Annotation | None:
    """Records that a person passes on a question that they hold.

    In the reviewers' queues nobody is asked after them: a disputed question ends as
    skipped, and a label that was doubted stays as it is.

    Returns:
        The verdict; none in the reviewers' queues.

    Raises:
        StaleLease: Somebody else holds the question by now, or it was settled.
        Question.DoesNotExist: There is no such question.
    """
    question = annotations.lock(question_id)
    if is_reviewing(question, user, token):
        _dismiss(question, by=user, comment=reason)
        return None
    queue = answer(question, user, token)
    if queue is None:
        return _recorded(question, user, Annotation.Verdict.SKIP, [])
    return annotations.record(
        question,
        user,
        verdict=Annotation.Verdict.SKIP,
        comment=reason,
        time_spent_ms=time_spent_ms,
        shown=_shown(queue),
    )


@taxonomy.again_if_merged
def adjudicate(
    question_id: int,
    user: User,
    *,
    token: int,
    intents: Sequence[str],
    reason: str = "",
    comment: str = "",
) -> LabelChange:
    """Settles a question of a reviewers' queue: the last word, whatever others said.

    Args:
        intents: Codes, old ones too; exactly one in a single-intent project.
        reason: A `LabelChange.Reason`: why it went wrong before.

    Returns:
        The change in the question's history. A repeated call with the same label
        returns the one that was recorded.

    Raises:
        StaleLease: Somebody else holds the question by now, or it was settled.
        UnknownIntent: A code names no intent in use.
        InvalidVerdict: The project does not take that many intents a question.
        Question.DoesNotExist: There is no such question.

    Cost: about ten statements.
    """
    question = annotations.lock(question_id)
    resolved = taxonomy.resolve_codes(question.project, intents)
    annotations.check_intents(question.project, resolved)
    newest = LabelChange.objects.filter(question=question)
    if not is_reviewing(question, user, token):
        change = newest.first()
        if change is not None and _says(change, user, resolved):
            return change
        raise StaleLease(why_gone(question, user))
    annotations.set_gold(
        question,
        resolved,
        source=GoldLabel.Source.ADJUDICATION,
        by=user,
        reason=reason,
        comment=comment,
    )
    return newest[0]


def _shown(queue: str) -> Shown:
    return Shown(queue, is_blind=queue == Queue.AUDIT)


def _recorded(
    question: Question, user: User, verdict: str, intents: Sequence[Intent]
) -> Annotation:
    """What a repeated call recorded; StaleLease where it said something else."""
    annotation = Annotation.objects.filter(
        question=question, annotator=user, verdict=verdict
    ).first()
    if annotation is not None and set(annotation.intents.all()) == set(intents):
        return annotation
    raise StaleLease(why_gone(question, user))


def _says(change: LabelChange, user: User, intents: Sequence[Intent]) -> bool:
    return (
        change.by_id == user.pk
        and change.kind == LabelChange.Kind.ADJUDICATION
        and change.after == sorted(intent.code for intent in intents)
    )


def _dismiss(question: Question, *, by: User, comment: str) -> None:
    if question.state == Question.State.DISPUTED:
        gold.give_up([question.pk], by=by, comment=comment)
    else:
        question.suspicion = question.broken_by = None
        question.save(update_fields=["suspicion", "broken_by"])
        Lease.objects.filter(question=question).delete()


def _duplicates(question: Question, user: User) -> list[int]:
    found = bulk.duplicates_of(question, user=user)
    return list(found.values_list("pk", flat=True)[: bulk.MOST])


def _label_duplicates(
    annotation: Annotation, question_ids: Sequence[int], intents: Sequence[Intent]
) -> None:
    """Labels near-duplicates along; the verdict names the action, so that `undo` can
    take both back as one step."""
    try:
        action = bulk.label(
            annotation.question.project,
            annotation.annotator,
            question_ids=question_ids,
            codes=[intent.code for intent in intents],
            kind=BulkAction.Kind.CLUSTER,
            description=annotation.question.text,
        )
    except bulk.NothingToLabel:
        return  # somebody else has taken all of them meanwhile
    annotation.bulk = action
    annotation.save(update_fields=["bulk"])
