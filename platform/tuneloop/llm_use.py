"""How much of the traffic a language model answers, what it costs, and the aim."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings

from labeling import llm
from labeling.models import Project
from registry.models import LlmDay
from tuneloop import traffic

DAYS = 30
AIM_FROM, AIM = 0.05, 0.02
"""Share of the answers where such a loop begins, and below which it should come."""
_TOP = 0.06
"""Share at the top of the chart, unless a day needs more."""
METHOD = "llm"


@dataclass(frozen=True)
class Bar:
    """One day's share, in units of the chart's height (0 to 100)."""

    day: traffic.Day
    share: float | None
    y: float
    height: float


@dataclass(frozen=True)
class Use:
    """The last `DAYS` days of one project."""

    project: Project
    days: Sequence[traffic.Day]
    """Answers by day and method."""
    spent: Sequence[LlmDay]
    """Calls by day, UTC."""

    @property
    def server(self) -> llm.Server | None:
        """Who is asked; None where nobody is set up."""
        return llm.configured()

    @property
    def share(self) -> float | None:
        """Of all answers, how many the language model gave; None without any."""
        return _share(self.days)

    @property
    def recent_share(self) -> float | None:
        """The same of the last seven days."""
        return _share(self.days[-traffic.RECENT_DAYS :])

    @property
    def first_share(self) -> float | None:
        """The same of the seven days from the first answer on, if they were before."""
        began = next((n for n, day in enumerate(self.days) if day.total), DAYS)
        ended = began + traffic.RECENT_DAYS
        is_before = ended <= len(self.days) - traffic.RECENT_DAYS
        return _share(self.days[began:ended]) if is_before else None

    @property
    def standing(self) -> str:
        """How far the aim is: "good" below it, "bad" above where it begins."""
        share = self.recent_share
        if share is None:
            return ""
        return "good" if share < AIM else "warn" if share <= AIM_FROM else "bad"

    @property
    def cost(self) -> float:
        """Of all calls, in the currency of the prices."""
        return sum(day.cost for day in self.spent)

    @property
    def cost_per_1000(self) -> float | None:
        """Of a thousand answers, whoever gave them; None without any."""
        asked = sum(day.total for day in self.days)
        return 1000 * self.cost / asked if asked else None

    @property
    def has_prices(self) -> bool:
        """Whether the settings say what a token costs."""
        return bool(settings.LLM_PRICE_IN or settings.LLM_PRICE_OUT)

    @property
    def tokens(self) -> int:
        """Read and written."""
        return sum(day.tokens_in + day.tokens_out for day in self.spent)

    @property
    def calls(self) -> int:
        """Begun."""
        return sum(day.calls for day in self.spent)

    @property
    def failed(self) -> int:
        """Calls without an answer in time, or without one of the known codes."""
        return sum(day.failed for day in self.spent)

    @property
    def cached(self) -> int:
        """Answers that took no call."""
        return sum(day.cached for day in self.spent)

    @property
    def calls_today(self) -> int:
        """Of today's budget, which is a day of UTC."""
        today = datetime.now(UTC).date()
        return sum(day.calls for day in self.spent if day.day == today)

    @property
    def is_budget_spent(self) -> bool:
        """Whether nobody is asked any more today."""
        return self.calls_today >= self.project.llm_budget

    @property
    def bars(self) -> list[Bar]:
        """Each day's share."""
        return [
            Bar(day, share, self._y(share or 0.0), 100 - self._y(share or 0.0))
            for day in self.days
            for share in [_share([day])]
        ]

    @property
    def aim_lines(self) -> list[tuple[float, float]]:
        """(share, y) of where the aim begins and ends."""
        return [(share, self._y(share)) for share in (AIM_FROM, AIM)]

    def _y(self, share: float) -> float:
        top = max([_TOP, *(_share([day]) or 0.0 for day in self.days)])
        return round(100 * (1 - share / top), 2)


def spent(project: Project) -> list[LlmDay]:
    """The project's calls of the last `DAYS` days, by day. One query."""
    since = datetime.now(UTC).date() - timedelta(days=DAYS - 1)
    return list(project.llm_days.filter(day__gte=since).order_by("day"))


def _share(days: Sequence[traffic.Day]) -> float | None:
    asked = sum(day.total for day in days)
    said = sum(day.by_method.get(METHOD, 0) for day in days)
    return said / asked if asked else None
