"""How alike two texts read, and which of many read alike.

The measure is the Jaccard index of character n-grams: of all grams that either text
has, the share that both have. Texts are compared as `shape` spells them, so that two
which differ in a number alone are the same. Letters are taken by threes, Chinese,
Japanese and Korean by twos, where a single character says about as much.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from django.db.models import QuerySet

from labeling.models import Question, SyntheticQuestion
from labeling.normalise import normalise

NEAR = 0.75
"""From here on two texts are near copies: a word of ten is another, say."""

NEAR_HELD_OUT = 0.65
"""The same where the other text is a test or validation question: what measures a
version must be no near copy of what it learned."""

_DIGITS = re.compile(r"\d+(?:[.,:]\d+)*")
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_CHUNK = 5000
"""Texts that are read and compared at once."""

_CELLS = 3_000_000
"""Pairs of texts whose rare grams are counted at once: 36 MB if all have some."""

_PAIRS = 100_000
"""Pairs that are compared in full at once: up to some 100 MB for long texts."""

_SHARED = 8
"""Rare grams that two texts must share before they are compared in full: with fewer,
more pairs are compared; with more, more grams are looked at. 8 was fastest."""


def shape(text: str) -> str:
    """The normalised text, each number in it a zero."""
    return _DIGITS.sub("0", normalise(text))


def grams(text: str) -> frozenset[str]:
    """The character n-grams of a text's shape, its ends marked; never empty."""
    size = 2 if _CJK.search(text) else 3
    marked = f"\x02{shape(text)}\x03"
    return frozenset(
        marked[start : start + size] for start in range(max(1, len(marked) - size + 1))
    )


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """The Jaccard index of two texts' grams, 0 to 1."""
    both = len(one & other)
    return both / (len(one) + len(other) - both)


class Texts:
    """Some texts, among which the near ones of many others are found at once.

    By prefixes: if two texts are near, then of each text's grams, rarest first, the
    first few share `_SHARED`. So only pairs whose rare grams agree are compared in
    full, and nothing near is missed.

    Source: Bayardo, Ma and Srikant 2007, "Scaling Up All Pairs Similarity Search", for
    one shared gram; Wang, Li and Feng 2012, "Can We Beat the Prefix Filtering?", for
    several.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        """
        Args:
            texts: They are known by their positions from here on.

        Cost: 30 to 70 µs of CPU a text.
        """
        counts = Counter(gram for text in texts for gram in grams(text))
        by_rarity = sorted(counts, key=lambda gram: (counts[gram], gram))
        self._ranks = {gram: rank for rank, gram in enumerate(by_rarity)}
        have = _Ranked.of(texts, self._ranks)
        self._sizes = have.sizes
        self._rows = have.matrix()
        self._by_gram = self._rows.T.tocsr()
        rare, self._shared = have.prefixes(NEAR_HELD_OUT)
        self._by_rare_gram = rare.matrix().T.tocsr()

    def __len__(self) -> int:
        return len(self._sizes)

    def mark(
        self, found: npt.NDArray[np.bool_], texts: Sequence[str], *, least: float = NEAR
    ) -> None:
        """Finds out which of these texts are near any of some others.

        Args:
            found: (len(self),), which are found already; they are looked for no more,
                and what is found is marked.
            texts: The others.
            least: How near, `NEAR_HELD_OUT` or more.

        Cost: 10 to 20 µs of CPU a text for its grams, and to compare it with 3,000
        texts 20 µs for English, 90 µs where all is built of the same few syllables.
        """
        step = max(1, _CELLS // max(1, len(self)))
        for start in range(0, len(texts), step):
            self._mark(found, texts[start : start + step], least)

    def alike(self, number: int) -> npt.NDArray[np.intp]:
        """The texts here that are near one of them, with itself."""
        both = (self._rows[number] @ self._by_gram).toarray()[0]
        either = self._sizes + self._sizes[number] - both
        return np.flatnonzero(both / either >= NEAR)

    def _mark(
        self, found: npt.NDArray[np.bool_], texts: Sequence[str], least: float
    ) -> None:
        have = _Ranked.of(texts, self._ranks)
        rare, shared = have.prefixes(least)
        # (texts, self): how many of their rarest grams agree.
        agree = (rare.matrix() @ self._by_rare_gram).tocoo()
        likely = agree.data >= np.minimum(shared[agree.row], self._shared[agree.col])
        ones, others = agree.row[likely], agree.col[likely]
        rows = have.matrix()
        while ones.size:
            is_open = ~found[others]
            ones, others = ones[is_open], others[is_open]
            one, other = ones[:_PAIRS], others[:_PAIRS]
            both = np.asarray(rows[one].multiply(self._rows[other]).sum(axis=1)).ravel()
            either = have.sizes[one] + self._sizes[other] - both
            found[other[both / either >= least]] = True
            ones, others = ones[_PAIRS:], others[_PAIRS:]


class Apart:
    """Takes texts that are near none that it took before."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._is_near = np.zeros(len(texts), dtype=np.bool_)

    def take(self, number: int) -> bool:
        """Takes one of the texts, unless it is near another that was taken."""
        if self._is_near[number]:
            return False
        self._is_near[self._texts.alike(number)] = True
        return True


