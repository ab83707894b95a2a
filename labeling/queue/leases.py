"""Keeping questions and giving them back."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Lease, Question
from labeling.queue.sources import REVIEW, SOURCES

_LEAVE_S = 15
"""How long a question stays with somebody who has left the page: a reload fits in."""


class StaleLease(RuntimeError):
    """The lease is gone: taken over, released, or the question was settled."""


_STATE = "CASE l.queue {} ELSE 'open' END".format(
    " ".join(
        f"WHEN '{queue}' THEN '{source.state}'"
        for queue, source in SOURCES.items()
        if source.state != Question.State.OPEN
    )
)
"""The state in which a lease is worth something."""

_RENEW = f"""
UPDATE labeling_lease l
SET expires_at = statement_timestamp() + p.lease_s * interval '1 second'
FROM unnest(%(ids)s::bigint[], %(tokens)s::bigint[]) AS mine (question_id, token),
    labeling_question q JOIN labeling_project p ON p.id = q.project_id
WHERE l.question_id = mine.question_id AND l.token = mine.token
  AND l.holder_id = %(user)s AND l.expires_at IS NOT NULL
  AND q.id = l.question_id AND q.state = {_STATE}
RETURNING l.question_id
"""  # noqa: S608 (constants of this project only)


def renew(tokens: Mapping[int, int], user: User) -> set[int]:
    """Keeps questions for another lease, also where it ran out and nobody took over.

    Args:
        tokens: Token by question id.

    Returns:
        The ids of the questions that the person still holds.

    Cost: one statement.
    """
    values: dict[str, Any] = {
        "ids": list(tokens),
        "tokens": list(tokens.values()),
        "user": user.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(_RENEW, values)
        return {pk for (pk,) in cursor.fetchall()}


def release(tokens: Mapping[int, int], user: User) -> None:
    """Gives questions back to the queue; giving back twice changes nothing.

    Args:
        tokens: Token by question id.
    """
    if tokens:
        _held(tokens, user).delete()


def leave(tokens: Mapping[int, int], user: User) -> None:
    """Lets questions go to others soon, unless the person comes back to them.

    For a page that is closed, or reloaded: then its first claim keeps them.
    """
    if tokens:
        soon = timezone.now() + timedelta(seconds=_LEAVE_S)
        _held(tokens, user).filter(expires_at__gt=soon).update(expires_at=soon)


def _held(tokens: Mapping[int, int], user: User) -> Any:
    named = Q()
    for question_id, token in tokens.items():
        named |= Q(question_id=question_id, token=token)
    return Lease.objects.filter(named, holder=user, expires_at__isnull=False)


def is_reviewing(question: Question, user: User, token: int) -> bool:
    """Whether this lease is of a reviewers' queue, and the question still in it."""
    queues = [queue for queue in REVIEW if SOURCES[queue].state == question.state]
    leases = Lease.objects.filter(question=question, holder=user, token=token)
    return leases.filter(queue__in=queues, expires_at__isnull=False).exists()


_ANSWER = """
UPDATE labeling_lease SET expires_at = NULL, is_returned = false
WHERE question_id = %(question)s AND holder_id = %(user)s AND token = %(token)s
  AND expires_at IS NOT NULL AND queue <> ALL(%(review)s)
RETURNING queue
"""


def answer(question: Question, user: User, token: int) -> str | None:
    """Ends the wait for a verdict; the slot stays taken until the question is settled.

    Returns:
        The queue that the question came from; None if this lease is gone.

    Cost: one statement.
    """
    if question.state != Question.State.OPEN:
        return None
    values: dict[str, Any] = {
        "question": question.pk,
        "user": user.pk,
        "token": token,
        "review": list(REVIEW),
    }
    with connection.cursor() as cursor:
        cursor.execute(_ANSWER, values)
        row: tuple[str] | None = cursor.fetchone()
    return row[0] if row else None


def why_gone(question: Question, user: User) -> str:
    """A sentence on what became of a lease."""
    leases = Lease.objects.filter(question=question)
    if leases.exclude(holder=user).filter(expires_at__isnull=False).exists():
        return _("Somebody else has taken this question over.")
    if question.state != Question.State.OPEN:
        return _("This question has been settled meanwhile.")
    return _("This question was given back to the queue.")
