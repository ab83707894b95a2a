"""API keys that bring along what their project is served with."""

from functools import cache
from typing import Any, NamedTuple

from django.contrib.auth.models import User
from django.db import connection, models
from rest_framework.request import Request

from labeling.api.auth import ApiKeyAuthentication
from labeling.models import ApiKey, Project
from registry.models import Version
from registry.serving.engine import Target


class ServingKeyAuthentication(ApiKeyAuthentication):
    """Key, project and active version in one query: what a request is answered with."""

    def find(self, hash_: str) -> ApiKey | None:
        """By hand: the ORM takes longer to write this query than the rest of a request.

        The key gets its `target`, see `target_of`.
        """
        statement = _statement()
        with connection.cursor() as cursor:
            cursor.execute(statement.sql, [hash_])
            row = cursor.fetchone()
        if row is None:
            return None
        values = iter(row)
        key: Any
        key, project, user = (
            model.from_db(
                connection.alias, columns, [next(values) for _column in columns]
            )
            for model, columns in statement.parts
        )
        key.project, key.user = project, user
        key.target = Target(project, *values)
        found: ApiKey = key
        return found


class _Statement(NamedTuple):
    sql: str
    parts: list[tuple[Any, list[str]]]
    """Model and attributes of each part of a row, in order."""


@cache
def _statement() -> _Statement:
    """The query, with the columns that the models have."""
    unread = {"guidelines", "description", "password", "email"}
    parts: list[tuple[Any, list[str]]] = []
    columns: list[str] = []
    tables: list[tuple[type[models.Model], str]] = [
        (ApiKey, "k"),
        (Project, "p"),
        (User, "u"),
    ]
    for model, alias in tables:
        fields = [f for f in model._meta.concrete_fields if f.name not in unread]
        parts.append((model, [f.attname for f in fields]))
        columns += [f'{alias}."{f.column}"' for f in fields]
    table = {m: m._meta.db_table for m in (ApiKey, Project, User, Version)}
    # Only names of our own models are put into the text.
    sql = f"""
    SELECT {", ".join(columns)}, v.id, v.number
    FROM {table[ApiKey]} k
    JOIN {table[Project]} p ON p.id = k.project_id
    JOIN {table[User]} u ON u.id = k.user_id
    LEFT JOIN {table[Version]} v
        ON v.project_id = p.id AND v.state = '{Version.State.ACTIVE.value}'
    WHERE k.hash = %s AND k.revoked_at IS NULL AND u.is_active
    """  # noqa: S608
    return _Statement(sql, parts)


def key_of(request: Request) -> ApiKey:
    """The key of a request that was let in."""
    key = request.auth
    assert isinstance(key, ApiKey)  # HasScope lets nobody else in
    return key


def target_of(request: Request) -> Target:
    """The project and version of a request that `ServingKeyAuthentication` let in."""
    key: Any = request.auth
    target: Target = key.target
    return target
