"""Two evaluations on the questions that both were asked: fixed, broken, forgotten."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.core.cache import cache
from django.db import connection, transaction

from labeling.models import Intent
from registry.models import Evaluation, Version
from training.statistics import metrics, resampling

PAGE = 10
"""Questions of a list at a time."""
_KEPT_S = 3600

# By question, where both were asked the project's own; else by text, each text once.
# What was right is taken from the newer measurement, for both: a label may have been
# corrected in between.
_BY_QUESTION = """
FROM registry_evaluationanswer n JOIN registry_evaluationanswer o
    ON o.question_id = n.question_id
WHERE n.evaluation_id = %(new)s AND o.evaluation_id = %(old)s
"""
_BY_TEXT = """
FROM (
    SELECT DISTINCT ON (text) * FROM registry_evaluationanswer
    WHERE evaluation_id = %(new)s ORDER BY text, row
) n JOIN (
    SELECT DISTINCT ON (text) * FROM registry_evaluationanswer
    WHERE evaluation_id = %(old)s ORDER BY text, row
) o ON o.text = n.text
WHERE true
"""
_COUNT = "SELECT n.wanted, o.given, n.given, count(*) {pairs} GROUP BY 1, 2, 3"
_LIST = """
SELECT n.row, n.question_id, n.text, n.wanted, o.given, n.given, o.confidence,
    n.confidence
{pairs} AND {condition} AND n.row > %(after)s
ORDER BY n.row LIMIT %(limit)s
"""
FIXED, BROKEN = "fixed", "broken"
_CONDITIONS = {
    FIXED: "o.given <> n.wanted AND n.given = n.wanted",
    BROKEN: "o.given = n.wanted AND n.given <> n.wanted",
}


@dataclass(frozen=True)
class Change:
    """A measure before and after."""

    before: float
    after: float
    low: float | None = None
    high: float | None = None
    """The 95 % interval of the difference, by a paired bootstrap."""

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(frozen=True)
class IntentChange:
    """Recall of an intent before and after."""

    code: str
    n: int
    before: float
    after: float
    p: float
    """Chance of such a loss, or such a gain, by accident."""

    @property
    def difference(self) -> float:
        """After less before."""
        return self.after - self.before


@dataclass(frozen=True)
class SideBySide:
    """What the second of two evaluations says of the first's questions."""

    n: int
    fixed: int
    broken: int
    p: float
    """McNemar's, exact and two-sided."""
    accuracy: Change
    macro_f1: Change
    out_of_scope: Change | None
    """F1; None where no question is out of scope."""
    intents: list[IntentChange]
    """Those that changed, the largest loss first."""
    old_intents: int
    """Intents that the first version knew and that were asked for."""
    old_n: int
    forgetting: Change | None
    """Accuracy on the questions of these intents; None where it knew none of them."""
    backward_transfer: float
    """Mean change of these intents' recall, each counting the same."""
    is_renamed: bool
    """Whether a code of the older one is another one's today."""


@dataclass(frozen=True)
class Changed:
    """A question that one of the two got right and the other one wrong."""

    row: int
    question_id: int | None
    text: str
    wanted: list[str]
    before: list[str]
    after: list[str]
    confidence_before: float
    confidence_after: float


def compare(old: Evaluation, new: Evaluation) -> SideBySide | None:
    """Compares two evaluations of a project; None where they share no question.

    Evaluations never change, so the result is kept for an hour. Cost of the first time:
    three queries and the bootstrap, about a second for 10,000 questions.
    """
    key = f"side-by-side:{old.pk}:{new.pk}"
    found: SideBySide | None = cache.get(key)
    if found is None:
        found = _compare(old, new)
        if found is not None:
            cache.set(key, found, _KEPT_S)
    return found


def changed(
    old: Evaluation, new: Evaluation, *, which: str, after: int = -1
) -> tuple[list[Changed], int | None]:
    """A page of the questions that are `FIXED` or `BROKEN`, and where the next begins.

    One query.
    """
    values = {"old": old.pk, "new": new.pk, "after": after, "limit": PAGE + 1}
    sql = _LIST.format(pairs=_pairs(old, new), condition=_CONDITIONS[which])
    rows = [_changed(*row) for row in _joined(sql, values)]
    return rows[:PAGE], rows[PAGE - 1].row if len(rows) > PAGE else None


def _compare(old: Evaluation, new: Evaluation) -> SideBySide | None:
    found = _joined(
        _COUNT.format(pairs=_pairs(old, new)), {"old": old.pk, "new": new.pk}
    )
    rows = [(*(json.loads(part) for part in parts), n) for *parts, n in found]
    if not rows:
        return None
    codes = sorted({code for row in rows for part in row[:3] for code in part})
    column = {code: at for at, code in enumerate(codes)}
    # Many questions are answered alike: they come as one row with a count.
    kinds = np.zeros((3, len(rows), len(codes)), bool)
    for at, row in enumerate(rows):
        for side, part in enumerate(row[:3]):
            kinds[side, at, [column[code] for code in part]] = True
    truth, *sides = np.repeat(kinds, [row[3] for row in rows], axis=1)
    project = new.version.project
    fallback = Intent.objects.filter(project=project, is_fallback=True)
    return _Sides(codes, truth, *sides).result(
        known=_known(old.version),
        fallback=fallback.values_list("code", flat=True).first(),
        is_renamed=project.aliases.filter(code__in=codes).exists(),
    )


