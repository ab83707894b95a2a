"""Rolls a version back by itself when live answers became worse with its activation.

What is compared is a project's share of unsure answers, and of those that a version
could not give, since the activation with before it. A rise counts when it is larger
than the project tolerates and than chance explains. The guard looks every few seconds
for a day, hence the high bar against chance; it acts once an activation at most.
"""

import logging
import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from labeling.models import Project
from registry import artifacts, versions
from registry.models import Activation, Alarm, Guard, Rollout, Version
from registry.rollout import running
from registry.serving import announce

WATCHED = timedelta(days=1)
"""After an activation; what comes up later is another cause's."""
SURE = 4.0
"""Standard errors that a rise must exceed. By chance alone, one look in 30,000 does."""
_MOST = 5_000
"""Answers on each side, those nearest to the activation and to now."""
_READ = 50_000
"""Log entries that are read for them: a small canary has few in many."""
_BEFORE = timedelta(days=30)

Measure = Alarm.Measure

_logger = logging.getLogger(__name__)


class Rate(NamedTuple):
    """How many of how many answers."""

    hits: int
    n: int

    @property
    def share(self) -> float:
        return self.hits / self.n if self.n else 0.0


@dataclass(frozen=True, slots=True)
class Finding:
    """A share that rose too far."""

    measure: str
    before: Rate
    after: Rate

    def sentence(self) -> str:
        """What became worse, in the reader's language."""
        values = {
            "before": f"{100 * self.before.share:.1f}",
            "after": f"{100 * self.after.share:.1f}",
            "n_before": self.before.n,
            "n_after": self.after.n,
        }
        words = (
            _(
                "Answers of low confidence rose from %(before)s %% (of %(n_before)s) to"
                " %(after)s %% (of %(n_after)s)."
            )
            if self.measure == Measure.LOW_CONFIDENCE
            else _(
                "Questions that the version could not answer rose from %(before)s %%"
                " (of %(n_before)s) to %(after)s %% (of %(n_after)s)."
            )
        )
        return words % values


def z_score(before: Rate, after: Rate) -> float:
    """By how many standard errors a share rose; 0 where nothing can be said.

    Source: the pooled two-proportion z-test.
    """
    if not before.n or not after.n:
        return 0.0
    pooled = (before.hits + after.hits) / (before.n + after.n)
    error = math.sqrt(pooled * (1 - pooled) * (1 / before.n + 1 / after.n))
    return (after.share - before.share) / error if error else 0.0


def judge(measure: str, before: Rate, after: Rate, guard: Guard) -> Finding | None:
    """Whether a share rose too far; None where it did not, or too few can tell."""
    if min(before.n, after.n) < guard.least:
        return None
    if after.share - before.share <= guard.rise or z_score(before, after) < SURE:
        return None
    return Finding(measure, before, after)


def check() -> list[Alarm]:
    """Looks after every activation and canary that is watched, and acts.

    Cost: one query; two a watched project, over an index and `_READ` rows at most.
    """
    alarms = []
    for activation in _watched():
        guard = guard_of(activation.project_id)
        if guard.is_on and (finding := _after_activation(activation, guard)):
            alarms += _roll_back(activation, finding)
    for rollout in Rollout.objects.filter(
        ended_at=None, mode=Rollout.Mode.CANARY, alarm=None
    ).select_related("version", "baseline", "project"):
        guard = guard_of(rollout.project_id)
        if guard.is_on and (finding := _beside(rollout, guard)):
            alarms += _end(rollout, finding)
    return alarms


def guard_of(project_id: int) -> Guard:
    """The project's bounds, or the defaults. One query."""
    row = Guard.objects.filter(pk=project_id).first()
    return row or Guard(project_id=project_id)


def set_bounds(project: Project, *, is_on: bool, rise: float, least: int) -> None:
    """Sets a project's own bounds. One statement."""
    bounds = {"is_on": is_on, "rise": rise, "least": least}
    Guard.objects.update_or_create(project=project, defaults=bounds)


