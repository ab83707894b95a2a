"""The one place that writes gold labels, their history, and what hangs on both.

Each function takes any number of questions at the cost of a few statements. It locks
their rows in the order of their ids, so two calls that share questions never wait for
each other, and it can rely on what it reads afterwards.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from psycopg.types.json import Jsonb

from labeling.labels.broken import DOUBTS_END
from labeling.models import BulkAction, Intent, LabelChange

_LOCK = """
SELECT id, project_id FROM labeling_question
WHERE id = ANY(%(ids)s) ORDER BY id FOR NO KEY UPDATE
"""

# What a question's label is right now, for the history. It reads the snapshot from
# before the statement's own writes.
_WAS = """
WITH was AS (
    SELECT q.id, q.state, g.ids,
        CASE WHEN q.state <> 'open' OR g.ids <> '{}' THEN jsonb_build_object(
            'state', q.state, 'codes', g.codes, 'source', g.source,
            'by', g.set_by, 'at', coalesce(g.set_at, q.labelled_at)) END AS before
    FROM labeling_question q CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(g.intent_id ORDER BY g.intent_id), '{}') AS ids,
            coalesce(jsonb_agg(i.code ORDER BY i.code), '[]') AS codes,
            max(g.source) AS source, max(g.set_by_id) AS set_by, max(g.set_at) AS set_at
        FROM labeling_goldlabel g JOIN labeling_intent i ON i.id = g.intent_id
        WHERE g.question_id = q.id
    ) g
    WHERE q.id = ANY(%(ids)s)
)"""

_SET = f"""{_WAS}, dropped AS (
    DELETE FROM labeling_goldlabel
    WHERE question_id = ANY(%(ids)s) AND intent_id <> ALL(%(intents)s)
), added AS (
    INSERT INTO labeling_goldlabel (question_id, intent_id, source, set_by_id, set_at)
    SELECT was.id, intent, %(source)s, %(by)s, statement_timestamp()
    FROM was CROSS JOIN unnest(%(intents)s::bigint[]) AS intent
    -- The same label confirmed: who vouches for it changes, what was learned does not.
    ON CONFLICT (question_id, intent_id) DO UPDATE SET
        source = excluded.source, set_by_id = excluded.set_by_id,
        set_at = excluded.set_at
), freed AS (
    DELETE FROM labeling_lease WHERE question_id = ANY(%(ids)s)
), seen AS (
    UPDATE labeling_embedding SET is_labelled = true
    WHERE question_id = ANY(%(ids)s) AND NOT is_labelled
), told AS (
    INSERT INTO labeling_labelchange
        (question_id, kind, before, after, reason, comment, bulk_id, by_id, at)
    SELECT id, %(kind)s, before, %(codes)s, %(reason)s, %(comment)s, %(bulk)s,
        %(by)s, statement_timestamp()
    FROM was WHERE %(kind)s <> '' ORDER BY id
)
UPDATE labeling_question q SET
    state = 'labelled', labelled_at = statement_timestamp(), {DOUBTS_END},
    trained_in = CASE WHEN was.state = 'labelled' AND was.ids = %(intents)s::bigint[]
        THEN q.trained_in ELSE '' END
FROM was WHERE q.id = was.id
"""  # noqa: S608 (constants of this module only)

_CLEAR = f"""{_WAS}, dropped AS (
    DELETE FROM labeling_goldlabel WHERE question_id = ANY(%(ids)s)
), unseen AS (
    UPDATE labeling_embedding SET is_labelled = false
    WHERE question_id = ANY(%(ids)s) AND is_labelled
), told AS (
    INSERT INTO labeling_labelchange
        (question_id, kind, before, after, reason, comment, bulk_id, by_id, at)
    SELECT id, %(kind)s, before, NULL, '', %(comment)s, %(bulk)s, %(by)s,
        statement_timestamp()
    FROM was WHERE before IS NOT NULL ORDER BY id
)
UPDATE labeling_question q SET
    state = 'open', labelled_at = NULL, {DOUBTS_END}, trained_in = ''
