"""How far labelling is: counts that stay cheap at a million questions."""

from collections.abc import Iterable
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from labeling.models import Annotation, Project

COUNT_AT_MOST = 10_000
"""Open questions are counted up to here; more is "10,000+" to anybody."""

_OPEN = """
SELECT p.id, (
    SELECT count(*) FROM (
        SELECT FROM labeling_question q
        WHERE q.project_id = p.id AND q.state = 'open' LIMIT %(most)s
    ) counted
) FROM unnest(%(projects)s::bigint[]) AS p (id)
"""


@dataclass(frozen=True)
class OpenCount:
    """Open questions of a project, counted up to `COUNT_AT_MOST`."""

    number: int

    @property
    def is_more(self) -> bool:
        """Whether there are more than the number says."""
        return self.number > COUNT_AT_MOST

    @property
    def shown(self) -> int:
        """The number to show, followed by a plus if `is_more`."""
        return min(self.number, COUNT_AT_MOST)


@dataclass(frozen=True)
class Progress:
    """What a person has done today in a project, and what is left."""

    done_today: int
    open: OpenCount


def open_counts(projects: Iterable[Project]) -> dict[int, OpenCount]:
    """Open questions by project id. One query, bounded for each project."""
    ids = [project.pk for project in projects]
    with connection.cursor() as cursor:
        cursor.execute(_OPEN, {"projects": ids, "most": COUNT_AT_MOST + 1})
        return {pk: OpenCount(number) for pk, number in cursor.fetchall()}


def of(project: Project, user: User) -> Progress:
    """A person's progress. Two queries."""
    midnight = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    done = Annotation.objects.filter(
        annotator=user,
        updated_at__gte=midnight,
        verdict=Annotation.Verdict.LABEL,
        question__project=project,
    )
    return Progress(done.count(), open_counts([project])[project.pk])
