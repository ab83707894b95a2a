"""Asks live serving processes to load a version before requests are sent to it."""

import time
from datetime import timedelta

from django.db import connection
from django.db.models.functions import Now

from labeling.revision import CHANNEL
from registry import artifacts
from registry.models import ServingProcess, Version

_WAIT_S = 5.0
"""Longest wait; a process that is not done by then loads on its first request."""
_POLL_S = 0.05
_ALIVE = timedelta(seconds=3)
"""A process writes its row once a second; one not seen for this long has ended."""


def prepare(version: Version) -> None:
    """Checks a version's files and lets every live process load it, 5 s at most.

    Inside a transaction it only checks: the NOTIFY would go out at its end, too late.
    With no live process, or where all hold the version, it costs one query.

    Raises:
        artifacts.ArtifactError: The files are missing or damaged.
    """
    artifacts.open_verified(version, only=artifacts.served_files(version))
    if connection.in_atomic_block or not _is_awaited(version):
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_notify(%s, %s)",
            [CHANNEL, f"prepare:{version.project_id}:{version.pk}"],
        )
    deadline = time.monotonic() + _WAIT_S
    while time.monotonic() < deadline and _is_awaited(version):
        time.sleep(_POLL_S)


def _is_awaited(version: Version) -> bool:
    """Whether a live process has neither loaded the version nor failed to."""
    alive = ServingProcess.objects.filter(seen_at__gt=Now() - _ALIVE)
    for serving in alive.values_list("serving", flat=True):
        entry = serving.get(str(version.project_id), {})
        if version.number not in [*entry.get("ready", ()), *entry.get("failed", ())]:
            return True
    return False
