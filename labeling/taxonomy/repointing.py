"""The SQL of a merge: whatever names one of some intents names another one then.

Set-based: a few statements whatever the number of labels. The caller holds the locks.
"""

from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.db.models.fields.reverse_related import ManyToOneRel

from labeling.labels.broken import DOUBTS_END
from labeling.models import Annotation, GoldLabel, Intent, IntentAlias, KeywordRule

_OF_THEM = """
    SELECT question_id FROM labeling_goldlabel WHERE intent_id = ANY(%(sources)s)
    UNION
    SELECT a.question_id FROM labeling_annotation_intents ai
    JOIN labeling_annotation a ON a.id = ai.annotation_id
    WHERE ai.intent_id = ANY(%(sources)s)
"""


def lock_questions(sources: list[int]) -> int:
    """Locks the questions that a label or a verdict gives to the intents, by id."""
    return _count(
        f"""
        SELECT count(*) FROM (
            SELECT id FROM labeling_question WHERE id IN ({_OF_THEM})
            ORDER BY id FOR NO KEY UPDATE
        ) locked
        """,  # noqa: S608 (constants of this module only)
        {"sources": sources},
    )


def labels(sources: list[int], target: int, *, by: User | None, comment: str) -> int:
    """Gives gold labels to the target and tells the history; returns how many.

    Unlike `gold.set_gold` it keeps who set a label and when, and what was learned: the
    label says the same, in another word. Of several on one question the newest stays.
    """
    values = {
        "sources": sources,
        "target": target,
        "by": by and by.pk,
        "comment": comment,
    }
    changed = _run(
        """
        INSERT INTO labeling_labelchange
            (question_id, kind, before, after, reason, comment, by_id, at)
        SELECT g.question_id, 'merge', jsonb_build_object(
                'state', q.state, 'codes', g.before, 'source', g.source,
                'by', g.set_by, 'at', g.set_at),
            g.after, '', %(comment)s, %(by)s, statement_timestamp()
        FROM (
            SELECT g.question_id,
                jsonb_agg(i.code ORDER BY i.code) AS before,
                jsonb_agg(DISTINCT t.code ORDER BY t.code) AS after,
                max(g.source) AS source, max(g.set_by_id) AS set_by,
                max(g.set_at) AS set_at
            FROM labeling_goldlabel g
            JOIN labeling_intent i ON i.id = g.intent_id
            JOIN labeling_intent t ON t.id = CASE
                WHEN g.intent_id = ANY(%(sources)s) THEN %(target)s
                ELSE g.intent_id END
            WHERE g.question_id IN (
                SELECT question_id FROM labeling_goldlabel
                WHERE intent_id = ANY(%(sources)s))
            GROUP BY g.question_id
        ) g JOIN labeling_question q ON q.id = g.question_id
        ORDER BY g.question_id
        """,
        values,
    )
    # A likely error among the merged intents need not be one any more.
    _run(
        f"""
        UPDATE labeling_question SET {DOUBTS_END}
        WHERE (suspicion IS NOT NULL OR broken_by IS NOT NULL) AND id IN (
            SELECT question_id FROM labeling_goldlabel
            WHERE intent_id = ANY(%(sources)s))
        """,  # noqa: S608 (a constant)
        values,
    )
    _run(_one_each("labeling_goldlabel", "question_id"), values)
    _run(
        """
        UPDATE labeling_goldlabel SET intent_id = %(target)s
        WHERE intent_id = ANY(%(sources)s)
        """,
        values,
    )
    return changed


def verdicts(sources: list[int], target: int) -> int:
    """Gives annotators' verdicts to the target; returns how many."""
    values = {"sources": sources, "target": target}
    _run(_one_each("labeling_annotation_intents", "annotation_id"), values)
    return _run(
        """
        UPDATE labeling_annotation_intents SET intent_id = %(target)s
        WHERE intent_id = ANY(%(sources)s)
        """,
        values,
    )


def _one_each(table: str, owner: str) -> str:
    """Deletes the sources' rows of owners that have the target or a newer source."""
    return f"""
        DELETE FROM {table} l USING {table} kept
        WHERE l.intent_id = ANY(%(sources)s) AND kept.{owner} = l.{owner} AND (
            kept.intent_id = %(target)s
            OR (kept.intent_id = ANY(%(sources)s) AND kept.id > l.id))
    """  # noqa: S608 (names from this module only)


