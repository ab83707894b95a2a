"""Questions on which a version in shadow disagrees go up in the labelling queue."""

from datetime import timedelta

from django.db import connection
from django.utils import timezone

from labeling.models import Question
from labeling.normalise import text_hash
from labeling.ranking.priority import RAISED
from registry.models import Rollout, ShadowAnswer

_RECENT = timedelta(minutes=10)
"""A question may come into the database minutes after it was answered."""
_AT_ONCE = 500
MOST_RAISED = 200
"""Raised questions that wait in a project: more would bury what clients call wrong."""

# A row that somebody holds is being labelled, or is met again in a few seconds.
_RAISE = f"""
WITH held AS (
    SELECT q.id FROM labeling_question q
    WHERE q.project_id = %s AND q.text_hash = ANY(%s)
        AND q.state = 'open' AND q.split <> 'test' AND q.priority < {RAISED}
    ORDER BY q.id LIMIT %s FOR NO KEY UPDATE SKIP LOCKED)
UPDATE labeling_question q SET priority = {RAISED} FROM held WHERE held.id = q.id
"""  # noqa: S608 (constants of this project only)


def raise_priorities() -> int:
    """Raises what the running shadows disagreed on lately; how many questions.

    Cost: one query; three a rollout in shadow, over indexes.
    """
    shadows = Rollout.objects.filter(ended_at=None, mode=Rollout.Mode.SHADOW)
    return sum(_raise(rollout) for rollout in shadows)


def _raise(rollout: Rollout) -> int:
    waiting = Question.objects.filter(
        project=rollout.project_id, state=Question.State.OPEN, priority__gte=RAISED
    ).exclude(split=Question.Split.TEST)
    room = MOST_RAISED - waiting.values("pk")[:MOST_RAISED].count()
    if room <= 0:
        return 0
    answers = ShadowAnswer.objects.filter(
        rollout=rollout, agrees=False, created_at__gt=timezone.now() - _RECENT
    )
    texts = answers.order_by("-id").values_list("text", flat=True)[:_AT_ONCE]
    hashes = sorted({text_hash(text) for text in texts})
    if not hashes:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(_RAISE, [rollout.project_id, hashes, room])
        return int(cursor.rowcount)
