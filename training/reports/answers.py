"""The questions of an evaluation, a page at a time, narrowed to what is looked for."""

from dataclasses import dataclass, replace
from urllib.parse import urlencode

from django.db.models import F, Q, QuerySet
from django.http import QueryDict

from registry.models import Evaluation, EvaluationAnswer

PAGE = 50
"""Questions of a page."""

NO_INTENT = "~"
"""Stands in an address for no intent at all, which a matrix writes as nothing."""

ALL, WRONG, RIGHT = "all", "wrong", "right"
MEASURED, SUREST, UNSUREST = "measured", "surest", "unsurest"
_SHOWS = (ALL, WRONG, RIGHT)
_ORDERS = (MEASURED, SUREST, UNSUREST)


@dataclass(frozen=True)
class Wanted:
    """Which answers, in which order, and where the page begins."""

    right: str = ""
    """Code of an intent that is right."""
    answered: str = ""
    """Code of an intent that was answered."""
    show: str = ALL
    order: str = MEASURED
    after: tuple[float, int] | None = None
    """Confidence and row of the last answer of the page before."""

    @classmethod
    def read(cls, query: QueryDict) -> "Wanted":
        """What an address asks for; what it says wrongly is left out."""
        show, order = query.get("show", ""), query.get("order", "")
        return cls(
            right=query.get("right", "").replace("\0", "").strip(),
            answered=query.get("answered", "").replace("\0", "").strip(),
            show=show if show in _SHOWS else ALL,
            order=order if order in _ORDERS else MEASURED,
            after=_after(query.get("after", "")),
        )

    @property
    def query(self) -> str:
        """The address's query, with its question mark."""
        values = {
            "right": self.right,
            "answered": self.answered,
            "show": "" if self.show == ALL else self.show,
            "order": "" if self.order == MEASURED else self.order,
            "after": f"{self.after[0]!r}_{self.after[1]}" if self.after else "",
        }
        return "?" + urlencode({name: v for name, v in values.items() if v})

    def but(self, **values: str) -> "Wanted":
        """The first page of the same with other values."""
        return replace(self, after=None, **values)

    @property
    def is_cell(self) -> bool:
        """Whether it is one cell of the matrix, and so cannot be right and wrong."""
        return bool(self.right and self.answered)


def page(
    evaluation: Evaluation, wanted: Wanted
) -> tuple[list[EvaluationAnswer], str | None]:
    """One page of answers, and the query of the next one; None where it is the last.

    One query. It walks the evaluation's answers in the order of the page and ends with
    the page; only what is rare among them makes it walk on, to their end at most. By
    confidence all of an evaluation's answers are looked at: some 50 ms for 100,000.
    """
    rows = evaluation.answers.filter(_where(wanted))
    found = list(_in_order(rows, wanted)[: PAGE + 1])
    if len(found) <= PAGE:
        return found, None
    last = found[PAGE - 1]
    more = replace(wanted, after=(last.confidence, last.row))
    return found[:PAGE], more.query


def _where(wanted: Wanted) -> Q:
    """A cell counts a question whose first intent was missed and whose second was given
    wrongly: with one intent a question this is "has the first, was given the second".
    """
    right, answered = wanted.right, wanted.answered
    where = Q() if wanted.show == ALL else Q(is_right=wanted.show == RIGHT)
    if wanted.is_cell and right == answered == NO_INTENT:
        return where & Q(wanted=[], given=[])
    if right not in ("", NO_INTENT):
        where &= Q(wanted__contains=[right])
    if answered not in ("", NO_INTENT):
        where &= Q(given__contains=[answered])
    if not wanted.is_cell or right == answered:
        return where
    # None missed: all that is wanted was given. None invented: the other way round.
    if right == NO_INTENT:
        where &= Q(given__contains=F("wanted"))
    else:
        where &= ~Q(given__contains=[right])
    if answered == NO_INTENT:
        where &= Q(wanted__contains=F("given"))
    else:
        where &= ~Q(wanted__contains=[answered])
    return where


def _in_order(
    rows: QuerySet[EvaluationAnswer], wanted: Wanted
) -> QuerySet[EvaluationAnswer]:
    after = wanted.after
    if wanted.order == MEASURED:
        if after is not None:
            rows = rows.filter(row__gt=after[1])
        return rows.order_by("row")
    is_surest = wanted.order == SUREST
    if after is not None:
        confidence, row = after
        beyond = (
            Q(confidence__lt=confidence) if is_surest else Q(confidence__gt=confidence)
        )
        rows = rows.filter(beyond | Q(confidence=confidence, row__gt=row))
    return rows.order_by("-confidence" if is_surest else "confidence", "row")


def _after(text: str) -> tuple[float, int] | None:
    confidence, _line, row = text.partition("_")
    if not (row.isascii() and row.isdigit() and len(row) < 10):
        return None
    try:
        return float(confidence), int(row)
    except ValueError:
        return None