FROM was WHERE q.id = was.id AND was.before IS NOT NULL
"""  # noqa: S608 (constants of this module only)

_GIVE_UP = f"""{_WAS}, freed AS (
    DELETE FROM labeling_lease WHERE question_id = ANY(%(ids)s)
), told AS (
    INSERT INTO labeling_labelchange
        (question_id, kind, before, after, reason, comment, bulk_id, by_id, at)
    SELECT id, 'adjudication', before, NULL, '', %(comment)s, NULL, %(by)s,
        statement_timestamp()
    FROM was WHERE state = 'disputed' ORDER BY id
)
UPDATE labeling_question q SET state = 'skipped'
FROM was WHERE q.id = was.id AND was.state = 'disputed'
"""  # noqa: S608 (constants of this module only)

_FORGET_VERDICTS = """
WITH gone AS (
    SELECT id FROM labeling_annotation WHERE question_id = ANY(%(ids)s)
), named AS (
    DELETE FROM labeling_annotation_intents WHERE annotation_id IN (SELECT id FROM gone)
)
DELETE FROM labeling_annotation WHERE id IN (SELECT id FROM gone)
"""

_TAKE_SLOTS = """
INSERT INTO labeling_lease
    (question_id, slot, holder_id, token, claimed_at, expires_at)
SELECT free.id, free.slot, answer.annotator_id, nextval('labeling_lease_token'),
    statement_timestamp(), NULL
FROM (
    SELECT q.id, s.slot, row_number() OVER (PARTITION BY q.id ORDER BY s.slot) AS place
    FROM labeling_question q JOIN labeling_project p ON p.id = q.project_id
    CROSS JOIN LATERAL generate_series(0, p.overlap - 1) AS s (slot)
    WHERE q.id = ANY(%(ids)s) AND q.state = 'open' AND NOT EXISTS (
        SELECT FROM labeling_lease l WHERE l.question_id = q.id AND l.slot = s.slot)
) free JOIN (
    SELECT a.question_id, a.annotator_id, row_number() OVER (
        PARTITION BY a.question_id ORDER BY a.created_at, a.id) AS place
    FROM labeling_annotation a
    WHERE a.question_id = ANY(%(ids)s) AND NOT EXISTS (
        SELECT FROM labeling_lease l
        WHERE l.question_id = a.question_id AND l.holder_id = a.annotator_id)
) answer ON answer.question_id = free.id AND answer.place = free.place
"""

NEWEST = """
SELECT c.id, c.bulk_id FROM labeling_labelchange c
WHERE c.question_id = q.id AND NOT EXISTS (
    SELECT FROM labeling_labelchange back
    WHERE back.question_id = q.id AND back.bulk_id = c.bulk_id AND back.kind = 'undo'
)
ORDER BY c.id DESC LIMIT 1
"""
"""SQL, to be joined laterally to a question `q`: the change that nobody built on.

What a bulk action did and had taken back on this question counts as never done; the
action may be taken back and stand here all the same, where a later one kept it.
"""

_NEWEST = f"""
SELECT newest.id, q.id FROM labeling_question q CROSS JOIN LATERAL ({NEWEST}) newest
WHERE q.id = ANY(%(ids)s)
    AND (newest.bulk_id = %(bulk)s OR newest.id = %(change)s)
