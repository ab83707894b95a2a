"""The confusion matrix, or as much of it as can be looked at."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from training.reports import answers
from training.reports.figures import Metrics

WHOLE = 12
"""So many intents are shown all at once; of more, a part."""

MOST = 20
"""A part has at most so many intents."""


@dataclass(frozen=True)
class Cell:
    """How many questions of the row's intent were answered with the column's."""

    right: str
    answered: str
    n: int
    shade: int
    """0 to 100: percent of the row's questions."""

    @property
    def is_right(self) -> bool:
        """Whether it lies on the diagonal."""
        return self.right == self.answered

    @property
    def query(self) -> str:
        """The address's query of the list of its questions."""
        codes = {"right": self.right, "answered": self.answered}
        return "?" + urlencode({k: v or answers.NO_INTENT for k, v in codes.items()})


@dataclass(frozen=True)
class Row:
    """The questions of one intent."""

    code: str
    cells: list[Cell]
    elsewhere: int
    """Answered with an intent that is not among the columns."""
    n: int


@dataclass(frozen=True)
class Matrix:
    """Some or all intents against each other."""

    codes: list[str]
    rows: list[Row]
    total: int
    """Intents that the whole matrix has."""

    @property
    def is_whole(self) -> bool:
        """Whether no intent is left out."""
        return len(self.codes) == self.total

    @property
    def can_grow(self) -> bool:
        """Whether another intent can be added."""
        return not self.is_whole and len(self.codes) < MOST

    def without(self, code: str) -> str:
        """The address's query of the matrix without one of its intents."""
        return "?" + urlencode([("intent", own) for own in self.codes if own != code])

    @property
    def removals(self) -> list[tuple[str, str]]:
        """Each code with the query of the matrix without it."""
        return [(code, self.without(code)) for code in self.codes]


def all_codes(metrics: Metrics) -> list[str]:
    """The intents of the whole matrix; empty where none was kept."""
    return list((metrics.get("matrix") or {}).get("codes") or [])


def matrix(
    metrics: Metrics, *, chosen: Sequence[str] = (), around: str = ""
) -> Matrix | None:
    """The intents that are chosen, else those that are confused most.

    Args:
        metrics: Of an evaluation.
        chosen: Codes, at most `MOST` of them are taken; unknown ones are left out.
        around: A code: it and those that it is confused with most.

    Returns:
        None where the evaluation kept no matrix, or measured nothing.
    """
    codes = all_codes(metrics)
    if not codes:
        return None
    counts = {
        (codes[right], codes[answered]): n
        for right, answered, n in metrics["matrix"]["cells"]
    }
    known = set(codes)
    shown = [code for code in dict.fromkeys(chosen) if code and code in known][:MOST]
    if not shown:
        shown = _part(codes, counts, around if around in known else "")
    totals: Counter[str] = Counter()
    for (right, _answered), n in counts.items():
        totals[right] += n
    rows = [_row(code, shown, counts, totals[code]) for code in shown]
    return Matrix(codes=shown, rows=rows, total=len(codes))


def _row(
    code: str, shown: Sequence[str], counts: dict[tuple[str, str], int], n: int
) -> Row:
    cells = []
    for answered in shown:
        here = counts.get((code, answered), 0)
        shade = max(1, round(100 * here / n)) if here else 0
        cells.append(Cell(code, answered, here, shade))
    return Row(code, cells, elsewhere=n - sum(cell.n for cell in cells), n=n)


def _part(
    codes: Sequence[str], counts: dict[tuple[str, str], int], around: str
) -> list[str]:
    """Those that are confused most, the ones with each other side by side."""
    if len(codes) <= WHOLE and not around:
        return list(codes)
    pairs: Counter[tuple[str, str]] = Counter()
    for (right, answered), n in counts.items():
        if right != answered and around in ("", right, answered):
            pairs[min(right, answered), max(right, answered)] += n
    order = sorted(pairs, key=lambda pair: (-pairs[pair], pair))
    picked = dict.fromkeys([around] if around else [])
    for pair in order:
        new = [code for code in pair if code not in picked]
        if len(picked) + len(new) <= WHOLE:
            picked.update(dict.fromkeys(new))
    return list(picked) or _largest(codes, counts)


def _largest(codes: Iterable[str], counts: dict[tuple[str, str], int]) -> list[str]:
    """Without a mistake, the intents with most questions."""
    order = sorted(codes, key=lambda code: (-counts.get((code, code), 0), code))
    return order[:WHOLE]
