"""Keeps the labelling queue up with the active version, a bounded piece at a time.

    answers -> vectors -> near-duplicates -> need -> diversity -> priorities

A run takes up where the last one stopped, for about `BUDGET_S`. What it costs in all,
after an activation and at most once a day without one:

- `MOST_PREDICTED` answers of the model, the questions of highest priority first (some
  four minutes), and as many vectors (some five). A project with more open questions
  keeps older answers on those that matter least.
- One pass over the open questions for the ranking (a second for a million), one over
  all their priorities (`priority.recompute_below`; half a minute for a million).

Nothing is held while it works: each step is a statement of its own that skips rows in
use. Killed anywhere, it loses the chunk under way.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any

from django.db import connection, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone
from psycopg.types.json import Jsonb

from labeling.models import Project, Question
from labeling.ranking import diversity, priority
from labeling.search import clusters, similar
from registry.models import Refresh
from registry.serving import engine
from registry.serving.engine import Answer, Target

BUDGET_S = 60.0
"""Of one run; the step under way is finished, which takes a few seconds at most."""

MOST_PREDICTED = 50_000
MOST_EMBEDDED = 50_000

REST = timedelta(minutes=5)
"""After a run that left nothing to do, for what comes in anew."""

RENEWED_AFTER = timedelta(days=1)
"""Without an activation the bounds count from new after this time."""

_AT_ONCE = 256
"""Questions that are answered and written in one statement."""

_READ_AHEAD = 2_048

_LOCK = 0x72667273
"""First key of the advisory lock, "rfrs"; the second is the project."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """What one run did."""

    predicted: int
    """Questions that were answered anew."""
    embedded: int
    """Questions that got a vector."""
    ranked: int
    """Questions whose diversity changed."""
    rescored: int
    """Questions whose priority changed in the pass over all."""
    is_done: bool
    """Whether nothing is left to do but what comes in anew."""


def run(project_id: int, *, budget_s: float = BUDGET_S) -> Report | None:
    """Brings a project's queue a piece further.

    Args:
        project_id: Whose.
        budget_s: Seconds after which no new step is begun.

    Returns:
        What was done; None where another run is at it, or there is no such project.
    """
    with _alone(project_id) as is_alone:
        project = Project.objects.filter(pk=project_id).first()
        if not is_alone or project is None:
            return None
        return _Run(project, budget_s).work()


@contextmanager
def _alone(project_id: int) -> Iterator[bool]:
    """Holds the project's advisory lock; a process that dies gives it back."""
    keys = [_LOCK, project_id % 2**31]
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", keys)
        row = cursor.fetchone()
    assert row is not None
    try:
        yield bool(row[0])
    finally:
        if row[0]:
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_advisory_unlock(%s, %s)", keys)


