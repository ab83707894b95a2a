"""The gold labels of exactly the texts that are asked."""

from collections.abc import Iterable, Mapping, Sequence

import psycopg
from django.db import connection

from registry.serving import measures
from registry.serving.lookup import Away, Lookup
from registry.serving.process import is_web

_WAIT_S = 0.1
"""Longest that a request waits for them; it goes on without."""

Asked = tuple[int, str]
"""A project's id and a text's hash."""
Row = tuple[int, str, str | None, bool]

_SQL = """
SELECT q.project_id, q.text_hash, i.code, i.retired_at IS NOT NULL
FROM unnest(%s::bigint[], %s::text[]) AS asked (project_id, text_hash)
JOIN labeling_question q ON q.project_id = asked.project_id
    AND q.text_hash = asked.text_hash AND q.state = 'labelled'
LEFT JOIN labeling_goldlabel g ON g.question_id = q.id
LEFT JOIN labeling_intent i ON i.id = g.intent_id
ORDER BY i.code
"""


def find(project_id: int, hashes: Sequence[str]) -> dict[str, list[str]]:
    """Codes of the gold intents of those texts that are labelled, by hash.

    A text that is labelled as having no intent has an empty list. In a web process,
    where the database does not answer within 0.1 s nothing is found, and the model is
    asked instead.

    Cost: one query; a web process shares it among its requests.
    """
    asked = [(project_id, hash_) for hash_ in hashes]
    with measures.stage("gold"):
        if not is_web():
            found: Mapping[Asked, list[str]] = _read(asked)
        else:
            try:
                found = _lookup.get(asked)
            except Away:
                return {}
    return {hash_: codes for (_project, hash_), codes in found.items()}


def is_away() -> bool:
    """Whether requests go on without gold labels, because the database is away."""
    return _lookup.is_away


def _read(asked: Sequence[Asked]) -> dict[Asked, list[str]]:
    with connection.cursor() as cursor:
        cursor.execute(_SQL, _parameters(asked))
        return _codes(cursor.fetchall())


def _read_prepared(asked: Sequence[Asked]) -> dict[Asked, list[str]]:
    """As `_read`, planned once a connection: planning takes longer than running."""
    connection.ensure_connection()
    with psycopg.Cursor(connection.connection) as cursor:
        cursor.execute(_SQL, _parameters(asked), prepare=True)
        return _codes(cursor.fetchall())


def _parameters(asked: Sequence[Asked]) -> tuple[list[int], list[str]]:
    return [project_id for project_id, _hash in asked], [hash_ for _id, hash_ in asked]


def _codes(rows: Iterable[Row]) -> dict[Asked, list[str]]:
    gold: dict[Asked, list[str]] = {}
    retired: set[Asked] = set()
    for project_id, hash_, code, is_retired in rows:
        asked = (project_id, hash_)
        codes = gold.setdefault(asked, [])
        if is_retired:
            retired.add(asked)
        elif code is not None:
            codes.append(code)
    # A label that names a retired intent answers nothing; the model is asked instead.
    return {key: codes for key, codes in gold.items() if codes or key not in retired}


_lookup: Lookup[Asked, list[str]] = Lookup("gold", _read_prepared, wait_s=_WAIT_S)