def count_both(sources: list[int], target: int) -> int:
    """Questions that have several of the intents as their gold."""
    return _count(
        """
        SELECT count(*) FROM (
            SELECT question_id FROM labeling_goldlabel
            WHERE intent_id = ANY(%(sources)s) OR (
                intent_id = %(target)s AND question_id IN (
                    SELECT question_id FROM labeling_goldlabel
                    WHERE intent_id = ANY(%(sources)s)))
            GROUP BY question_id HAVING count(*) > 1
        ) several
        """,
        {"sources": sources, "target": target},
    )


# Of rules with one keyword: one that serves before one that waits before one that was
# switched off; then the surer one.
_RANKED_RULES = """
    SELECT id, sum(hits) OVER same AS all_hits, row_number() OVER (
        PARTITION BY pattern ORDER BY
            CASE state WHEN 'active' THEN 0 WHEN 'candidate' THEN 1 ELSE 2 END,
            success_low DESC NULLS LAST, support DESC, boost DESC, id) AS place
    FROM labeling_keywordrule
    WHERE intent_id = ANY(%(sources)s) OR intent_id = %(target)s
    WINDOW same AS (PARTITION BY pattern)
"""


def count_double_rules(sources: list[int], target: int) -> int:
    """Rules that `drop_double_rules` would delete."""
    return _count(
        f"SELECT count(*) FROM ({_RANKED_RULES}) r WHERE place > 1",  # noqa: S608
        {"sources": sources, "target": target},
    )


def drop_double_rules(sources: list[int], target: int) -> int:
    """Keeps the best of the rules with one keyword, with the hits of all."""
    return _count(
        f"""
        WITH ranked AS ({_RANKED_RULES}), kept AS (
            UPDATE labeling_keywordrule r SET hits = ranked.all_hits
            FROM ranked
            WHERE r.id = ranked.id AND place = 1 AND r.hits <> ranked.all_hits
        ), dropped AS (
            DELETE FROM labeling_keywordrule r USING ranked
            WHERE r.id = ranked.id AND place > 1 RETURNING r.id
        )
        SELECT count(*) FROM dropped
        """,  # noqa: S608 (constants of this module only)
        {"sources": sources, "target": target},
    )


def rules(sources: list[int], target: int) -> int:
    """Makes the sources' rules speak for the target; returns how many."""
    return KeywordRule.objects.filter(intent__in=sources).update(intent=target)


_HANDLED = {GoldLabel, Annotation.intents.through, KeywordRule, IntentAlias, Intent}


def others(sources: list[int], target: int) -> None:
    """Re-points all else that refers to the sources, e.g. clients' feedback.

    One statement a foreign key. None of them is part of a unique constraint but that of
    templates, whose doubles are gone by now.
    """
    for relation in Intent._meta.get_fields(include_hidden=True):
        if (
            isinstance(relation, ManyToOneRel)
            and relation.related_model not in _HANDLED
        ):
            model: Any = relation.related_model
            name = relation.field.name
            rows = model._base_manager.filter(**{f"{name}__in": sources})
            rows.update(**{name: target})


_AGREED = """
WITH verdict AS (
    SELECT a.question_id, a.verdict, (
        SELECT coalesce(array_agg(DISTINCT CASE
            WHEN ai.intent_id = ANY(%(sources)s) THEN %(target)s
            ELSE ai.intent_id END), '{}')
        FROM labeling_annotation_intents ai WHERE ai.annotation_id = a.id) AS intents
    FROM labeling_question q JOIN labeling_annotation a ON a.question_id = q.id
    WHERE q.project_id = %(project)s AND q.state = 'disputed'
)
SELECT v.question_id, min(v.intents)
FROM verdict v GROUP BY v.question_id
HAVING bool_and(v.verdict = 'label') AND count(DISTINCT v.intents) = 1
    AND %(target)s = ANY(min(v.intents))
    AND count(*) >= (SELECT overlap FROM labeling_project WHERE id = %(project)s)
ORDER BY v.question_id
"""


def agreed(
    project_id: int, sources: list[int], target: int
) -> list[tuple[int, tuple[int, ...]]]:
    """Disputed questions whose verdicts all say the same, the sources read as target.

    Returns:
        Question id, and the ids of the intents that all verdicts name.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _AGREED, {"project": project_id, "sources": sources, "target": target}
        )
        return [(question, tuple(intents)) for question, intents in cursor.fetchall()]


def delete_intents(ids: list[int]) -> None:
    """Deletes the rows; foreign keys refuse it where something still names them."""
    _run("DELETE FROM labeling_intent WHERE id = ANY(%(ids)s)", {"ids": ids})


def _run(sql: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return int(cursor.rowcount)


def _count(sql: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row = cursor.fetchone()
    assert row is not None
    return int(row[0])