"""  # noqa: S608 (constants of this module only)

# Codes outlive merges and renames as aliases; a label of which a code is gone for good
# can't come back.
_RESTORE = f"""{_WAS}, change AS (
    SELECT question_id, before FROM labeling_labelchange WHERE id = ANY(%(changes)s)
), code AS (
    SELECT change.question_id, coalesce(
        (SELECT i.id FROM labeling_intent i
         WHERE i.project_id = q.project_id AND i.code = named.code),
        (SELECT a.intent_id FROM labeling_intentalias a
         WHERE a.project_id = q.project_id AND a.code = named.code)) AS intent
    FROM change JOIN labeling_question q ON q.id = change.question_id
    CROSS JOIN LATERAL jsonb_array_elements_text(change.before -> 'codes') named (code)
), goal AS (
    SELECT change.question_id AS id, coalesce(wanted.ids, '{{}}') AS ids, change.before,
        CASE WHEN change.before IS NULL OR wanted.is_lost THEN 'open'
            ELSE change.before ->> 'state' END AS state
    -- Grouped and joined once: looked up for each question, it would be quadratic.
    FROM change LEFT JOIN (
        SELECT question_id, array_agg(DISTINCT intent) AS ids,
            bool_or(intent IS NULL) AS is_lost
        FROM code GROUP BY question_id
    ) wanted USING (question_id)
), dropped AS (
    DELETE FROM labeling_goldlabel g USING goal WHERE g.question_id = goal.id
        AND (goal.state = 'open' OR g.intent_id <> ALL(goal.ids))
), added AS (
    INSERT INTO labeling_goldlabel (question_id, intent_id, source, set_by_id, set_at)
    SELECT goal.id, intent, before ->> 'source', (before ->> 'by')::bigint,
        (before ->> 'at')::timestamptz
    FROM goal CROSS JOIN LATERAL unnest(goal.ids) AS intent WHERE state <> 'open'
    ON CONFLICT (question_id, intent_id) DO UPDATE SET
        source = excluded.source, set_by_id = excluded.set_by_id,
        set_at = excluded.set_at
), freed AS (
    DELETE FROM labeling_lease WHERE question_id = ANY(%(ids)s)
), seen AS (
    UPDATE labeling_embedding e SET is_labelled = goal.state = 'labelled'
    FROM goal WHERE e.question_id = goal.id
        AND e.is_labelled <> (goal.state = 'labelled')
), told AS (
    INSERT INTO labeling_labelchange
        (question_id, kind, before, after, reason, comment, bulk_id, by_id, at)
    SELECT was.id, 'undo', was.before,
        CASE WHEN goal.state = 'labelled' THEN goal.before -> 'codes' END,
        '', '', %(bulk)s, %(by)s, statement_timestamp()
    FROM was JOIN goal USING (id) ORDER BY was.id
)
UPDATE labeling_question q SET
    state = goal.state, {DOUBTS_END},
    labelled_at = CASE WHEN goal.state = 'labelled'
        THEN (goal.before ->> 'at')::timestamptz END,
    trained_in = CASE WHEN goal.state = 'labelled' AND was.ids = goal.ids
        THEN q.trained_in ELSE '' END
