"""Writes synthetic questions, switches them on and off, and deletes them."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from django.contrib.auth.models import User
from django.db import connection, models, transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labeling.models import Project, SyntheticQuestion
from labeling.normalise import text_hash
from labeling.taxonomy.audit import note

_LOCK = 0x67726F77
"""First key of the advisory lock: "grow"; the second is the project."""

# What an intent, template or question is deleted under is locked, so that it is either
# there until this ends or counts as gone.
_KEEP = """
WITH intent AS MATERIALIZED (
    SELECT id FROM labeling_intent
    WHERE project_id = %(project)s AND retired_at IS NULL AND id = ANY(%(intents)s)
    ORDER BY id FOR KEY SHARE
), template AS MATERIALIZED (
    SELECT id FROM labeling_template WHERE id = ANY(%(templates)s)
    ORDER BY id FOR KEY SHARE
)
INSERT INTO labeling_syntheticquestion (
    project_id, intent_id, text, text_hash, origin, template_id, source_id, is_used,
    created_at)
SELECT %(project)s, n.intent, n.text, n.hash, %(origin)s, n.template, q.id, true,
    statement_timestamp()
FROM unnest(%(intents)s::bigint[], %(texts)s::text[], %(hashes)s::text[],
        %(templates)s::bigint[], %(sources)s::bigint[]) WITH ORDINALITY
    AS n (intent, text, hash, template, source, place)
JOIN intent ON intent.id = n.intent
LEFT JOIN template ON template.id = n.template
LEFT JOIN labeling_question q ON q.id = n.source
WHERE (n.template IS NULL OR template.id IS NOT NULL) AND NOT EXISTS (
    SELECT FROM labeling_question same
    WHERE same.project_id = %(project)s AND same.text_hash = n.hash)
ORDER BY n.place
ON CONFLICT (project_id, text_hash) DO NOTHING
RETURNING intent_id
"""


class LeftOut(models.TextChoices):
    """Why a text was not made, or a question brought none."""

    TAKEN = "taken", gettext_lazy("Nearly the same as one that is there")
    NEAR_MADE = "near", gettext_lazy("Nearly the same as another new one")
    LENGTH = "length", gettext_lazy("Much shorter or longer than what users ask")
    TOO_LONG = "too_long", gettext_lazy("Too long for a question")
    UNREADABLE = "unreadable", gettext_lazy("Answers that can't be read")
    NO_ANSWER = "no_answer", gettext_lazy("Questions without an answer")
    NOT_SENT = "not_sent", gettext_lazy("Questions that were not sent after all")


@dataclass(frozen=True, slots=True)
class New:
    """A synthetic question to be."""

    intent_id: int
    text: str
    template_id: int | None = None
    source_id: int | None = None
    """The question that it is a paraphrase of."""


def take_turn(project_id: int) -> None:
    """Waits until nobody else makes questions here, to the end of the transaction.

    Whoever comes second sees what the first has made, and makes nothing near it.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK, project_id])


def keep(project_id: int, new: Sequence[New], origin: str) -> Counter[int]:
    """Writes new synthetic questions; returns how many by the intent's id.

    Left out are texts that the project has by now, in its questions or its synthetic
    ones, and those of intents and templates that are gone or retired. One statement.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _KEEP,
            {
                "project": project_id,
                "origin": origin,
                "intents": [one.intent_id for one in new],
                "texts": [one.text for one in new],
                "hashes": [text_hash(one.text) for one in new],
                "templates": [one.template_id for one in new],
                "sources": [one.source_id for one in new],
            },
        )
        return Counter(intent_id for (intent_id,) in cursor.fetchall())


def use(rows: QuerySet[SyntheticQuestion], *, is_used: bool) -> int:
    """Takes synthetic questions into datasets from now on, or no longer.

    Returns:
        How many changed. One statement.
    """
    return rows.order_by().exclude(is_used=is_used).update(is_used=is_used)


@transaction.atomic
def delete(rows: QuerySet[SyntheticQuestion], *, by: User | None) -> int:
    """Deletes synthetic questions; datasets that hold them stay as they are.

    Returns:
        How many were deleted. One statement, and two a project for its history.
    """
    projects = rows.order_by().values_list("project").distinct()
    by_project = Project.objects.filter(
        pk__in=list(projects.values_list("project", flat=True))
    )
    deleted = 0
    for project in by_project:
        # Nothing refers to them: no row need be read.
        n = rows.order_by().filter(project=project)._raw_delete(rows.db)
        note(project, by, _("Deleted %(n)d synthetic questions.") % {"n": n})
        deleted += n
    return deleted