class _Run:
    """One run, its steps in order."""

    def __init__(self, project: Project, budget_s: float) -> None:
        self.project = project
        self.target = engine.target_of(project)
        self.deadline = monotonic() + budget_s
        self.version = "" if self.target.number is None else str(self.target.number)
        self.state = self._state()

    def work(self) -> Report:
        state = self.state
        before = (state.predicted, state.embedded)
        is_complete = self.predict() and self.embed()
        with transaction.atomic():
            is_needed = priority.renew_need(self.project.pk) > 0
            if is_needed or (state.predicted, state.embedded) != before:
                state.is_ranked = False
                state.save(update_fields=["is_ranked"])
        ranked = self.rank() if is_complete and not state.is_ranked else 0
        rescored = 0
        if is_complete and not state.is_done:
            is_complete, rescored = self.rescore()
        state.is_done = is_complete
        state.ran_at = timezone.now()
        state.save()
        return Report(
            state.predicted - before[0],
            state.embedded - before[1],
            ranked,
            rescored,
            state.is_done,
        )

    def is_late(self) -> bool:
        return monotonic() > self.deadline

    def _state(self) -> Refresh:
        now = timezone.now()
        state, _created = Refresh.objects.get_or_create(
            project=self.project, defaults={"began_at": now, "ran_at": now}
        )
        if state.version != self.version or now - state.began_at > RENEWED_AFTER:
            state.version, state.began_at = self.version, now
            state.predicted = state.embedded = 0
            state.is_ranked = state.is_done = False
            state.rescored_to = None
            state.save()
        return state

    # --- Answers of the active version --------------------------------------------

    def predict(self) -> bool:
        """Answers what another version answered, or none; whether it came to an end.

        Rules alone answer at once and cost nothing: there is nothing to catch up with.
        """
        if not self.version:
            return True
        for sql in (_ANSWERED_BY_OTHERS_TEST, _ANSWERED_BY_OTHERS):
            while True:
                left = MOST_PREDICTED - self.state.predicted
                if left <= 0:
                    break
                rows = self._stale(sql, min(left, _READ_AHEAD))
                written = 0
                for start in range(0, len(rows), _AT_ONCE):
                    if self.is_late():
                        return False
                    answered = self._answer(rows[start : start + _AT_ONCE])
                    if answered is None:
                        return True  # it can't be loaded: tried again by and by
                    written += answered
                # Rows in use are skipped: nothing but those left is an end, too.
                if not written:
                    break
        return True

    def _stale(self, sql: str, limit: int) -> list[tuple[int, str, str]]:
        with connection.cursor() as cursor:
            cursor.execute(
                sql,
                {
                    "project": self.project.pk,
                    "version": self.version,
                    "limit": limit,
                },
            )
            return sorted(cursor.fetchall(), key=lambda row: len(row[1]))

    def _answer(self, rows: list[tuple[int, str, str]]) -> int | None:
        """Writes the version's answers; how many, or None where it can't answer."""
        texts = [text for _id, text, _by in rows]
        answers = engine.classify(self.target, texts, use_gold=False)
        if any(answer.degraded for answer in answers):
            _logger.warning("%s: version %s can't answer", self.project, self.version)
            return None
        count = _write(rows, answers, self.target)
        self.state.predicted += count
        self.state.save(update_fields=["predicted"])
        return count

    # --- Vectors and near-duplicates ----------------------------------------------

    def embed(self) -> bool:
        """Gives questions their vector and their cluster; whether it came to an end."""
        self._place()
        while (left := MOST_EMBEDDED - self.state.embedded) > 0:
            missing = similar.pending(self.project.pk, min(left, _READ_AHEAD))
            if not missing:
                break
            for start in range(0, len(missing), _AT_ONCE):
                if self.is_late():
                    return False
                chunk = dict(missing[start : start + _AT_ONCE])
                try:
                    vectors = similar.encode(list(chunk.values()))
                except similar.EncoderMissing as error:
                    _logger.warning("%s: no vectors: %s", self.project, error)
                    return True
                # Written down first: a kill between the two statements loses nothing.
                self.state.unplaced = list(chunk)
                self.state.save(update_fields=["unplaced"])
                similar.store(self.project.pk, dict(zip(chunk, vectors, strict=True)))
                self._place()
                self.state.embedded += len(chunk)
                self.state.save(update_fields=["embedded"])
        return True

    def _place(self) -> None:
        if self.state.unplaced:
            clusters.assign(self.project.pk, self.state.unplaced)
            self.state.unplaced = []
            self.state.save(update_fields=["unplaced"])

    # --- Ranking and priorities ---------------------------------------------------

    def rank(self) -> int:
        """Spreads the head of the queue; all priorities are due afterwards."""
        changed = diversity.renew(self.project.pk, round_size=self._round_size())
        self.state.is_ranked, self.state.is_done = True, False
        self.state.rescored_to = None
        self.state.save()
        return changed

    def _round_size(self) -> int:
        project = self.project
        return project.min_labels_next if self.version else project.min_labels_first

    def rescore(self) -> tuple[bool, int]:
        """Renews the priorities: whether all are, and how many changed."""
        rescored = 0
        while not self.is_late():
            changed, below = priority.recompute_below(
                self.project.pk, self.state.rescored_to
            )
            rescored += changed
            self.state.rescored_to = below
            if below is None:
                return True, rescored
            self.state.save(update_fields=["rescored_to"])
        return False, rescored


