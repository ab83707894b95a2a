"""The labelling queue: claim a question, keep it, answer it, give it back.

A lease names a person, a slot of the question and a fencing token. The token is the
truth: expiry only says that others may take the question. So a verdict that comes late
counts as long as nobody took over, and a verdict with an older token never does.

Who may label is checked where a call comes in (page, API), not here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import User
from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext as _
from psycopg.errors import DeadlockDetected, LockNotAvailable

from labeling import annotations, taxonomy
from labeling.annotations import CannotUndo
from labeling.models import Annotation, Lease, Project, Question

MAX_CLAIM = 50
"""Most questions that one person may hold at once."""
_PATIENCE_MS = 1000
"""How long a claim waits for a question that somebody is just answering."""
_TRIES = 8
"""A claim that meets a newer one looks again, at most so often."""


class StaleLease(RuntimeError):
    """The lease is gone: taken over, released, or the question was settled."""


_Row = tuple[int, int, datetime, bool]
"""Question, token, expiry, and whether the person held it before."""


@dataclass(frozen=True)
class Claimed:
    """A question that somebody holds."""

    question: Question
    token: int
    """Send it back with the verdict."""
    expires_at: datetime
    comment: str = ""
    """After an undo: what the person had written."""


# Walks the index `question_queue` from its start, so nothing is sorted or counted.
# - `mine`: what the person holds already comes back first, renewed: a reloaded page
#   shows the same question.
# - `picked`: row locks keep concurrent claims apart; SKIP LOCKED keeps them from
#   queueing. Only when everything else is gone the claim waits for locked rows: else a
#   queue would look empty while its last questions are being claimed or answered.
#   A person who held a slot of the question before gets that slot, because
#   (question, holder) is unique too.
# - `taken`: a claim may have been committed after this statement's snapshot and freed
#   its row lock. Then the unique (question, slot) collides, the lease found there is
#   alive, and the WHERE yields no row: the caller tries again with a new snapshot. It
#   knows by the rows of nulls, one for each row of `picked`.
# - `LIMIT` is a constant, so that the planner knows to expect few rows.
_CLAIM = """
WITH mine AS (
    UPDATE labeling_lease l SET expires_at = statement_timestamp() + %(lease)s
    FROM labeling_question q
    WHERE l.holder_id = %(user)s AND l.expires_at > statement_timestamp()
      AND q.id = l.question_id AND q.project_id = %(project)s AND q.state = 'open'
    RETURNING l.question_id, l.token, l.expires_at, true AS held
), picked AS (
    SELECT q.id, free.slot, q.priority
    FROM labeling_question q CROSS JOIN LATERAL (
        SELECT s.slot FROM generate_series(0, %(overlap)s - 1) AS s (slot)
        WHERE NOT EXISTS (
            SELECT FROM labeling_lease l
            WHERE l.question_id = q.id AND l.slot = s.slot
              AND (l.expires_at > statement_timestamp() OR l.expires_at IS NULL)
        )
        ORDER BY EXISTS (
            SELECT FROM labeling_lease l
            WHERE l.question_id = q.id AND l.slot = s.slot
              AND l.holder_id = %(user)s
        ) DESC, s.slot
        LIMIT 1
    ) free
    WHERE q.project_id = %(project)s AND q.state = 'open'
      AND (SELECT count(*) FROM mine) < %(limit)s
      AND NOT EXISTS (
        SELECT FROM labeling_annotation a
        WHERE a.question_id = q.id AND a.annotator_id = %(user)s
      )
      AND NOT EXISTS (
        SELECT FROM labeling_lease l
        WHERE l.question_id = q.id AND l.holder_id = %(user)s
          AND l.expires_at > statement_timestamp()
      )
    ORDER BY q.priority DESC, q.id
    LIMIT %(limit)s
    FOR NO KEY UPDATE OF q %(locked)s
), wanted AS (
    SELECT id, slot FROM (
        SELECT id, slot, row_number() OVER (ORDER BY priority DESC, id) AS place
        FROM picked
    ) p WHERE place <= %(limit)s - (SELECT count(*) FROM mine)
), taken AS (
    INSERT INTO labeling_lease AS l
        (question_id, slot, holder_id, token, claimed_at, expires_at)
    SELECT id, slot, %(user)s, nextval('labeling_lease_token'),
        statement_timestamp(), statement_timestamp() + %(lease)s
    FROM wanted
    ON CONFLICT (question_id, slot) DO UPDATE SET
        holder_id = excluded.holder_id, token = excluded.token,
        claimed_at = excluded.claimed_at, expires_at = excluded.expires_at
    WHERE l.expires_at <= statement_timestamp()
    RETURNING l.question_id, l.token, l.expires_at, false AS held
)
SELECT question_id, token, expires_at, held FROM mine
UNION ALL
SELECT question_id, token, expires_at, held FROM taken
UNION ALL
SELECT NULL, NULL, NULL, NULL FROM picked
"""
CLAIM_SQL = _CLAIM.replace("%(locked)s", "SKIP LOCKED")
_WAITING_CLAIM_SQL = _CLAIM.replace("%(locked)s", "")


def claim(project: Project, user: User, *, limit: int = 1) -> list[Claimed]:
    """Hands questions to a person: those they hold already, then the next in line.

    Args:
        project: Whose questions.
        user: Who labels them.
        limit: Most questions to return, at most `MAX_CLAIM`.

    Returns:
        Held ones first, latest claim first, then by priority. Empty when nothing is
        left for this person.

    Cost: one statement, and one to read the questions. Where the first finds nothing,
    one more that waits for others, `_PATIENCE_MS` at most.
    """
    limit = max(1, min(limit, MAX_CLAIM))
    values = claim_values(project, user, limit)
    rows, _collided = _run(CLAIM_SQL, values)
    for _try in range(_TRIES):
        if rows:
            break
        rows, collided = _run(_WAITING_CLAIM_SQL, values)
        if not collided:
            break
    return _in_order(rows)[:limit]


def _run(sql: str, values: dict[str, Any]) -> tuple[list[_Row], bool]:
    """The rows that a claim got, and whether others were quicker with some."""
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            if sql is _WAITING_CLAIM_SQL:
                cursor.execute(f"SET LOCAL lock_timeout = {_PATIENCE_MS}")
            cursor.execute(sql, values)
            found = cursor.fetchall()
            if sql is _WAITING_CLAIM_SQL:
                cursor.execute("SET LOCAL lock_timeout TO DEFAULT")
    except IntegrityError:
        return [], True  # the same person claimed the same question in another tab
    except OperationalError as error:
        if isinstance(error.__cause__, LockNotAvailable | DeadlockDetected):
            return [], False
        raise
    rows = [row for row in found if row[0] is not None]
    return rows, len(found) > len(rows)


def claim_values(project: Project, user: User, limit: int) -> dict[str, Any]:
    """What `CLAIM_SQL` takes."""
    return {
        "project": project.pk,
        "user": user.pk,
        "limit": limit,
        "overlap": project.overlap,
        "lease": timedelta(seconds=project.lease_s),
    }


def _in_order(rows: list[_Row]) -> list[Claimed]:
    questions = Question.objects.select_related("project").in_bulk(
        [question_id for question_id, *_rest in rows]
    )
    rows.sort(
        key=lambda row: (
            (0, -row[1], 0) if row[3] else (1, -questions[row[0]].priority, row[0])
        )
    )
    return [
        Claimed(questions[question_id], token, expires_at)
        for question_id, token, expires_at, _held in rows
    ]


_RENEW = """
UPDATE labeling_lease l
SET expires_at = statement_timestamp() + p.lease_s * interval '1 second'
FROM labeling_question q JOIN labeling_project p ON p.id = q.project_id
WHERE l.question_id = %(question)s AND l.holder_id = %(user)s AND l.token = %(token)s
  AND l.expires_at IS NOT NULL AND q.id = l.question_id AND q.state = 'open'
