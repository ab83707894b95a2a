"""Tells every serving process that a project's model or rules changed."""

from django.db import connection
from django.db.models import F

from labeling.models import Project

CHANNEL = "tuneloop_serving"
"""NOTIFY channel. It only shortens the wait: processes also poll the number."""


def bump(project_id: int) -> None:
    """Raises the project's serving revision and notifies, in the caller's transaction.

    Cost: two statements. Concurrent callers queue on the project's row.
    """
    Project.objects.filter(pk=project_id).update(
        serving_revision=F("serving_revision") + 1
    )
    announce(project_id)


def announce(project_id: int) -> None:
    """Has every serving process look at a project's keys and settings now.

    They do twice a second anyway. In the caller's transaction; one statement.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, str(project_id)])
