"""Taking a bulk action back: what nobody worked on since is as it was before."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling import access
from labeling.bulk.labelling import LOCK
from labeling.labels import gold
from labeling.labels.annotations import CannotUndo
from labeling.models import BulkAction, Membership
from labeling.ranking import priority

_QUESTIONS = """
SELECT question_id FROM labeling_annotation WHERE bulk_id = %(bulk)s
UNION
SELECT question_id FROM labeling_labelchange
WHERE bulk_id = %(bulk)s AND kind <> 'undo'
"""

# What is still there of the action on each of its questions: `label`, its gold is the
# newest; `verdict`, others are still to be asked; `dispute`, its verdict was the last.
# Nothing of these: somebody has built on it.
_TRACES = f"""
SELECT q.id, CASE
    WHEN newest.bulk_id = %(bulk)s THEN 'label'
    WHEN EXISTS (
        SELECT FROM labeling_labelchange c
        WHERE c.question_id = q.id AND c.bulk_id = %(bulk)s
    ) THEN ''
    WHEN q.state = 'open' THEN 'verdict'
    WHEN q.state = 'disputed' AND NOT EXISTS (
        SELECT FROM labeling_annotation other
        WHERE other.question_id = q.id AND other.updated_at > ours.updated_at
    ) THEN 'dispute'
    ELSE '' END
FROM labeling_question q
LEFT JOIN labeling_annotation ours
    ON ours.question_id = q.id AND ours.bulk_id = %(bulk)s
LEFT JOIN LATERAL ({gold.NEWEST}) newest ON true
WHERE q.id = ANY (%(ids)s)
"""  # noqa: S608 (constants only)

_WITHDRAW = """
WITH gone AS (
    SELECT id, question_id, annotator_id FROM labeling_annotation
    WHERE bulk_id = %(bulk)s AND question_id = ANY (%(ids)s)
), said AS (
    DELETE FROM labeling_annotation_intents
    WHERE annotation_id IN (SELECT id FROM gone)
), held AS (
    DELETE FROM labeling_lease l USING gone
    WHERE l.question_id = gone.question_id AND l.holder_id = gone.annotator_id
)
DELETE FROM labeling_annotation WHERE id IN (SELECT id FROM gone)
"""

_REOPEN = """
UPDATE labeling_question SET state = 'open'
WHERE id = ANY (%(ids)s) AND state = 'disputed'
"""


@dataclass(frozen=True)
class Undone:
    """What came of taking a bulk action back."""

    action: BulkAction
    count: int
    """Questions that are as they were before."""
    kept: int
    """Questions that somebody has worked on since; they stay."""


@transaction.atomic
def undo(action: BulkAction, *, by: User) -> Undone:
    """Takes a bulk action back: its verdicts go, and the labels of before return.

    Questions that were labelled again since stay as they are; labels of actions that
    were taken back themselves do not count.

    Args:
        action: Of any age, whatever came after it.
        by: Whoever did it, or a reviewer.

    Raises:
        PermissionDenied: Somebody else's action, and no reviewer.
        CannotUndo: It was taken back before, or nothing of it is left.

    Cost: about a dozen statements, whatever the number of questions.
    """
    action = BulkAction.objects.select_for_update(of=("self",)).get(pk=action.pk)
    own = action.by_id == by.pk
    role = Membership.Role.ANNOTATOR if own else Membership.Role.REVIEWER
    access.require(by, action.project, role)
    if action.undone_at is not None:
        raise CannotUndo(_("This has been taken back already."))
    values: dict[str, Any] = {"bulk": action.pk}
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS, values)
        values["ids"] = [pk for (pk,) in cursor.fetchall()]
        cursor.execute(LOCK, values)
        # A statement of its own: it sees what was committed while that one waited.
        cursor.execute(_TRACES, values)
        trace: dict[int, str] = dict(cursor.fetchall())
        values["ids"] = [pk for pk, left in trace.items() if left]
        cursor.execute(_WITHDRAW, values)
    if not values["ids"]:
        raise CannotUndo(_("All these questions have been labelled again since."))
    gold.restore(action, by=by)
    _reopen(action, [pk for pk, left in trace.items() if left == "dispute"])
    action.undone_at, action.undone_by = timezone.now(), by
    action.save(update_fields=["undone_at", "undone_by"])
    count = sum(bool(left) for left in trace.values())
    return Undone(action, count, kept=len(trace) - count)


def _reopen(action: BulkAction, disputed: list[int]) -> None:
    """Puts questions back into the queue that only the action's verdict disputed."""
    if not disputed:
        return
    with connection.cursor() as cursor:
        cursor.execute(_REOPEN, {"ids": disputed})
    gold.take_slots(disputed)
    priority.recompute(action.project_id, disputed)