RETURNING l.expires_at
"""


def renew(question_id: int, user: User, *, token: int) -> datetime:
    """Keeps a question for another lease; returns until when. One statement.

    Raises:
        StaleLease: The lease is gone.
    """
    values = {"question": question_id, "user": user.pk, "token": token}
    with connection.cursor() as cursor:
        cursor.execute(_RENEW, values)
        row = cursor.fetchone()
    if row is None:
        raise StaleLease(_why_gone(question_id, user))
    until: datetime = row[0]
    return until


def release(question_id: int, user: User, *, token: int) -> None:
    """Gives a question back to the queue; giving back twice changes nothing."""
    Lease.objects.filter(
        question_id=question_id, holder=user, token=token, expires_at__isnull=False
    ).delete()


@transaction.atomic
def submit(
    question_id: int,
    user: User,
    *,
    token: int,
    intents: Sequence[str],
    comment: str = "",
    time_spent_ms: int | None = None,
) -> Annotation:
    """Records a person's label for a question that they hold.

    A repeated submit of the same label, for example after a lost connection, returns
    what was recorded.

    Args:
        intents: Codes, old ones too; exactly one in a single-intent project.

    Raises:
        StaleLease: Somebody else holds the question by now, or it was settled.
        UnknownIntent: A code names no intent in use.
        InvalidVerdict: The project does not take that many intents a question.
        Question.DoesNotExist: There is no such question.
    """
    question = annotations.lock(question_id)
    resolved = taxonomy.resolve_codes(question.project, intents)
    annotations.check_intents(question.project, resolved)
    if not _answer(question, user, token):
        recorded = Annotation.objects.filter(
            question=question, annotator=user, verdict=Annotation.Verdict.LABEL
        ).first()
        if recorded is not None and set(recorded.intents.all()) == set(resolved):
            return recorded
        raise StaleLease(_why_gone(question_id, user))
    return annotations.record(
        question,
        user,
        verdict=Annotation.Verdict.LABEL,
        intents=resolved,
        comment=comment,
        time_spent_ms=time_spent_ms,
    )


@transaction.atomic
def skip(
    question_id: int,
    user: User,
    *,
    token: int,
    reason: str = "",
    time_spent_ms: int | None = None,
) -> Annotation:
    """Records that a person passes on a question that they hold.

    Raises:
        StaleLease: Somebody else holds the question by now, or it was settled.
        Question.DoesNotExist: There is no such question.
    """
    question = annotations.lock(question_id)
    if not _answer(question, user, token):
        recorded = Annotation.objects.filter(
            question=question, annotator=user, verdict=Annotation.Verdict.SKIP
        ).first()
        if recorded is not None:
            return recorded
        raise StaleLease(_why_gone(question_id, user))
    return annotations.record(
        question,
        user,
        verdict=Annotation.Verdict.SKIP,
        comment=reason,
        time_spent_ms=time_spent_ms,
    )


@transaction.atomic
def undo(project: Project, user: User) -> Claimed:
    """Takes back a person's latest verdict in a project and hands them its question.

    Called again, it goes one verdict further back. What they held stays theirs and
    comes back once the undone ones are answered.

    Raises:
        CannotUndo: Nothing to take back, or somebody else built on it.
    """
    last = (
        Annotation.objects.filter(annotator=user, question__project=project)
        .order_by("-updated_at", "-id")
        .first()
    )
    if last is None:
        raise CannotUndo(_("There is nothing to take back."))
    question = annotations.withdraw(last)
    now = timezone.now()
    # The question is locked, so nobody claims it meanwhile; an expired slot is free.
    leases = Lease.objects.filter(question=question)
    leases.filter(Q(holder=user) | Q(expires_at__lte=now)).delete()
    busy = set(leases.values_list("slot", flat=True))
    free = [slot for slot in range(project.overlap) if slot not in busy]
    if not free:
        raise CannotUndo(_("Somebody else is labelling that question right now."))
    lease = Lease.objects.create(
        question=question,
        slot=free[0],
        holder=user,
        token=annotations.next_token(),
        claimed_at=now,
        expires_at=now + timedelta(seconds=project.lease_s),
    )
    until = now + timedelta(seconds=project.lease_s)
    return Claimed(question, lease.token, until, comment=last.comment)


def _answer(question: Question, user: User, token: int) -> bool:
    """Whether the lease with this token is there and waits; its slot then stays."""
    if question.state != Question.State.OPEN:
        return False
    return bool(
        Lease.objects.filter(
            question=question, holder=user, token=token, expires_at__isnull=False
        ).update(expires_at=None)
    )


def _why_gone(question_id: int, user: User) -> str:
    if not Question.objects.filter(pk=question_id, state=Question.State.OPEN).exists():
        return _("This question has been settled meanwhile.")
    holder = Lease.objects.filter(question_id=question_id).exclude(holder=user).first()
    if holder is not None:
        return _("Somebody else has taken this question over.")
    return _("This question was given back to the queue.")
