"""Handing questions out: those that a person holds already, then the next in line."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, transaction
from psycopg.errors import DeadlockDetected, LockNotAvailable

from labeling import access, taxonomy
from labeling.models import IntentAlias, Membership, Project, Question, Queue
from labeling.queue.sources import REVIEW, claim_sql

MAX_CLAIM = 50
"""Most questions that one person may hold at once."""
_PATIENCE_MS = 1000
"""How long a claim waits for a question that somebody is just answering."""
_TRIES = 8
"""A claim that meets a newer one looks again, at most so often."""
_CODES = {Queue.PAIR: 2, Queue.INTENT: 1}
"""How many intents a queue is about."""


@dataclass(frozen=True)
class Claimed:
    """A question that somebody holds."""

    question: Question
    token: int
    """Send it back with the verdict."""
    expires_at: datetime
    queue: str = Queue.PRIORITY
    """Where it came from: the priority queue gives questions of the audit, too."""
    comment: str = ""
    """After an undo: what the person had written."""

    @property
    def is_blind(self) -> bool:
        """Whether no suggestion may be shown."""
        return self.queue == Queue.AUDIT


@dataclass(frozen=True)
class _Held:
    """A row that a claim gives."""

    question_id: int
    token: int
    expires_at: datetime
    queue: str
    is_returned: bool

    @property
    def place(self) -> tuple[bool, int]:
        """For sorting: undone ones, the latest first; then the rest as claimed."""
        return (not self.is_returned, -self.token if self.is_returned else self.token)


def claim(
    project: Project,
    user: User,
    *,
    queue: str = Queue.PRIORITY,
    codes: Sequence[str] = (),
    limit: int = 1,
) -> list[Claimed]:
    """Hands questions to a person: those they hold already, then the next in line.

    Each question of the priority queue is drawn from the audit with the probability
    `project.audit_share`; either gives what it has when the other is empty. All other
    queues, the audit asked for by name among them, give their own alone.

    Args:
        project: Whose questions.
        user: Who labels them.
        queue: A `Queue`.
        codes: The two intents of a pair, the one of an intent's queue; old codes too.
        limit: Most questions to return, at most `MAX_CLAIM`. What the person holds of
            this queue counts; what they hold of others does not.

    Returns:
        Held ones first, those that an undo gave back before the rest. Empty when
        nothing is left for this person.

    Raises:
        PermissionDenied: A reviewers' queue, and the person is none.
        UnknownIntent: A code names no intent in use.
        ValueError: Not as many codes as the queue is about.

    Cost: one statement, and one to read the questions; up to two more when several new
    ones are drawn from the priority queue. Where nothing is found, one more that waits
    for others, `_PATIENCE_MS` at most.
    """
    hand = _Hand(project, user, queue, codes, limit=max(1, min(limit, MAX_CLAIM)))
    hand.draw()
    if not hand.held:
        hand.wait()
    rows = sorted(hand.held.values(), key=lambda row: row.place)[: hand.limit]
    questions = Question.objects.select_related("project").in_bulk(
        [row.question_id for row in rows]
    )
    return [
        Claimed(questions[row.question_id], row.token, row.expires_at, row.queue)
        for row in rows
    ]


class _Hand:
    """What a person holds of a queue while a claim fills it up."""

    def __init__(
        self,
        project: Project,
        user: User,
        queue: str,
        codes: Sequence[str],
        *,
        limit: int,
    ) -> None:
        if queue in REVIEW:
            access.require(user, project, Membership.Role.REVIEWER)
        self.limit = limit
        self.held: dict[int, _Held] = {}
        self._project = project
        self._queue = queue
        self._values = claim_values(project, user, queue, codes, limit=limit)

    def draw(self) -> None:
        """Takes what is free, without waiting for anybody."""
        if self._queue != Queue.PRIORITY:
            self._take(self._queue, most=self.limit)
            return
        # One at a time is the common case: a page that has lost one of three.
        self._take(Queue.AUDIT if self._is_audit() else Queue.PRIORITY, most=1)
        audits = sum(self._is_audit() for _n in range(self._missing))
        self._take(Queue.AUDIT, most=audits)
        self._take(Queue.PRIORITY, most=self._missing)
        self._take(Queue.AUDIT, most=self._missing)

    def wait(self) -> None:
        """Takes what others are just writing, once they have written it."""
        queues = [self._queue]
        if self._queue == Queue.PRIORITY:
            queues = [Queue.PRIORITY, Queue.AUDIT]
        for queue in queues:
            for _try in range(_TRIES):
                collided = self._take(queue, most=self.limit, waits=True)
                if self.held or not collided:
                    break
            if self.held:
                break

    @property
    def _missing(self) -> int:
        return max(0, self.limit - len(self.held))

    def _is_audit(self) -> bool:
        return random.random() < self._project.audit_share  # noqa: S311

    def _take(self, queue: str, *, most: int, waits: bool = False) -> bool:
        """Fills up from a queue; returns whether others were quicker with some."""
        if not most:
            return False
        sql = claim_sql(queue, waits=waits)
        values = {**self._values, "most": most}
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                if waits:
                    cursor.execute(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
                cursor.execute(sql, values)
                found = cursor.fetchall()
                if waits:
                    cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
        except IntegrityError:
            return True  # the same person claimed the same question in another tab
        except OperationalError as error:
            if isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
                return False
            raise
        rows = [_Held(*row) for row in found if row[0] is not None]
        self.held |= {row.question_id: row for row in rows}
        return len(found) > len(rows)


def claim_values(
    project: Project,
    user: User,
    queue: str = Queue.PRIORITY,
    codes: Sequence[str] = (),
    *,
    limit: int = 1,
) -> dict[str, Any]:
    """What the statements of `claim_sql` take."""
    if len(set(codes)) != _CODES.get(Queue(queue), 0):
        raise ValueError(f"the queue {queue} does not take the codes {list(codes)}")
    mixed = queue == Queue.PRIORITY
    return {
        "project": project.pk,
        "user": user.pk,
        "limit": limit,
        "most": limit,
        "held": [Queue.PRIORITY, Queue.AUDIT] if mixed else [queue],
        "overlap": 1 if queue in REVIEW else project.overlap,
        "lease": timedelta(seconds=project.lease_s),
        "low_confidence": project.low_confidence,
        "codes": _with_old_codes(project, codes),
    }


def _with_old_codes(project: Project, codes: Sequence[str]) -> list[str]:
    """All codes that mean the same intents: a prediction may name an old one."""
    if not codes:
        return []
    intents = taxonomy.resolve_codes(project, codes)
    aliases = IntentAlias.objects.filter(intent__in=intents)
    return [
        *(intent.code for intent in intents),
        *aliases.values_list("code", flat=True),
    ]
