"""How alike two texts read, and which of many read alike.

The measure is the Jaccard index of character n-grams: of all grams that either text
has, the share that both have. Texts are compared as `shape` spells them, so that two
which differ in a number alone are the same. Letters are taken by threes, Chinese,
Japanese and Korean by twos, where a single character says about as much.
"""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Self

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
    """Texts among which the near ones of another are found without a look at each.

    By prefixes: if two texts are near, then of each text's grams, rarest first, the
    first few share one. So only texts with a rare gram in common are compared, and
    nothing near is missed.
    """

    def __init__(self, known: Iterable[str]) -> None:
        """
        Args:
            known: Texts whose grams say what is rare; only `add` makes one of them
                found. Grams that none of them has count as the rarest.
        """
        self._count = Counter(gram for text in known for gram in grams(text))
        self._vocabulary = frozenset(self._count)
        self._found_by: dict[str, list[int]] = defaultdict(list)
        self._grams: list[frozenset[str]] = []

    def add(self, text: str) -> None:
        """Has `near` find a text from now on, by its number: 0 for the first."""
        have = grams(text)
        for gram in self._prefix(have):
            self._found_by[gram].append(len(self._grams))
        self._grams.append(have)

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """All of some texts, found by their positions."""
        made = cls(texts)
        for text in texts:
            made.add(text)
        return made

    def near(self, text: str, *, least: float = NEAR) -> Iterator[int]:
        """Numbers of the texts that are at least so like this one.

        Each once, in no order.

        Args:
            text: Compared with those that were added.
            least: `NEAR_HELD_OUT` or more.
        """
        have = grams(text)
        seen: set[int] = set()
        for gram in self._prefix(have):
            for number in self._found_by.get(gram, ()):
                if number not in seen:
                    seen.add(number)
                    if likeness(have, self._grams[number]) >= least:
                        yield number

    def _prefix(self, have: frozenset[str]) -> list[str]:
        """As many of the rarest grams as a near text could lack, and one more."""
        size = len(have) - math.ceil(NEAR_HELD_OUT * len(have) - 1e-9) + 1
        strange = have - self._vocabulary
        if len(strange) >= size:
            # Sorted like the rest: both of two texts must go by one order.
            return sorted(strange)[:size]
        rest = sorted(have - strange, key=lambda gram: (self._count[gram], gram))
        return [*sorted(strange), *rest[: size - len(strange)]]


def taken(project_id: int, texts: Sequence[str]) -> set[int]:
    """Which of some texts a project has already, or nearly.

    Its questions of every split count, test and validation questions from
    `NEAR_HELD_OUT` on, and its synthetic questions.

    Cost: two queries, streamed; up to 1.7 ms of CPU a question for 3,000 texts where
    all are built of the same syllables, less where they are not.

    Args:
        project_id: The project.
        texts: New texts.

    Returns:
        Positions in `texts`.
    """
    if not texts:
        return set()
    new = Texts.of(texts)
    questions = Question.objects.filter(project=project_id).order_by()
    rows = questions.values_list("text", "split")
    found: set[int] = set()
    for text, split in rows.iterator(chunk_size=_CHUNK):
        found.update(new.near(text, least=_least(split)))
    made = SyntheticQuestion.objects.filter(project=project_id).order_by()
    for text in made.values_list("text", flat=True).iterator(chunk_size=_CHUNK):
        found.update(new.near(text))
    return found


def near_held_out(project_id: int) -> list[int]:
    """Ids of synthetic questions that are near a test or validation question.

    None was when it was made: the question came later.

    Cost: two queries, streamed; CPU as for `taken`.
    """
    rows = SyntheticQuestion.objects.filter(project=project_id, is_used=True)
    made = list(rows.order_by().values_list("pk", "text"))
    if not made:
        return []
    texts = Texts.of([text for _pk, text in made])
    held_out = Question.objects.filter(
        project=project_id, split__in=[Question.Split.VALIDATION, Question.Split.TEST]
    )
    found: set[int] = set()
    asked = held_out.order_by().values_list("text", flat=True)
    for text in asked.iterator(chunk_size=_CHUNK):
        found.update(texts.near(text, least=NEAR_HELD_OUT))
    return sorted(made[number][0] for number in found)


def _least(split: str) -> float:
    return NEAR if split == Question.Split.TRAIN else NEAR_HELD_OUT
