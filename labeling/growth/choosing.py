"""Draws fillings of templates and chooses among them, wording and length in balance."""

import random
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from labeling.growth.keeping import LeftOut
from labeling.growth.nearness import Apart
from labeling.growth.templating import Parsed, Values
from labeling.models import Template
from labeling.normalise import MAX_TEXT_CHARS, normalise

_DRAWN = 3
"""Texts that are drawn for each that is wanted."""

_PATIENCE = 200
"""Draws without a new text after which a template is taken to have no more."""

_SLACK = 2.0
"""Texts this many times longer than the intent's longest real question, or shorter than
its shortest, are left out."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A text that could be made."""

    text: str
    template_id: int
    quarter: int
    """Which quarter of the intent's real questions it is as long as, 0 to 3."""


def draw(parsed: Parsed, values: Values, *, seed: str) -> Iterator[str]:
    """Fillings of a template, each once, until there are no more.

    The values of a slot are gone through in turn, so that each stands in as many of the
    texts as any other; a slot that stands twice has two values.

    Args:
        parsed: The template.
        values: At least one for each of its slots.
        seed: The same one gives the same texts.
    """
    generator = random.Random(seed)  # noqa: S311 (a choice, not a secret)
    decks = {name: _deck(values[name], generator) for name in parsed.slots}
    twice = [
        name for name, n in Counter(parsed.slots).items() if n <= len(values[name])
    ]
    left, misses = parsed.count(values), 0
    seen: set[str] = set()
    while left and misses < _PATIENCE:
        chosen = [next(decks[name]) for name in parsed.slots]
        text = parsed.filled(chosen)
        if text in seen or _repeats(parsed.slots, chosen, twice):
            misses += 1
            continue
        seen.add(text)
        left, misses = left - 1, 0
        yield text


def _deck(values: Sequence[str], generator: random.Random) -> Iterator[str]:
    cards = list(values)
    while True:
        generator.shuffle(cards)
        yield from cards


def _repeats(slots: Sequence[str], chosen: Sequence[str], names: list[str]) -> bool:
    """Whether a slot that stands twice has one value twice."""
    pairs = [pair for pair in zip(slots, chosen, strict=True) if pair[0] in names]
    return len(pairs) != len(set(pairs))


def pool(
    templates: Sequence[tuple[Template, Parsed]],
    values: Values,
    *,
    wanted: int,
    seed: int,
    lengths: Sequence[int],
) -> tuple[list[Candidate], Counter[str]]:
    """Draws texts of one intent, its templates in turn, more than are wanted.

    Args:
        templates: Of the intent.
        values: At least one for each of their slots.
        wanted: How many are to be chosen of them.
        seed: The same one gives the same texts.
        lengths: Characters of the intent's shortest real question, at the quarters,
            and of its longest: five numbers, or none where they say nothing.

    Returns:
        The texts, and how many were left out, by `LeftOut`.
    """
    sources = deque(
        (template.pk, draw(parsed, values, seed=f"{seed} {template.text}"))
        for template, parsed in templates
    )
    found: dict[str, Candidate] = {}
    left_out: Counter[str] = Counter()
    while sources and len(found) + left_out.total() < _DRAWN * wanted:
        template_id, texts = sources.popleft()
        text = next(texts, None)
        if text is None:
            continue
        sources.append((template_id, texts))
        reason = _unfit(text, lengths)
        if reason is not None:
            left_out[reason] += 1
            continue
        quarter = bisect_left(lengths[1:4], len(text))
        found.setdefault(normalise(text), Candidate(text, template_id, quarter))
    return list(found.values()), left_out


def _unfit(text: str, lengths: Sequence[int]) -> LeftOut | None:
    if len(text) > MAX_TEXT_CHARS:
        return LeftOut.TOO_LONG
    if lengths and not lengths[0] / _SLACK <= len(text) <= lengths[-1] * _SLACK:
        return LeftOut.LENGTH
    return None


def choose(
    candidates: Mapping[int, Candidate], wanted: int, made: Apart
) -> tuple[list[Candidate], int]:
    """Chooses texts of one intent that are not near each other or what is made already.

    The next one is always of a template and of a quarter of the lengths that few were
    chosen of yet.

    Args:
        candidates: From `pool`, by their numbers in `made`.
        wanted: At most so many.
        made: What is chosen is taken from it.

    Returns:
        The chosen ones, and how many were too near.
    """
    waiting: dict[tuple[int, int], deque[int]] = defaultdict(deque)
    for number, one in candidates.items():
        waiting[one.template_id, one.quarter].append(number)
    # Of many templates each gets few, of four quarters each gets many: shares compare.
    templates = len({template for template, _quarter in waiting})
    quarters = len({quarter for _template, quarter in waiting})
    chosen: list[Candidate] = []
    used: Counter[int] = Counter()
    long: Counter[int] = Counter()
    near = 0
    while waiting and len(chosen) < wanted:
        key = min(
            waiting,
            key=lambda key: templates * used[key[0]] + quarters * long[key[1]],
        )
        number = waiting[key].popleft()
        if not waiting[key]:
            del waiting[key]
        if not made.take(number):
            near += 1
            continue
        chosen.append(candidates[number])
        used[key[0]] += 1
        long[key[1]] += 1
    return chosen, near
