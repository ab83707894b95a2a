"""What was asked in the last days, by day and by how it was answered, and its bars."""

from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta

from django.core.cache import cache
from django.db import connection
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from labeling.models import Project

DAYS = 14
RECENT_DAYS = 7
_REMEMBER_ABOVE = 50_000
"""Answers above which the days that are over are not counted anew."""
_REMEMBER_S = 300

METHODS: tuple[tuple[str, str | Promise], ...] = (
    ("gold", _("Exact label")),
    ("fused", _("Rules and model")),
    ("model", _("Model")),
    ("rules", _("Rules")),
    ("llm", _("LLM")),
    ("fallback", _("Fallback")),
)
"""In the order of the bars, from below; others of the log come last."""


@dataclass(frozen=True)
class Bar:
    """One method's part of a day's bar, in units of the chart's height (0 to 100)."""

    method: str
    y: float
    height: float


@dataclass
class Day:
    """One day's answers."""

    day: date
    by_method: dict[str, int] = field(default_factory=dict)
    needs_review: int = 0
    bars: list[Bar] = field(default_factory=list)

    @property
    def total(self) -> int:
        """All answers of the day."""
        return sum(self.by_method.values())


@dataclass
class Traffic:
    """The last `DAYS` days, oldest first, today included."""

    days: list[Day]
    counted: list[Day]
    """The same, and those before that were asked for."""

    @property
    def recent(self) -> list[Day]:
        """The last `RECENT_DAYS` days."""
        return self.days[-RECENT_DAYS:]

    @property
    def asked(self) -> int:
        """Answers in the last `RECENT_DAYS` days."""
        return sum(day.total for day in self.recent)

    @property
    def low_rate(self) -> float | None:
        """Share of those that needed review; None without any."""
        return (
            sum(d.needs_review for d in self.recent) / self.asked
            if self.asked
            else None
        )

    @property
    def most(self) -> int:
        """The busiest day's answers."""
        return max(day.total for day in self.days)

    @property
    def legend(self) -> list[tuple[str, str | Promise, int]]:
        """(method, its name, answers) of each method that occurs."""
        totals: dict[str, int] = {}
        for day in self.days:
            for method, n in day.by_method.items():
                totals[method] = totals.get(method, 0) + n
        names = dict(METHODS)
        ordered = [
            *(m for m in names if m in totals),
            *(m for m in totals if m not in names),
        ]
        return [
            (method, names.get(method, method), totals[method]) for method in ordered
        ]


def of(project: Project, *, counted: int = DAYS) -> Traffic:
    """The project's answers of the last `DAYS` days.

    Args:
        project: Whose answers.
        counted: Days that are counted, at least `DAYS`.

    Cost: one scan of the log by its index on time, about a second for a million answers
    in 14 days. Where there are that many, the days that are over are remembered for
    five minutes; today's are always counted.
    """
    today = timezone.localdate()
    days = [Day(today - timedelta(days=n)) for n in reversed(range(counted))]
    key = f"traffic:{project.pk}:{today.isoformat()}:{counted}"
    past: list[Day] | None = cache.get(key)
    if past is None:
        _count(project, days)
        if sum(day.total for day in days) > _REMEMBER_ABOVE:
            cache.set(key, days[:-1], _REMEMBER_S)
    else:
        _count(project, days[-1:])
        days = [*past, days[-1]]
    traffic = Traffic(days[-DAYS:], days)
    for day in traffic.days:
        day.bars = _bars(day, most=traffic.most)
    return traffic


def _count(project: Project, days: list[Day]) -> None:
    """Fills consecutive days, the last of them open to the future."""
    zone = timezone.get_current_timezone()
    midnights = [datetime.combine(day.day, time.min, tzinfo=zone) for day in days]
    with connection.cursor() as cursor:
        # Buckets and not a conversion of each time to a date, which costs twice.
        cursor.execute(
            """
            SELECT width_bucket(created_at, %s), method, count(*),
                count(*) FILTER (WHERE needs_review)
            FROM registry_classificationlog
            WHERE project_id = %s AND created_at >= %s
            GROUP BY 1, 2
            """,
            [midnights, project.pk, midnights[0]],
        )
        for bucket, method, n, needs_review in cursor.fetchall():
            days[bucket - 1].by_method[method] = n
            days[bucket - 1].needs_review += needs_review


def _bars(day: Day, *, most: int) -> list[Bar]:
    bars, top = [], 100.0
    for method in sorted(day.by_method, key=_order):
        height = 100.0 * day.by_method[method] / most
        top -= height
        bars.append(Bar(method, round(top, 2), round(height, 2)))
    return bars


def _order(method: str) -> tuple[int, str]:
    known = [name for name, _label in METHODS]
    return (known.index(method) if method in known else len(known), method)
