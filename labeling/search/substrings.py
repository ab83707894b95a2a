"""Questions by any part of their text, Chinese or English, among a million."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.db.models.expressions import RawSQL

MOST = 10_000
"""A search finds so many questions, the newest; more words find fewer."""
BUDGET_S = 0.15
"""How long a search reads on; a million texts take about 0.2 s of one core."""
STRIDE = 100_000
"""Ids that one statement reads: some 20 ms, so that the budget is kept."""
_MOST_WORDS = 10

_ENDS = """
SELECT min(question_id), max(question_id) FROM labeling_searchtext
WHERE project_id = ANY (%(projects)s)
"""
_FIND = """
SELECT question_id FROM labeling_searchtext
WHERE project_id = ANY (%(projects)s)
  AND question_id > %(low)s AND question_id <= %(high)s
  AND {words}
ORDER BY question_id DESC LIMIT %(most)s
"""


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    questions: QuerySet[Any]
    """Those of the given ones whose text holds all the words."""
    is_capped: bool = False
    """Whether there are more than `MOST`: only the newest were taken."""
    is_cut: bool = False
    """Whether time ran out: the oldest texts were not read."""


def find(
    questions: QuerySet[Any],
    text: str,
    *,
    projects: Iterable[int],
    budget_s: float = BUDGET_S,
) -> Found:
    """The questions whose text holds each of the words, anywhere in it.

    Width, case and compatibility forms do not count, as in `normalise`. Words are what
    stands between spaces: in Chinese mostly the whole term.

    Args:
        questions: Narrowed further; not evaluated here.
        text: The words; without any, all the questions are found.
        projects: Ids of the projects whose texts are read.
        budget_s: How long to read on, in seconds.

    Cost: one statement for each `STRIDE` ids, newest first, until `MOST` are found or
    the budget is spent: 0.2 s of one core for a million texts that do not match.
    """
    words = text.replace("\0", "").split()[:_MOST_WORDS]
    if not words:
        return Found(questions)
    until = time.monotonic() + budget_s
    values: dict[str, Any] = {"projects": list(projects)}
    values |= {f"word{n}": word for n, word in enumerate(words)}
    test = " AND ".join(
        f"strpos(folded, labeling_fold(%(word{n})s)) > 0" for n in range(len(words))
    )
    sql = _FIND.format(words=test)
    found: list[int] = []
    is_cut = False
    with connection.cursor() as cursor:
        cursor.execute(_ENDS, values)
        first, high = cursor.fetchone() or (None, None)
        while high is not None and high >= first and len(found) <= MOST:
            if time.monotonic() > until:
                is_cut = True
                break
            most = MOST + 1 - len(found)
            values |= {"low": high - STRIDE, "high": high, "most": most}
            cursor.execute(sql, values)
            found += [pk for (pk,) in cursor.fetchall()]
            high -= STRIDE
    # An array and not a list of parameters: it is parsed and planned in no time.
    ids = RawSQL("SELECT unnest(%s::bigint[])", [found[:MOST]])
    return Found(
        questions.filter(pk__in=ids), is_capped=len(found) > MOST, is_cut=is_cut
    )
