"""A rollout's version beside the active one: agreement, confidence, latency."""

from dataclasses import dataclass
from typing import Any

from django.db import connection

from labeling.models import Project
from labeling.rules.wilson import Interval, wilson
from registry.models import Rollout, ShadowAnswer

NEWEST = 10_000
"""Answers that the figures are of: a page must not grow slower with the traffic."""
_READ = 50_000
"""Log entries that a canary's are looked for among."""
SHOWN = 25
_DISAGREEMENTS = 1_000


@dataclass(frozen=True)
class Side:
    """One version's answers."""

    n: int
    low: float | None
    """Share below the project's low confidence; None without answers."""
    confidence: float | None
    """Mean."""
    p50_ms: float | None
    p99_ms: float | None


@dataclass(frozen=True)
class Labelled:
    """Disagreements that somebody has labelled since."""

    n: int
    active: int
    """Where the active version was right."""
    candidate: int


@dataclass(frozen=True)
class Comparison:
    """What a rollout's page shows."""

    active: Side
    candidate: Side
    agreement: Interval | None
    """Share of requests with the same answer, with its 95 % interval; in shadow."""
    labelled: Labelled | None
    disagreements: list[ShadowAnswer]
    """The newest."""

    @property
    def has_answers(self) -> bool:
        """Whether the candidate has answered anything."""
        return bool(self.candidate.n)


def compare(rollout: Rollout) -> Comparison:
    """Reads a rollout's figures: three queries, over the newest `NEWEST` answers."""
    if rollout.mode == Rollout.Mode.CANARY:
        active, candidate = _canary(rollout)
        return Comparison(active, candidate, None, None, [])
    active, candidate = _shadow(rollout)
    agreement = None
    if rollout.compared:
        agreement = wilson(rollout.agreed, rollout.compared)
    answers = rollout.answers.filter(agrees=False).order_by("-id")
    return Comparison(
        active, candidate, agreement, _labelled(rollout), list(answers[:SHOWN])
    )


_SHADOW = """
SELECT count(*), avg((active_confidence < %(low)s)::int), avg(active_confidence),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY active_latency_ms),
    percentile_cont(0.99) WITHIN GROUP (ORDER BY active_latency_ms),
    count(*), avg((confidence < %(low)s)::int), avg(confidence),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms),
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms)
FROM (SELECT * FROM registry_shadowanswer WHERE rollout_id = %(rollout)s
    ORDER BY id DESC LIMIT %(newest)s) AS answers
"""


def _shadow(rollout: Rollout) -> tuple[Side, Side]:
    row = _row(
        _SHADOW,
        low=rollout.project.low_confidence,
        rollout=rollout.pk,
        newest=NEWEST,
    )
    return _side(row[:5]), _side(row[5:])


_CANARY = """
SELECT count(*), avg((confidence < %(low)s)::int), avg(confidence),
    percentile_cont(0.5) WITHIN GROUP (ORDER BY latency_ms),
    percentile_cont(0.99) WITHIN GROUP (ORDER BY latency_ms)
FROM (
    SELECT * FROM (
        SELECT confidence, latency_ms, version, method FROM registry_classificationlog
        WHERE project_id = %(project)s AND created_at >= %(from)s
            AND created_at <= coalesce(%(to)s, clock_timestamp())
        ORDER BY created_at DESC LIMIT %(read)s) AS newest
    WHERE version = %(version)s AND method <> 'gold' LIMIT %(newest)s) AS answers
"""


def _canary(rollout: Rollout) -> tuple[Side, Side]:
    project: Project = rollout.project
    sides = []
    for version in (rollout.baseline, rollout.version):
        row = _row(
            _CANARY,
            **{
                "low": project.low_confidence,
                "project": project.pk,
                "version": "" if version is None else str(version.number),
                "from": rollout.started_at,
                "to": rollout.ended_at,
                "newest": NEWEST,
                "read": _READ,
            },
        )
        sides.append(_side(row))
    return sides[0], sides[1]


# A label that came after the answers says who was right.
_LABELLED = """
SELECT count(*), count(*) FILTER (WHERE active_codes = wanted),
    count(*) FILTER (WHERE codes = wanted)
FROM (
    SELECT DISTINCT ON (q.id) s.active_codes, s.codes, coalesce(
        (SELECT jsonb_agg(i.code ORDER BY i.code) FROM labeling_goldlabel g
         JOIN labeling_intent i ON i.id = g.intent_id WHERE g.question_id = q.id),
        (SELECT jsonb_agg(i.code) FROM labeling_intent i
         WHERE i.project_id = q.project_id AND i.is_fallback AND i.retired_at IS NULL),
        '[]') AS wanted
    FROM (SELECT request_id, active_codes, codes, id FROM registry_shadowanswer
        WHERE rollout_id = %(rollout)s AND NOT agrees
        ORDER BY id DESC LIMIT %(newest)s) AS s
    JOIN registry_classificationlog log ON log.request_id = s.request_id
    JOIN labeling_question q ON q.id = log.question_id AND q.state = 'labelled'
    ORDER BY q.id, s.id DESC) AS judged
"""


def _labelled(rollout: Rollout) -> Labelled:
    return Labelled(*_row(_LABELLED, rollout=rollout.pk, newest=_DISAGREEMENTS))


def _row(sql: str, **values: Any) -> tuple[Any, ...]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        row: tuple[Any, ...] = cursor.fetchone()
    return row


def _side(row: tuple[Any, ...]) -> Side:
    n, low, *rest = row
    return Side(n, None if low is None else float(low), *rest)
