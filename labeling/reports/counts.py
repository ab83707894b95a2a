"""Counts of questions for pages that are opened often, cheap at a million of them.

Exact where a project is small. In a large one, what takes a walk through an index is
remembered for a minute in each process, and what nobody reads to the last digit is
counted up to a bound.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from django.utils.translation import get_language

from labeling import datasets
from labeling.models import Project, Question
from labeling.reports import audit

SMALL = 20_000
"""Questions up to which everything is counted anew each time."""
REMEMBERED_S = 60
ACCURACY_REMEMBERED_S = 300
AT_MOST = 10_000
"""Bound of what is counted up to a bound: more is "10,000+"."""

T = TypeVar("T")

_OWN = """
SELECT count(*) FILTER (WHERE updated_at >= %(midnight)s),
    count(*) FILTER (WHERE updated_at >= %(week)s), count(*)
FROM (
    SELECT a.updated_at FROM labeling_annotation a
    JOIN labeling_question q ON q.id = a.question_id
    WHERE a.annotator_id = %(user)s AND q.project_id = %(project)s
    ORDER BY a.updated_at DESC LIMIT %(most)s
) newest
"""


def states(project: Project) -> dict[str, int]:
    """Questions in each state, also of those with none.

    Cost: one query, a walk through the index by state: about 0.1 s for a million, and
    then none for a minute.
    """

    def count() -> dict[str, int]:
        counts = Question.objects.of(project).state_counts()
        return {state: counts.get(state, 0) for state in Question.State.values}

    return _remembered(
        f"states:{project.pk}",
        count,
        is_large=lambda found: sum(found.values()) > SMALL,
    )


def missing_labels(project: Project) -> int:
    """Labels until the next training is worth it; two queries, or none."""
    labelled = states(project)[Question.State.LABELLED]
    return _remembered(
        f"missing:{project.pk}",
        lambda: datasets.missing_labels(project),
        is_large=lambda _missing: labelled > SMALL,
    )


def low_confidence(project: Project) -> int:
    """Open questions with a low-confidence answer, `AT_MOST` + 1 at most. One query."""
    low = Question.objects.low_confidence(project).open().order_by()
    return low.values("pk")[: AT_MOST + 1].count()


def own_labels(project: Project, user_id: int) -> dict[str, int]:
    """A person's verdicts: today, in seven days, in all; `AT_MOST` + 1 at most.

    Cost: one query that looks at `AT_MOST` verdicts.
    """
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    values: dict[str, Any] = {
        "midnight": midnight,
        "week": midnight - timedelta(days=6),
        "user": user_id,
        "project": project.pk,
        "most": AT_MOST + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(_OWN, values)
        today, week, total = cursor.fetchone()
    return {"today": today, "week": week, "total": total}


def accuracy(project: Project, *, version: str) -> audit.Report:
    """`audit.accuracy` of a version's answers, remembered where it reads many labels.

    Args:
        project: Whose.
        version: Number of the version that serves; "" where rules answer alone.

    Cost: two queries; none for five minutes where there are thousands of labels.
    """
    return _remembered(
        # Its sentences are in the reader's language.
        f"accuracy:{project.pk}:{version}:{get_language()}",
        lambda: audit.accuracy(project, version=version),
        is_large=lambda found: found.overall.n > SMALL / 20,
        seconds=ACCURACY_REMEMBERED_S,
    )


def _remembered(
    key: str,
    compute: Callable[[], T],
    *,
    is_large: Callable[[T], bool],
    seconds: int = REMEMBERED_S,
) -> T:
    found: T | None = cache.get(f"counts:{key}")
    if found is None:
        found = compute()
        if is_large(found):
            cache.set(f"counts:{key}", found, seconds)
    return found