@dataclass(frozen=True, slots=True)
class _Ranked:
    """Grams of texts as ranks, 0 the rarest; -1 are those that have no rank."""

    ranks: npt.NDArray[np.int64]
    """Text by text, of each the lowest first."""
    sizes: npt.NDArray[np.int64]
    """How many each text has."""
    known: int
    """How many ranks there are."""

    @classmethod
    def of(cls, texts: Sequence[str], ranks: Mapping[str, int]) -> Self:
        """The grams of some texts."""
        have = [list(map(ranks.get, grams(text), repeat(-1))) for text in texts]
        sizes = np.fromiter(map(len, have), np.int64, len(have))
        flat = np.fromiter(chain.from_iterable(have), np.int64, sizes.sum())
        # One number for a text and a rank: sorted at once.
        keys = np.repeat(np.arange(len(have)), sizes) * (len(ranks) + 1) + flat + 1
        keys.sort()
        return cls(keys % (len(ranks) + 1) - 1, sizes, len(ranks))

    def prefixes(self, least: float) -> tuple[Self, npt.NDArray[np.int64]]:
        """The first grams of each text, and how many of them a near text must have.

        A near text has at least `common` of a text's grams, so it lacks at most
        `sizes - common`: of the first `sizes - common + shared` it has `shared`.
        """
        common = np.ceil(least * self.sizes - 1e-9).astype(np.int64)
        shared = np.minimum(_SHARED, common)
        length = self.sizes - common + shared
        starts = np.cumsum(self.sizes) - self.sizes
        places = np.arange(len(self.ranks)) - np.repeat(starts, self.sizes)
        kept = self.ranks[places < np.repeat(length, self.sizes)]
        return type(self)(kept, length, self.known), shared

    def matrix(self) -> Any:
        """(texts, ranks), sparse: 1 where a text has a gram; none for -1."""
        # 40 MB that most web processes never need.
        from scipy import sparse

        is_known = self.ranks >= 0
        ends = np.concatenate([[0], np.cumsum(is_known)])
        bounds = ends[np.concatenate([[0], np.cumsum(self.sizes)])]
        columns = self.ranks[is_known]
        return sparse.csr_matrix(
            (np.ones(len(columns), dtype=np.int32), columns, bounds),
            shape=(len(self.sizes), self.known),
        )


def taken(project_id: int, new: Texts) -> set[int]:
    """Which of some new texts a project has already, or nearly.

    Its questions of every split count, test and validation questions from
    `NEAR_HELD_OUT` on, and its synthetic questions.

    Returns:
        Positions in `new`.

    Cost: two queries, streamed, and `Texts.mark` for each text of the project: 1.4 s
    of CPU for 30 new texts in a project of 100,000 questions, 3 s for 1,000.
    """
    if not len(new):
        return set()
    found = np.zeros(len(new), dtype=np.bool_)
    questions = Question.objects.filter(project=project_id).order_by()
    for rows in _chunks(questions.values_list("text", "split")):
        train = [text for text, split in rows if split == Question.Split.TRAIN]
        held_out = [text for text, split in rows if split != Question.Split.TRAIN]
        new.mark(found, train)
        new.mark(found, held_out, least=NEAR_HELD_OUT)
    made = SyntheticQuestion.objects.filter(project=project_id).order_by()
    for texts in _chunks(made.values_list("text", flat=True)):
        new.mark(found, texts)
    return set(np.flatnonzero(found).tolist())


def near_held_out(project_id: int) -> list[int]:
    """Ids of synthetic questions that are near a test or validation question.

    None was when it was made: the question came later.

    Cost: two queries, the second streamed; `Texts` of the synthetic questions, and
    `Texts.mark` for each test and validation question.
    """
    rows = SyntheticQuestion.objects.filter(project=project_id, is_used=True)
    made = list(rows.order_by().values_list("pk", "text"))
    if not made:
        return []
    texts = Texts([text for _pk, text in made])
    found = np.zeros(len(made), dtype=np.bool_)
    held_out = Question.objects.filter(
        project=project_id, split__in=[Question.Split.VALIDATION, Question.Split.TEST]
    )
    for asked in _chunks(held_out.order_by().values_list("text", flat=True)):
        texts.mark(found, asked, least=NEAR_HELD_OUT)
    return sorted(made[number][0] for number in np.flatnonzero(found))


def _chunks(rows: QuerySet[Any, Any]) -> Iterator[list[Any]]:
    """A query's rows, so many at once as are compared."""
    stream = rows.iterator(chunk_size=_CHUNK)
    while chunk := list(islice(stream, _CHUNK)):
        yield chunk
