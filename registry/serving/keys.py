"""API keys and what their projects are served with: in a web process, in memory.

The listener reads both again twice a second and with each NOTIFY, so that a revoked
key, a changed project, an activation and a rollout are followed within a second. While
the database is away, the last word stands.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db import connection, models

from labeling.models import ApiKey, Project
from registry.models import Rollout, Version
from registry.serving.engine import Target
from registry.serving.lookup import Lookup
from registry.serving.process import is_web
from registry.serving.rollout import RolloutSpec

MAX_HELD = 10_000
"""Keys in memory, those used last; others are read with each request."""
_WAIT_S = 1.0
"""Longest that a request with an unknown key waits for the database."""
_REFUSED_S = 1.0
"""How long a key that is not there is refused without asking again."""
_NOTED_S = 60.0
"""A key's `last_used_at` is written at most this often."""

# Skips rows that somebody else holds: whoever revokes a key must not be waited for.
_NOTE_USE = """
UPDATE labeling_apikey SET last_used_at = now() WHERE id IN (
    SELECT id FROM labeling_apikey WHERE id = ANY(%s)
        AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
    ORDER BY id FOR UPDATE SKIP LOCKED)
"""

Row = tuple[Any, ...]


class Caller(NamedTuple):
    """Who asks, and what is answered with."""

    key: ApiKey
    """Its `project` and `user` are not read along; the project is the target's."""
    target: Target


class Memory:
    """One web process's own. Dictionaries only: reading them takes no lock."""

    def __init__(self) -> None:
        self._keys: dict[str, ApiKey] = {}
        self._rows: dict[str, Row] = {}
        self._targets: dict[int, Target] = {}
        self._refused: dict[str, float] = {}
        self._used: set[int] = set()
        self._noted: dict[int, float] = {}
        self._unknown: Lookup[str, Caller] = Lookup("keys", _callers, wait_s=_WAIT_S)

    def find(self, hash_: str) -> Caller | None:
        """The caller with this key's hash; None if there is none.

        Raises:
            Away: The key is unknown, and the database does not say.

        Cost: two dictionaries; for an unknown key one query of another thread.
        """
        key = self._keys.get(hash_)
        target = None if key is None else self._targets.get(key.project_id)
        if key is None or target is None:
            return self._look_up(hash_)
        self._used.add(key.pk)
        return Caller(key, target)

    def target(self, project_id: int) -> Target | None:
        """What requests of a project are answered with now."""
        return self._targets.get(project_id)

    def publish(self, target: Target) -> None:
        """Answers requests that come from now on with this."""
        self._targets[target.project.pk] = target

    def forget(self, project_ids: Iterable[int]) -> None:
        """Drops projects that are gone."""
        for project_id in project_ids:
            self._targets.pop(project_id, None)

    def project_ids(self) -> set[int]:
        """The projects that it has targets of."""
        return set(self._targets)

    def refresh(self) -> None:
        """Reads all valid keys; a key that is not among them is valid no more.

        Cost: one query; 1 ms a thousand keys.
        """
        with connection.cursor() as cursor:
            cursor.execute(_statements().all_keys, [MAX_HELD])
            rows = {row[0]: row[1:] for row in cursor.fetchall()}
        held, before = self._keys, self._rows
        self._keys = {
            hash_: held[hash_]
            if hash_ in held and before.get(hash_) == row
            else _key(row)
            for hash_, row in rows.items()
        }
        self._rows = rows

    def note_use(self) -> None:
        """Writes when keys were last used; one statement, none without news."""
        used, self._used = self._used, set()
        now = time.monotonic()
        due = [pk for pk in used if now - self._noted.get(pk, -_NOTED_S) >= _NOTED_S]
        if not due:
            return
        with connection.cursor() as cursor:
            cursor.execute(_NOTE_USE, [due])
        self._noted.update(dict.fromkeys(due, now))

    def _look_up(self, hash_: str) -> Caller | None:
        refused_at = self._refused.get(hash_)
        if refused_at is not None and time.monotonic() - refused_at < _REFUSED_S:
            return None
        caller = self._unknown.get([hash_]).get(hash_)
        if caller is None:
            if len(self._refused) >= MAX_HELD:
                self._refused.clear()
            self._refused[hash_] = time.monotonic()
            return None
        self._used.add(caller.key.pk)
        self._keys[hash_] = caller.key
        # What the listener published is newer, and loaded.
        target = self._targets.setdefault(caller.target.project.pk, caller.target)
        return Caller(caller.key, target)


