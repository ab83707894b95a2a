"""The SQL of an import: a chunk of rows in a temporary table, then set-based writes.

Questions are found by `LATERAL (… LIMIT 1)`: an index lookup for each row of the chunk.
A plain join would read the whole table for each chunk once it is large.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db.backends.utils import CursorWrapper

from labeling.labels.broken import DOUBTS_END
from labeling.ranking.priority import UNRANKED, score

Cursor = CursorWrapper
Staged = tuple[int, str, str, str, str | None]
"""Line, text, hash, split, and the gold intents' ids as an ascending array literal."""

_LOCK_SPACE = 0x1A9E57  # of PostgreSQL's advisory locks: imports, one a project


def lock(cursor: Cursor, project_id: int) -> None:
    """Waits for other imports of the project; held to the transaction's end."""
    cursor.execute(
        "SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_SPACE, project_id % 2**31]
    )


def fill(cursor: Cursor, rows: Iterable[Staged]) -> None:
    """Makes the temporary table and copies the rows into it; texts must differ."""
    cursor.execute(
        """
        CREATE TEMPORARY TABLE labeling_import (
            line int, text text, hash varchar(32), split varchar(10), intents bigint[]
        ) ON COMMIT DROP
        """
    )
    with cursor.copy("COPY labeling_import FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def drop(cursor: Cursor) -> None:
    """Drops the temporary table, for the next chunk of the same transaction."""
    cursor.execute("DROP TABLE labeling_import")


def insert_new(
    cursor: Cursor, project_id: int, *, now: datetime, by: User | None
) -> tuple[int, int]:
    """Inserts the questions that are not there, with their labels.

    Returns:
        How many questions, and how many of them labelled.
    """
    return _pair(
        cursor,
        """
        WITH created AS (
            INSERT INTO labeling_question (
                project_id, text, text_hash, occurrences, first_seen, last_seen,
                origin, state, split, labelled_at, trained_in, method, predicted_by,
                priority)
            SELECT %(project)s, text, hash, 0, %(now)s, %(now)s, 'imported',
                CASE WHEN intents IS NULL THEN 'open' ELSE 'labelled' END, split,
                CASE WHEN intents IS NOT NULL THEN %(now)s::timestamptz END,
                '', '', '', %(priority)s
            FROM labeling_import ORDER BY line
            ON CONFLICT (project_id, text_hash) DO NOTHING
            RETURNING id, text_hash
        ), found AS (
            SELECT c.id, r.intents
            FROM created c JOIN labeling_import r ON r.hash = c.text_hash
        ), gold AS (
            INSERT INTO labeling_goldlabel (
                question_id, intent_id, source, set_by_id, set_at)
            SELECT f.id, intent, 'import', %(by)s, %(now)s
            FROM found f CROSS JOIN unnest(f.intents) intent
        )
        SELECT count(*), count(intents) FROM found
        """,
        {
            "project": project_id,
            "now": now,
            "by": None if by is None else by.pk,
            "priority": score(margin=None, occurrences=0, diversity=UNRANKED),
        },
    )


def label_unlabelled(
    cursor: Cursor, project_id: int, *, now: datetime, by: User | None
) -> int:
    """Labels the open and skipped questions for which a row brings a label.

    They leave the queue: whoever holds one is told so at the submit.

    A statement of its own after `insert_new`, so that it also sees what others wrote
    while that one waited.

    Returns:
        How many questions.
    """
    cursor.execute(
        f"""
        WITH settled AS (
            UPDATE labeling_question q
            SET state = 'labelled', labelled_at = %(now)s, trained_in = '',
                {DOUBTS_END}
            WHERE q.state IN ('open', 'skipped') AND q.id = ANY (ARRAY(
                SELECT found.id FROM labeling_import r CROSS JOIN LATERAL (
                    SELECT id FROM labeling_question
                    WHERE project_id = %(project)s AND text_hash = r.hash LIMIT 1
                ) found
                WHERE r.intents IS NOT NULL
            ))
            RETURNING q.id, q.text_hash
        ), gold AS (
            INSERT INTO labeling_goldlabel (
                question_id, intent_id, source, set_by_id, set_at)
            SELECT s.id, intent, 'import', %(by)s, %(now)s
            FROM settled s JOIN labeling_import r ON r.hash = s.text_hash
            CROSS JOIN unnest(r.intents) intent
            ON CONFLICT (question_id, intent_id) DO NOTHING
        ), ended AS (
            DELETE FROM labeling_lease l USING settled s WHERE l.question_id = s.id
        ), placed AS (
            UPDATE labeling_embedding e SET is_labelled = true
            FROM settled s WHERE e.question_id = s.id AND NOT e.is_labelled
        )
        SELECT count(*) FROM settled
        """,  # noqa: S608 (a constant)
        {"project": project_id, "now": now, "by": None if by is None else by.pk},
    )
    row = cursor.fetchone()
    assert row is not None
    return int(row[0])


def count_changes(cursor: Cursor, project_id: int) -> tuple[int, int]:
    """What `insert_new` and `label_unlabelled` would create and label."""
    return _pair(
        cursor,
        """
        SELECT count(*) FILTER (WHERE q.id IS NULL),
            count(r.intents) FILTER (
                WHERE q.id IS NULL OR q.state IN ('open', 'skipped'))
        FROM labeling_import r LEFT JOIN LATERAL (
            SELECT id, state FROM labeling_question
            WHERE project_id = %(project)s AND text_hash = r.hash LIMIT 1
        ) q ON true
        """,
        {"project": project_id},
    )


def conflicts(cursor: Cursor, project_id: int) -> list[tuple[int, str, list[str]]]:
    """Rows whose intents are not those of their labelled or disputed question.

    Returns:
        Line, hash, and the codes that the question has.
    """
    cursor.execute(
        """
        SELECT r.line, r.hash,
            coalesce(
                array_agg(i.code::text ORDER BY i.code) FILTER (WHERE i.id IS NOT NULL),
                '{}')
        FROM labeling_import r
        CROSS JOIN LATERAL (
            SELECT id, state FROM labeling_question
            WHERE project_id = %(project)s AND text_hash = r.hash LIMIT 1
        ) q
        LEFT JOIN labeling_goldlabel g ON g.question_id = q.id
        LEFT JOIN labeling_intent i ON i.id = g.intent_id
        WHERE r.intents IS NOT NULL AND q.state IN ('labelled', 'disputed')
        GROUP BY r.line, r.hash, r.intents
        HAVING coalesce(
            array_agg(i.id ORDER BY i.id) FILTER (WHERE i.id IS NOT NULL), '{}'
        ) <> r.intents
        ORDER BY r.line
        """,
        {"project": project_id},
    )
    return [(line, hash_, kept) for line, hash_, kept in cursor.fetchall()]


def _pair(cursor: Cursor, sql: str, params: dict[str, Any]) -> tuple[int, int]:
    cursor.execute(sql, params)
    row = cursor.fetchone()
    assert row is not None
    return int(row[0]), int(row[1])