class _Sides:
    """What is right and what both answered, bool (N, C) each."""

    def __init__(
        self, codes: list[str], truth: metrics.Bools, *sides: metrics.Bools
    ) -> None:
        self.codes, self.truth, (self.old, self.new) = codes, truth, sides
        self.draws = resampling.Draws(truth, *sides)

    def result(
        self, *, known: set[str], fallback: str | None, is_renamed: bool
    ) -> SideBySide:
        was, now = _right(self.truth, self.old), _right(self.truth, self.new)
        mine = np.array([code in known for code in self.codes], bool)
        is_old = _only(self.truth, mine)
        return SideBySide(
            n=len(self.truth),
            fixed=int((~was & now).sum()),
            broken=int((was & ~now).sum()),
            p=metrics.mcnemar_p(was, now),
            accuracy=self._accuracy(was, now),
            macro_f1=self._macro_f1(),
            out_of_scope=self._outside(fallback),
            intents=self._intents(),
            old_intents=int((self.truth & mine).any(axis=0).sum()),
            old_n=int(is_old.sum()),
            forgetting=self._accuracy(was[is_old], now[is_old], among=mine)
            if is_old.any()
            else None,
            backward_transfer=self._backward_transfer(mine),
            is_renamed=is_renamed,
        )

    def _backward_transfer(self, among: metrics.Bools) -> float:
        """Source: Lopez-Paz and Ranzato 2017, of intents instead of tasks."""
        own = np.flatnonzero(among & self.truth.any(axis=0))
        changes = [
            self.new[member, at].mean() - self.old[member, at].mean()
            for at, member in ((at, self.truth[:, at]) for at in own)
        ]
        return float(np.mean(changes)) if changes else 0.0

    def _accuracy(
        self,
        was: metrics.Bools,
        now: metrics.Bools,
        *,
        among: metrics.Bools | None = None,
    ) -> Change:
        """Of all rows, or of those with none but some intents, bool (C,)."""
        truth, old, new = self.draws.tables
        member = None if among is None else _only(truth, among)
        after = self.draws.share(_right(truth, new), among=member)
        before = self.draws.share(_right(truth, old), among=member)
        return Change(float(was.mean()), float(now.mean()), *_interval(after - before))

    def _macro_f1(self) -> Change:
        truth, old, new = self.draws.tables
        spread = self.draws.macro_f1(truth, new) - self.draws.macro_f1(truth, old)
        return Change(
            metrics.macro_f1(self.truth, self.old),
            metrics.macro_f1(self.truth, self.new),
            *_interval(spread),
        )

    def _outside(self, fallback: str | None) -> Change | None:
        if fallback not in self.codes:
            return None
        at = [self.codes.index(fallback)]
        if not self.truth[:, at].any():
            return None
        truth, old, new = (table[:, at] for table in self.draws.tables)
        spread = self.draws.f1(truth, new) - self.draws.f1(truth, old)
        return Change(
            metrics.micro_f1(self.truth[:, at], self.old[:, at]),
            metrics.micro_f1(self.truth[:, at], self.new[:, at]),
            *_interval(spread[:, 0]),
        )

    def _intents(self) -> list[IntentChange]:
        found = []
        for at, code in enumerate(self.codes):
            member = self.truth[:, at]
            was, now = self.old[member, at], self.new[member, at]
            if (was ^ now).any():
                shares = float(was.mean()), float(now.mean())
                p = metrics.mcnemar_p(was, now)
                found.append(IntentChange(code, len(was), *shares, p))
        return sorted(found, key=lambda one: (one.difference, one.code))


def _right(truth: metrics.Bools, chosen: metrics.Bools) -> metrics.Bools:
    return np.asarray((truth == chosen).all(axis=1), bool)


def _only(truth: metrics.Bools, among: metrics.Bools) -> metrics.Bools:
    """Rows that have an intent, and none but these."""
    return np.asarray(truth.any(axis=1) & ~(truth & ~among).any(axis=1), bool)


def _interval(spread: resampling.Floats) -> tuple[float, float] | tuple[None, None]:
    low, high = resampling.interval(spread) or (None, None)
    return (low, high) if low is not None and high is not None else (None, None)


@transaction.atomic
def _joined(sql: str, values: dict[str, int]) -> list[tuple[Any, ...]]:
    """Runs a join of two evaluations.

    Answers that were written a moment ago are not in the planner's statistics: it would
    expect a single one, and look at each pair of 100,000.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_nestloop = off")
        cursor.execute(sql, values)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.execute("SET LOCAL enable_nestloop TO DEFAULT")
        return rows


def _changed(
    row: int,
    question_id: int | None,
    text: str,
    wanted: str,
    before: str,
    after: str,
    confidence_before: float,
    confidence_after: float,
) -> Changed:
    """A row of `_LIST`; its columns of JSON come as text."""
    return Changed(
        row,
        question_id,
        text,
        wanted=json.loads(wanted),
        before=json.loads(before),
        after=json.loads(after),
        confidence_before=confidence_before,
        confidence_after=confidence_after,
    )


def _pairs(old: Evaluation, new: Evaluation) -> str:
    has_file = Evaluation.Kind.FILE in (old.kind, new.kind)
    return _BY_TEXT if has_file else _BY_QUESTION


def _known(version: Version) -> set[str]:
    """The codes that a version answers, by their names then and now."""
    aliases = dict(version.project.aliases.values_list("code", "intent__code"))
    return {c for code in version.label_set for c in (code, aliases.get(code, code))}