def find(hash_: str) -> Caller | None:
    """The caller with this key's hash, if the key still works.

    Raises:
        lookup.Away: In a web process: the key is unknown, and the database is away.

    Cost: one query; in a web process none.
    """
    return memory.find(hash_) if is_web() else _callers([hash_]).get(hash_)


def targets() -> dict[int, tuple[Row, Target]]:
    """What each project is to be served with, and the row it comes from. One query."""
    with connection.cursor() as cursor:
        cursor.execute(_statements().all_targets)
        return {row[0]: (row, _target(row)) for row in cursor.fetchall()}


def _callers(hashes: Sequence[str]) -> Mapping[str, Caller]:
    statements = _statements()
    with connection.cursor() as cursor:
        cursor.execute(statements.callers, [list(hashes)])
        rows = cursor.fetchall()
    n = 1 + len(statements.key_columns)
    return {row[0]: Caller(_key(row[1:n]), _target(row[n:])) for row in rows}


# --- By hand: the ORM takes longer to write such a query than the rest of a request ---


class _Statements(NamedTuple):
    key_columns: list[str]
    project_columns: list[str]
    callers: str
    all_keys: str
    all_targets: str


_UNREAD = {"guidelines", "description"}
"""Long, and nothing that an answer needs."""


@cache
def _statements() -> _Statements:
    """The queries, with the columns that the models have."""
    key_names, key_sql = _columns(ApiKey, "k")
    project_names, project_sql = _columns(Project, "p")
    key, project, version, rollout, user = (
        model._meta.db_table for model in (ApiKey, Project, Version, Rollout, User)
    )
    valid = f"""
    {key} k JOIN {user} u
        ON u.id = k.user_id AND u.is_active AND k.revoked_at IS NULL"""
    target = (
        f"{project_sql}, v.id, v.number, r.id, r.version_id, rv.number, r.mode, r.share"
    )
    served = f"""
    LEFT JOIN {version} v
        ON v.project_id = p.id AND v.state = '{Version.State.ACTIVE.value}'
    LEFT JOIN {rollout} r ON r.project_id = p.id AND r.ended_at IS NULL
    LEFT JOIN {version} rv ON rv.id = r.version_id"""
    # Only names of our own models are put into the texts.
    return _Statements(
        key_columns=key_names,
        project_columns=project_names,
        callers=f"""
    SELECT k.hash, {key_sql}, {target}
    FROM {valid} JOIN {project} p ON p.id = k.project_id {served}
    WHERE k.hash = ANY(%s)""",  # noqa: S608
        all_keys=f"""
    SELECT k.hash, {key_sql} FROM {valid}
    ORDER BY k.last_used_at DESC NULLS LAST LIMIT %s""",  # noqa: S608
        all_targets=f"SELECT {target} FROM {project} p {served}",  # noqa: S608
    )


def _columns(model: type[models.Model], alias: str) -> tuple[list[str], str]:
    """Attributes, and the columns to select for them; the primary key comes first."""
    fields = [f for f in model._meta.concrete_fields if f.name not in _UNREAD]
    assert fields[0].primary_key
    return [f.attname for f in fields], ", ".join(
        f'{alias}."{f.column}"' for f in fields
    )


def _key(row: Row) -> ApiKey:
    return ApiKey.from_db(connection.alias, _statements().key_columns, row)


def _target(row: Row) -> Target:
    columns = _statements().project_columns
    project = Project.from_db(connection.alias, columns, row[: len(columns)])
    version_id, number, rollout_id, *rest = row[len(columns) :]
    spec = None if rollout_id is None else RolloutSpec(rollout_id, *rest)
    return Target(project, version_id, number, spec)


memory = Memory()
"""This process's own."""