FROM goal JOIN was USING (id) WHERE q.id = goal.id
"""  # noqa: S608 (constants of this module only)


@transaction.atomic
def set_gold(
    question_ids: Iterable[int],
    intents: Sequence[Intent],
    *,
    source: str,
    by: User | None,
    kind: str,
    reason: str = "",
    comment: str = "",
    bulk: BulkAction | None = None,
) -> int:
    """Makes these intents the gold labels of questions, and the questions labelled.

    A changed label counts as not yet learned by any version; leases end, because the
    questions leave the queue.

    Args:
        question_ids: Questions of the intents' project; unknown ones are left out.
        intents: All the gold intents of each; none in a multi-intent project: labelled
            as naming no intent.
        source: A `GoldLabel.Source`.
        by: Who vouches for it; None for a command.
        kind: A `LabelChange.Kind` for the history; "" leaves none (imports).
        reason: A `LabelChange.Reason` of an adjudication.
        bulk: The bulk action that it is part of.

    Returns:
        How many questions were labelled.

    Raises:
        ValueError: An intent is of another project than a question.

    Cost: two statements.
    """
    ids = _lock(question_ids, project_ids={intent.project_id for intent in intents})
    values = {
        "ids": ids,
        "intents": sorted({intent.pk for intent in intents}),
        "codes": Jsonb(sorted({intent.code for intent in intents})),
        "source": source,
        "kind": kind,
        "reason": reason,
        "comment": comment,
        "bulk": bulk and bulk.pk,
        "by": by and by.pk,
    }
    return _run(_SET, values)


@transaction.atomic
def clear(
    question_ids: Iterable[int],
    *,
    by: User | None,
    kind: str,
    comment: str = "",
    bulk: BulkAction | None = None,
    anew: bool = False,
) -> int:
    """Takes questions' gold labels away and puts the questions back into the queue.

    Questions that are open and without a label stay as they are.

    Args:
        kind: A `LabelChange.Kind` for the history.
        anew: Also forget all verdicts, so that everybody may be asked again. Otherwise
            verdicts that remain hold their slots: a caller who asks only for some
            again deletes those annotations first.

    Returns:
        How many questions were put back.

    Cost: four statements, five with `anew`.
    """
    ids = _lock(question_ids)
    if anew:
        _run(_FORGET_VERDICTS, {"ids": ids})
    values = {
        "ids": ids,
        "kind": kind,
        "comment": comment,
        "bulk": bulk and bulk.pk,
        "by": by and by.pk,
    }
    count = _run(_CLEAR, values)
    take_slots(ids)
    return count


@transaction.atomic
def restore(bulk: BulkAction, *, by: User | None) -> int:
    """Puts back the labels from before a bulk action, with whose and since when.

    Questions whose label was changed since are left as they are; changes by bulk
    actions that were taken back do not count. Delete the action's annotations first:
    the verdicts that remain take their slots again.

    Returns:
        How many questions were put back.

    Cost: four statements.
    """
    changed = LabelChange.objects.filter(bulk=bulk).exclude(kind=LabelChange.Kind.UNDO)
    ids = _lock(changed.values_list("question_id", flat=True))
    return _restore(ids, by=by, bulk=bulk)


@transaction.atomic
def take_back(change: LabelChange, *, by: User | None) -> bool:
    """Puts back what was before a change, if it is the newest of its question.

    Bulk actions that were taken back do not count.

    Returns:
        Whether it was.

    Cost: four statements.
    """
    ids = _lock([change.question_id])
    return _restore(ids, by=by, change=change) == 1


@transaction.atomic
def give_up(question_ids: Iterable[int], *, by: User | None, comment: str = "") -> int:
    """Takes disputed questions out of the queue without a label, as a reviewer's word.

    Returns:
        How many they were.

    Cost: two statements.
    """
    values = {"ids": _lock(question_ids), "comment": comment, "by": by and by.pk}
    return _run(_GIVE_UP, values)


def take_slots(question_ids: Sequence[int]) -> int:
    """Gives the verdicts on open questions the slots that they held.

    Leases end when a question is settled; without this, more people than the overlap
    would be asked once it is open again. The caller holds the rows' locks.

    Returns:
        How many slots were taken.

    Cost: one statement.
    """
    return _run(_TAKE_SLOTS, {"ids": list(question_ids)})


def _restore(
    ids: list[int],
    *,
    by: User | None,
    bulk: BulkAction | None = None,
    change: LabelChange | None = None,
) -> int:
    """Takes the change, or those of the bulk action, back where it is the newest."""
    values: dict[str, Any] = {
        "ids": ids,
        "bulk": bulk and bulk.pk,
        "change": change and change.pk,
        "by": by and by.pk,
    }
    with connection.cursor() as cursor:
        cursor.execute(_NEWEST, values)
        newest: dict[int, int] = dict(cursor.fetchall())
    values |= {"ids": list(newest.values()), "changes": list(newest)}
    count = _run(_RESTORE, values)
    take_slots(values["ids"])
    return count


def _lock(
    question_ids: Iterable[int], *, project_ids: set[int] | None = None
) -> list[int]:
    """The ids of those that exist, in order, their rows locked."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, {"ids": list(question_ids)})
        rows: list[tuple[int, int]] = cursor.fetchall()
    if project_ids and rows and project_ids != {project for _pk, project in rows}:
        raise ValueError("questions and intents are not of one project")
    return [pk for pk, _project in rows]


def _run(sql: str, values: dict[str, Any]) -> int:
    """How many rows the statement wrote at its end."""
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)