def _watched() -> list[Activation]:
    """Each project's latest switch, where it alone can have made answers worse."""
    latest = (
        Activation.objects.filter(created_at__gt=timezone.now() - WATCHED)
        .order_by("project_id", "-id")
        .distinct("project_id")
    )
    return [
        one
        for one in latest.select_related("project", "version", "previous", "alarm")
        if one.kind == Activation.Kind.ACTIVATE
        and one.previous_id is not None
        and one.version.state == Version.State.ACTIVE
        and not hasattr(one, "alarm")
        # Other thresholds, other shares: that is no version's fault.
        and not one.project.tunings.filter(created_at__gt=one.created_at).exists()
    ]


# An answer by a gold label says nothing of a version. What the language model answered
# neither rules nor model were sure of.
_COUNT = """
SELECT count(*),
    count(*) FILTER (WHERE method = 'llm' OR confidence < (
        SELECT low_confidence FROM labeling_project WHERE id = %(project)s)),
    count(*) FILTER (WHERE degraded)
FROM (
    SELECT * FROM (
        SELECT confidence, method, degraded, version FROM registry_classificationlog
        WHERE project_id = %(project)s
            AND created_at > %(from)s AND created_at <= %(to)s
        ORDER BY created_at DESC LIMIT %(read)s) AS newest
    WHERE method <> 'gold' AND version = ANY(%(versions)s) LIMIT %(most)s) AS own
"""


def _after_activation(activation: Activation, guard: Guard) -> Finding | None:
    assert activation.previous is not None
    at, now = activation.created_at, timezone.now()
    project_id, before = activation.project_id, activation.previous
    # Requests that were under way are answered by the version before.
    return _judge_both(
        _rates(project_id, before, since=at - _BEFORE, to=at),
        _rates(project_id, activation.version, since=at, to=now),
        guard,
    )


def _beside(rollout: Rollout, guard: Guard) -> Finding | None:
    since, now = rollout.started_at, timezone.now()
    before = _rates(rollout.project_id, rollout.baseline, since=since, to=now)
    low, _none = _rates(rollout.project_id, rollout.version, since=since, to=now)
    # What it failed at the active version has answered, and the log says so.
    could_not = Rate(rollout.failed, low.n + rollout.failed)
    return _judge_both(before, (low, could_not), guard)


def _rates(
    project_id: int, version: Version | None, *, since: datetime, to: datetime
) -> tuple[Rate, Rate]:
    """A version's answers of low confidence, and those that it could not give.

    What it could not give bears no version's number.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT,
            {
                "project": project_id,
                "versions": ["" if version is None else str(version.number), ""],
                "from": since,
                "to": to,
                "most": _MOST,
                "read": _READ,
            },
        )
        n, low, degraded = cursor.fetchone()
    return Rate(low, n), Rate(degraded, n)


def _judge_both(
    before: tuple[Rate, Rate], after: tuple[Rate, Rate], guard: Guard
) -> Finding | None:
    return judge(Measure.DEGRADED, before[1], after[1], guard) or judge(
        Measure.LOW_CONFIDENCE, before[0], after[0], guard
    )


def _roll_back(activation: Activation, finding: Finding) -> list[Alarm]:
    project = activation.project
    try:
        # Before the transaction: processes load it, so that no request waits.
        announce.prepare(versions.version_before(project))
        with transaction.atomic():
            done = versions.roll_back(
                project,
                by=None,
                reason=finding.sentence(),
                is_automatic=True,
                only_from=activation,
            )
            return [_raise(finding, project, activation=activation, rollback=done)]
    except versions.Overtaken:
        return []  # somebody was faster
    except (versions.VersionError, artifacts.ArtifactError) as error:
        # Said once, to people: trying again would not help.
        problem = str(error)
        return [_raise(finding, project, activation=activation, problem=problem)]


def _end(rollout: Rollout, finding: Finding) -> list[Alarm]:
    with transaction.atomic():
        if not running.end(rollout, by=None, reason=finding.sentence()):
            return []
        return [_raise(finding, rollout.project, rollout=rollout)]


def _raise(finding: Finding, project: Project, **about: Any) -> Alarm:
    _logger.warning("%s: %s", project, finding.sentence())
    return Alarm.objects.create(
        project=project,
        measure=finding.measure,
        before=finding.before.share,
        after=finding.after.share,
        n_before=finding.before.n,
        n_after=finding.after.n,
        **about,
    )
