"""What a bulk action does with each question: label, change or leave it, and why.

Test questions are always left out: they are labelled blind, one at a time. So is what
somebody else holds right now. What is labelled, skipped or disputed already only
reviewers change.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling import access, taxonomy
from labeling.labels import annotations
from labeling.models import Intent, Lease, Membership, Project, Question
from labeling.search import clusters

MOST = 10_000
"""Questions that one step may take."""

FATES = """
SELECT q.id, q.state, had.codes, CASE
    WHEN q.split = 'test' THEN 'test'
    WHEN q.state = 'labelled' AND had.ids = %(intents)s::bigint[] THEN 'same'
    WHEN q.state <> 'open' AND NOT %(may_change)s THEN 'settled'
    WHEN EXISTS (
        SELECT FROM labeling_lease l WHERE l.question_id = q.id
        AND l.holder_id <> %(user)s AND l.expires_at > statement_timestamp()
    ) THEN 'held'
    WHEN q.state = 'open' AND NOT %(may_change)s AND EXISTS (
        SELECT FROM labeling_annotation a
        WHERE a.question_id = q.id AND a.annotator_id = %(user)s
    ) THEN 'answered'
    WHEN q.state = 'open' THEN 'open'
    ELSE 'change' END AS fate
FROM labeling_question q CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(i.id ORDER BY i.id), '{}') AS ids,
        coalesce(array_agg(i.code::text ORDER BY i.code), '{}') AS codes
    FROM labeling_goldlabel g JOIN labeling_intent i ON i.id = g.intent_id
    WHERE g.question_id = q.id
) had
WHERE q.project_id = %(project)s AND q.id = ANY (%(ids)s)
"""
_COUNTS = f"""
SELECT fate, state, codes, count(*) FROM ({FATES}) one
GROUP BY fate, state, codes ORDER BY count(*) DESC, state, codes
"""  # noqa: S608 (constants of this module only)


class TooMany(ValueError):
    """More questions than one step may take."""


@dataclass(frozen=True)
class Change:
    """Questions that have one label now and would get another."""

    state: str
    codes: tuple[str, ...]
    """Their gold intents; none of a skipped or disputed question."""
    count: int

    @property
    def state_label(self) -> str:
        """The state in words."""
        return str(Question.State(self.state).label)


@dataclass(frozen=True)
class Preview:
    """What a bulk action would do, in numbers of questions."""

    intents: tuple[Intent, ...]
    open: int
    """Would get their first label."""
    changes: tuple[Change, ...]
    """Would get another one; most first."""
    same: int
    """Have these intents already."""
    test: int
    """Left out: they measure, and are labelled blind."""
    held: int
    """Left out: somebody else is labelling them right now."""
    answered: int
    """Left out: this person has said something, others have not yet."""
    settled: int
    """Left out: not open any more, and only reviewers change those."""

    @property
    def changed(self) -> int:
        """How many would get another label."""
        return sum(change.count for change in self.changes)

    @property
    def count(self) -> int:
        """How many would be labelled."""
        return self.open + self.changed

    @property
    def left_out(self) -> int:
        """How many would stay as they are, whatever the reason."""
        return self.same + self.test + self.held + self.answered + self.settled


def duplicates_of(
    question: Question, *, user: User | None = None
) -> QuerySet[Question]:
    """The other questions of its cluster that a label of it may be carried over to.

    Open ones, oldest first; test questions and those that somebody else than `user`
    holds are left out. A test question has none: its label measures, and nobody learns
    from it.
    Runs no query; evaluated, it is one by index.
    """
    if question.split == Question.Split.TEST:
        return Question.objects.none()
    held = Lease.objects.filter(question=OuterRef("pk"), expires_at__gt=timezone.now())
    if user is not None:
        held = held.exclude(holder=user)
    return (
        clusters.members(question)
        .filter(~Exists(held), project=question.project_id, state=Question.State.OPEN)
        .exclude(pk=question.pk)
        .exclude(split=Question.Split.TEST)
        .order_by("pk")
    )


def preview(
    project: Project, user: User, *, question_ids: Iterable[int], codes: Sequence[str]
) -> Preview:
    """What `label` would do right now; writes nothing.

    Cost: three queries; 0.1 s for `MOST` questions.

    Raises:
        PermissionDenied, UnknownIntent, InvalidVerdict, TooMany: As `label`.
    """
    intents = resolve(project, codes)
    values = parameters(project, user, bounded(question_ids), intents)
    with connection.cursor() as cursor:
        cursor.execute(_COUNTS, values)
        return summary(intents, cursor.fetchall())


def summary(
    intents: Iterable[Intent], rows: Iterable[tuple[str, str, list[str], int]]
) -> Preview:
    """Counts of (fate, state, gold codes) put together."""
    counts = dict.fromkeys(("open", "same", "test", "held", "answered", "settled"), 0)
    changes = []
    for fate, state, codes, count in rows:
        if fate == "change":
            changes.append(Change(state, tuple(codes), count))
        else:
            counts[fate] += count
    return Preview(tuple(intents), changes=tuple(changes), **counts)


def resolve(project: Project, codes: Sequence[str]) -> list[Intent]:
    """The intents that codes name, if the project takes so many a question."""
    intents = taxonomy.resolve_codes(project, codes)
    annotations.check_intents(project, intents)
    return intents


def bounded(question_ids: Iterable[int]) -> list[int]:
    """The ids, each once; TooMany if there are more than one step takes."""
    ids = sorted(set(question_ids))
    if len(ids) > MOST:
        raise TooMany(
            _("At most %(most)s questions can be labelled in one step.")
            % {"most": MOST}
        )
    return ids


def parameters(
    project: Project, user: User, ids: list[int], intents: Iterable[Intent]
) -> dict[str, Any]:
    """What `FATES` takes. One query, for the person's role.

    Raises:
        PermissionDenied: The person is not a member of the project.
    """
    role = access.role_in(user, project)
    if role is None:
        raise PermissionDenied
    return {
        "project": project.pk,
        "user": user.pk,
        "ids": ids,
        "intents": sorted(intent.pk for intent in intents),
        "may_change": role in (Membership.Role.REVIEWER, Membership.Role.MANAGER),
    }
