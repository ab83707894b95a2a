"""The step itself: verdicts, gold and history of up to ten thousand questions.

Open questions get a verdict of the person, like those that are labelled one by one; a
reviewer's is the last word at once, an annotator's counts as one of the project's
overlap. Questions that were settled before are adjudicated: they get gold but no
verdict, so that the annotators' agreement stays what it was.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import OperationalError, connection
from django.utils.translation import gettext as _
from psycopg.errors import DeadlockDetected

from labeling import taxonomy
from labeling.bulk import fates
from labeling.labels import annotations, gold
from labeling.models import BulkAction, GoldLabel, Intent, LabelChange, Project

LOCK = """
SELECT id FROM labeling_question WHERE id = ANY (%(ids)s)
ORDER BY id FOR NO KEY UPDATE
"""

# A verdict that the person gave before stays as it was.
_ANNOTATE = """
WITH written AS (
    INSERT INTO labeling_annotation (
        question_id, annotator_id, verdict, comment, queue, is_blind,
        suggested, suggested_by, bulk_id, created_at, updated_at)
    SELECT id, %(user)s, 'label', '', '', false,
        left(coalesce(predicted -> 0 ->> 'code', ''), 100), predicted_by, %(bulk)s,
        statement_timestamp(), statement_timestamp()
    FROM labeling_question WHERE id = ANY (%(ids)s) ORDER BY id
    ON CONFLICT (question_id, annotator_id) DO NOTHING
    RETURNING id
)
INSERT INTO labeling_annotation_intents (annotation_id, intent_id)
SELECT written.id, intent FROM written CROSS JOIN unnest(%(intents)s::bigint[]) intent
"""

_COMPLETE = """
SELECT a.question_id, count(DISTINCT (a.verdict, said.ids)) = 1
FROM labeling_annotation a CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(intent_id ORDER BY intent_id), '{}') AS ids
    FROM labeling_annotation_intents WHERE annotation_id = a.id
) said
WHERE a.question_id = ANY (%(ids)s)
GROUP BY a.question_id HAVING count(*) >= %(overlap)s
"""

# The person's slot is answered; an expired lease of somebody else keeps none.
_ANSWER = """
WITH answered AS (
    UPDATE labeling_lease SET expires_at = NULL
    WHERE question_id = ANY (%(ids)s) AND holder_id = %(user)s
)
DELETE FROM labeling_lease WHERE question_id = ANY (%(ids)s)
    AND holder_id <> %(user)s AND expires_at <= statement_timestamp()
"""


class NothingToLabel(RuntimeError):
    """None of the questions can be labelled; `preview` says why."""

    def __init__(self, preview: fates.Preview) -> None:
        self.preview = preview
        super().__init__(_("None of these questions can be labelled by you right now."))


def label(
    project: Project,
    user: User,
    *,
    question_ids: Iterable[int],
    codes: Sequence[str],
    kind: str,
    description: str = "",
) -> BulkAction:
    """Labels many questions in one step.

    Args:
        project: Theirs; ids of other projects are left out.
        user: A member, who judges them.
        question_ids: At most `fates.MOST`.
        codes: The intents of each question, old codes too.
        kind: A `BulkAction.Kind`.
        description: What was chosen, in words.

    Returns:
        The action; its `count` says how many questions were labelled.

    Raises:
        PermissionDenied: The person is not a member of the project.
        UnknownIntent: A code names no intent in use.
        InvalidVerdict: The project does not take that many intents a question.
        TooMany: More than one step takes.
        NothingToLabel: All of them were left out; nothing was written.

    Cost: about a dozen statements, whatever the number of questions; 10,000 of them
    take about 2 s, in which claims and submits of others pass them by or wait.
    """
    ids = fates.bounded(question_ids)
    try:
        return _label(project, user, ids, codes, kind, description)
    except OperationalError as error:
        # A claim of the same person locks a lease before its question.
        is_deadlock = isinstance(error.__cause__, DeadlockDetected)
        if not is_deadlock or connection.in_atomic_block:
            raise
    return _label(project, user, ids, codes, kind, description)


@taxonomy.again_if_merged
def _label(
    project: Project,
    user: User,
    ids: list[int],
    codes: Sequence[str],
    kind: str,
    description: str,
) -> BulkAction:
    intents = fates.resolve(project, codes)
    values = fates.parameters(project, user, ids, intents)
    with connection.cursor() as cursor:
        cursor.execute(LOCK, values)
        # A statement of its own: it sees what was committed while that one waited.
        cursor.execute(fates.FATES, values)
        rows = cursor.fetchall()
    fresh = [pk for pk, _state, _codes, fate in rows if fate == "open"]
    settled = [pk for pk, _state, _codes, fate in rows if fate == "change"]
    if not fresh and not settled:
        counts = Counter((fate, state, tuple(had)) for _pk, state, had, fate in rows)
        reasons = ((*key[:2], list(key[2]), n) for key, n in counts.items())
        raise NothingToLabel(fates.summary(intents, reasons))
    action = BulkAction.objects.create(
        project=project,
        kind=BulkAction.Kind(kind),
        codes=[intent.code for intent in intents],
        description=description,
        count=len(fresh) + len(settled),
        by=user,
    )
    agreed = _judge(action, fresh, values)
    _set_gold(action, agreed, intents, GoldLabel.Source.ANNOTATION)
    _set_gold(action, settled, intents, GoldLabel.Source.ADJUDICATION)
    return action


def _judge(action: BulkAction, ids: list[int], values: dict[str, Any]) -> list[int]:
    """Writes the person's verdicts on open questions; returns what becomes gold."""
    overlap = action.project.overlap
    values = {**values, "ids": ids, "bulk": action.pk, "overlap": overlap}
    with connection.cursor() as cursor:
        cursor.execute(_ANNOTATE, values)
        if values["may_change"]:
            return ids
        cursor.execute(_COMPLETE, values)
        is_agreed: dict[int, bool] = dict(cursor.fetchall())
        waiting = [pk for pk in ids if pk not in is_agreed]
        cursor.execute(_ANSWER, {**values, "ids": waiting})
        disputed = [pk for pk in ids if is_agreed.get(pk) is False]
    annotations.dispute(disputed)
    gold.take_slots(waiting)
    return [pk for pk in ids if is_agreed.get(pk)]


def _set_gold(
    action: BulkAction, ids: list[int], intents: Sequence[Intent], source: str
) -> None:
    if ids:
        gold.set_gold(
            ids,
            intents,
            source=source,
            by=action.by,
            kind=LabelChange.Kind.BULK,
            bulk=action,
        )
