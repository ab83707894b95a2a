"""Taking steps back, the latest first: verdicts, adjudications, bulk actions."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib.auth.models import User
from django.db import transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling import bulk
from labeling.labels import annotations, gold
from labeling.labels.annotations import CannotUndo
from labeling.models import (
    Annotation,
    BulkAction,
    LabelChange,
    Lease,
    Project,
    Question,
    Queue,
)
from labeling.queue.claims import Claimed
from labeling.queue.sources import REVIEW

_LOOK_BACK = 50
"""Adjudications that are looked through for one that was not taken back."""
_QUEUE_OF_STATE = {
    Question.State.OPEN: Queue.PRIORITY,
    Question.State.LABELLED: Queue.SUSPECT,
    Question.State.SKIPPED: Queue.PRIORITY,
    Question.State.DISPUTED: Queue.DISPUTED,
}
"""Where a question belongs that did not come by a queue."""


@dataclass(frozen=True)
class _Step:
    """One thing that a person did, and when."""

    at: datetime
    what: Annotation | LabelChange | BulkAction


@transaction.atomic
def undo(project: Project, user: User) -> Claimed | None:
    """Takes back a person's latest step in a project and hands them its question.

    A verdict, an adjudication or a bulk action is a step; a label that was carried over
    to near-duplicates is one with all of them. Called again, it goes one step further
    back. What they held stays theirs and comes back once the undone ones are answered.

    Returns:
        The question, held again; None after a bulk action, which has many, and where a
        question is out of the queue again.

    Raises:
        CannotUndo: Nothing to take back, or somebody else built on it.

    Cost: about a dozen statements.
    """
    step = _latest(project, user)
    if step is None:
        raise CannotUndo(_("There is nothing to take back."))
    if isinstance(step, BulkAction):
        bulk.undo(step, by=user)
        return None
    if isinstance(step, LabelChange):
        return _undo_adjudication(step, project, user)
    return _undo_verdict(step, project, user)


def _latest(
    project: Project, user: User
) -> Annotation | LabelChange | BulkAction | None:
    # A verdict that came by a queue may name the bulk action that it carried along; one
    # that came by a bulk action has no queue.
    verdict = (
        Annotation.objects.filter(annotator=user, question__project=project)
        .filter(Q(bulk=None) | ~Q(queue=""))
        .select_related("annotator", "bulk")
        .order_by("-updated_at", "-id")
        .first()
    )
    action = (
        BulkAction.objects.filter(project=project, by=user, undone_at=None)
        .order_by("-id")
        .first()
    )
    adjudication = _latest_adjudication(project, user)
    steps = []
    if verdict is not None:
        steps.append(_Step(verdict.updated_at, verdict))
    if adjudication is not None:
        steps.append(_Step(adjudication.at, adjudication))
    if action is not None and not action.annotations.exclude(queue="").exists():
        steps.append(_Step(action.created_at, action))
    return max(steps, key=lambda step: step.at).what if steps else None


def _latest_adjudication(project: Project, user: User) -> LabelChange | None:
    own = LabelChange.objects.filter(
        by=user,
        kind=LabelChange.Kind.ADJUDICATION,
        bulk=None,
        question__project=project,
    )
    for change in own.order_by("-id")[:_LOOK_BACK]:
        since = LabelChange.objects.filter(
            question_id=change.question_id, pk__gt=change.pk
        )
        if not since.filter(by=user, bulk=None, kind=LabelChange.Kind.UNDO).exists():
            return change
    return None


def _undo_verdict(verdict: Annotation, project: Project, user: User) -> Claimed | None:
    question = annotations.withdraw(verdict)
    if verdict.bulk is not None and verdict.bulk.undone_at is None:
        _undo_duplicates(verdict.bulk, user)
    queue = verdict.queue or _QUEUE_OF_STATE[Question.State(question.state)]
    return _hand_back(question, project, user, queue, verdict.comment)


def _undo_duplicates(action: BulkAction, user: User) -> None:
    try:
        bulk.undo(action, by=user)
    except CannotUndo:  # all of them were labelled again since: nothing is left of it
        BulkAction.objects.filter(pk=action.pk).update(
            undone_at=timezone.now(), undone_by=user
        )


def _undo_adjudication(
    change: LabelChange, project: Project, user: User
) -> Claimed | None:
    question = annotations.lock(change.question_id)
    if not gold.take_back(change, by=user):
        raise CannotUndo(
            _("Somebody else has changed “%(question)s” since. Ask a reviewer.")
            % {"question": question}
        )
    question.refresh_from_db(fields=["state", "labelled_at", "suspicion", "broken_by"])
    queue = _QUEUE_OF_STATE[Question.State(question.state)]
    return _hand_back(question, project, user, queue, change.comment)


def _hand_back(
    question: Question, project: Project, user: User, queue: str, comment: str
) -> Claimed | None:
    """A lease for who has just taken a step back; the question is locked."""
    if question.state == Question.State.SKIPPED:
        return None
    if question.split == Question.Split.TEST and queue not in REVIEW:
        queue = Queue.AUDIT  # blind, whoever labelled it by which way
    slots = 1 if queue in REVIEW else project.overlap
    now = timezone.now()
    # Nobody claims the question meanwhile; an expired slot is free.
    leases = Lease.objects.filter(question=question)
    leases.filter(Q(holder=user) | Q(expires_at__lte=now)).delete()
    busy = set(leases.values_list("slot", flat=True))
    free = [slot for slot in range(slots) if slot not in busy]
    if not free:
        raise CannotUndo(_("Somebody else is labelling that question right now."))
    lease = Lease.objects.create(
        question=question,
        slot=free[0],
        holder=user,
        token=annotations.next_token(),
        queue=queue,
        is_returned=True,
        claimed_at=now,
        expires_at=now + timedelta(seconds=project.lease_s),
    )
    until = now + timedelta(seconds=project.lease_s)
    return Claimed(question, lease.token, until, lease.queue, comment=comment)
