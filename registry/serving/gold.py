"""The gold labels of exactly the texts that are asked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import OperationalError, connection
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from registry.serving import measures
from registry.serving.lookup import Away, Lookup
from registry.serving.process import is_web

_LINGER_S = 0.012
"""Half of what the model takes under load, which runs meanwhile."""
_WAIT_S = 0.1
"""Longest that a request waits for them; it goes on without."""

_NAME = b"gold"

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
    return begin(project_id, hashes)()


def begin(project_id: int, hashes: Sequence[str]) -> Callable[[], dict[str, list[str]]]:
    """Asks; what is returned waits, and gives what `find` does.

    In a web process the caller can do something else meanwhile.
    """
    if not hashes:
        return dict
    asked = [(project_id, hash_) for hash_ in hashes]
    if not is_web():
        with measures.stage("gold"):
            read = _by_hash(_read(asked))
        return lambda: read
    try:
        wait = _lookup.begin(asked)
    except Away:
        return dict

    def end() -> dict[str, list[str]]:
        with measures.stage("gold"):
            try:
                return _by_hash(wait())
            except Away:
                return {}

    return end


def _by_hash(found: Mapping[Asked, list[str]]) -> dict[str, list[str]]:
    return {hash_: codes for (_project, hash_), codes in found.items()}


def is_away() -> bool:
    """Whether requests go on without gold labels, because the database is away."""
    return _lookup.is_away


def _read(asked: Sequence[Asked]) -> dict[Asked, list[str]]:
    with connection.cursor() as cursor:
        ids, hashes = map(list, zip(*asked, strict=True))
        cursor.execute(_SQL, [ids, hashes])
        return _codes(cursor.fetchall())


class _Statement:
    """The query through libpq itself, planned once a connection.

    Called from one thread, which has nothing else to do than wait. Planning takes
    longer than running, and a cursor of psycopg longer than both.
    """

    def __init__(self) -> None:
        self._prepared_on: Any = None

    def __call__(self, asked: Sequence[Asked]) -> dict[Asked, list[str]]:
        connection.ensure_connection()
        wire = connection.connection.pgconn
        if wire is not self._prepared_on:
            text = _SQL.replace("%s", "$1", 1).replace("%s", "$2", 1)
            _check(wire.prepare(_NAME, text.encode()))
            self._prepared_on = wire
        # Ids and hex digits: nothing in them has to be quoted.
        ids = ",".join([str(project_id) for project_id, _hash in asked])
        hashes = ",".join([hash_ for _project_id, hash_ in asked])
        parameters = [f"{{{ids}}}".encode(), f"{{{hashes}}}".encode()]
        result = _check(wire.exec_prepared(_NAME, parameters))
        return _codes(_row(result, n) for n in range(result.ntuples))


def _row(result: PGresult, n: int) -> Row:
    project_id, hash_, code, is_retired = (result.get_value(n, i) for i in range(4))
    assert project_id is not None
    assert hash_ is not None
    return (
        int(project_id),
        hash_.decode(),
        None if code is None else code.decode(),
        is_retired == b"t",
    )


def _check(result: PGresult) -> PGresult:
    if result.status not in (ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK):
        raise OperationalError(result.error_message.decode(errors="replace"))
    return result


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


_lookup: Lookup[Asked, list[str]] = Lookup(
    "gold", _Statement(), wait_s=_WAIT_S, linger_s=_LINGER_S
)
