"""Test questions that a version gets wrong where the active one was right.

Each is either a loss or a label that was never right: a reviewer looks. Any verdict,
and any change of the label, ends it, as it ends a suspicion.
"""

from collections.abc import Iterable
from typing import Any

from django.db import connection, transaction

from labeling.models import Project

DOUBTS_END = "suspicion = NULL, broken_by = NULL"
"""SQL, what an UPDATE of questions sets where a label is new or somebody vouches for
it."""

# Locked in the order of their ids, as wherever labels are written. Labels that a
# reviewer settled are right; a version that breaks them gains nothing by one more look.
_LOCK = """
SELECT q.id FROM labeling_question q
WHERE q.project_id = %(project)s AND q.state = 'labelled'
    AND (q.id = ANY(%(ids)s) OR q.broken_by = %(version)s)
    AND NOT EXISTS (SELECT FROM labeling_goldlabel g
        WHERE g.question_id = q.id AND g.source = 'adjudication')
ORDER BY q.id FOR NO KEY UPDATE
"""

_MARK = """
UPDATE labeling_question SET
    broken_by = CASE WHEN id = ANY(%(ids)s) THEN %(version)s END
WHERE id = ANY(%(locked)s)
    AND broken_by IS DISTINCT FROM CASE WHEN id = ANY(%(ids)s) THEN %(version)s END
"""


@transaction.atomic
def mark(project: Project, version: int, question_ids: Iterable[int]) -> int:
    """Puts what a version breaks before the reviewers.

    What the same version was said to break earlier, and no longer does, leaves the
    queue; what other versions broke stays until somebody has looked.

    Args:
        project: Whose questions; those of others and unlabelled ones are left out.
        version: Number of the version that is wrong.
        question_ids: All questions that it breaks.

    Returns:
        How many of them wait for a reviewer now.

    Cost: two statements.
    """
    ids = list(question_ids)
    values: dict[str, Any] = {"project": project.pk, "version": version, "ids": ids}
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, values)
        locked = [pk for (pk,) in cursor.fetchall()]
        cursor.execute(_MARK, {**values, "locked": locked})
    return len(set(ids).intersection(locked))