# By hash, so that a part of them is a fair sample for `labeling.reports.audit`.
_ANSWERED_BY_OTHERS_TEST = """
SELECT id, text, predicted_by FROM labeling_question
WHERE project_id = %(project)s AND state = 'labelled' AND split = 'test'
    AND predicted_by <> %(version)s
ORDER BY text_hash LIMIT %(limit)s
"""

_ANSWERED_BY_OTHERS = """
SELECT id, text, predicted_by FROM labeling_question
WHERE project_id = %(project)s AND state = 'open' AND split <> 'test'
    AND predicted_by <> %(version)s
ORDER BY priority DESC, id LIMIT %(limit)s
"""

# An answer that a client got meanwhile is newer: `was` tells.
_WRITE = f"""
WITH fresh AS (
    SELECT * FROM unnest(
        %(ids)s::bigint[], %(was)s::text[], %(predicted)s::jsonb[],
        %(confidence)s::float8[], %(margin)s::float8[], %(method)s::text[],
        %(trace)s::jsonb[], %(is_conflict)s::bool[]
    ) AS f (id, was, predicted, confidence, margin, method, trace, is_conflict)
), held AS (
    SELECT q.id FROM labeling_question q JOIN fresh ON fresh.id = q.id
    WHERE q.predicted_by = fresh.was
    ORDER BY q.id FOR NO KEY UPDATE OF q SKIP LOCKED
)
UPDATE labeling_question q SET
    predicted = fresh.predicted, confidence = fresh.confidence, margin = fresh.margin,
    method = fresh.method, predicted_by = %(version)s, trace = fresh.trace,
    is_conflict = fresh.is_conflict,
    priority = CASE
        WHEN q.state <> 'open' OR q.priority >= {priority.RAISED} THEN q.priority
        ELSE {
    priority.score_sql(
        margin="fresh.margin",
        occurrences="q.occurrences",
        method="fresh.method",
        diversity="q.diversity",
        need=priority.need_sql(project="q.project_id", predicted="fresh.predicted"),
    )
} END
FROM held JOIN fresh ON fresh.id = held.id WHERE q.id = held.id
"""  # noqa: S608 (constants of this project only)


def _write(
    rows: list[tuple[int, str, str]], answers: list[Answer], target: Target
) -> int:
    values: dict[str, Any] = {
        "version": str(target.number),
        "ids": [row[0] for row in rows],
        "was": [row[2] for row in rows],
        "predicted": [
            Jsonb(
                [
                    {"code": i["code"], "confidence": i["confidence"]}
                    for i in answer.intents
                ]
            )
            for answer in answers
        ],
        "confidence": [answer.confidence for answer in answers],
        "margin": [answer.margin for answer in answers],
        "method": [str(answer.method) for answer in answers],
        "trace": [Jsonb(answer.trace) for answer in answers],
        "is_conflict": [answer.is_conflict for answer in answers],
    }
    with connection.cursor() as cursor:
        cursor.execute(_WRITE, values)
        return int(cursor.rowcount)


def due() -> list[int]:
    """Ids of the projects that a run may take further: unfinished, or not seen lately.

    Cost: one query over the projects.
    """
    of_project = {"project": OuterRef("pk")}
    rested = Refresh.objects.filter(
        **of_project, is_done=True, ran_at__gt=timezone.now() - REST
    )
    waiting = Question.objects.filter(**of_project, state=Question.State.OPEN)
    projects = Project.objects.filter(Exists(waiting), ~Exists(rested))
    return list(projects.order_by("pk").values_list("pk", flat=True))
