"""The grammar of sample questions: template lines, their expansion, and how people
dress a sentence up before they send it.

A phrasebook is a table of lines `form weight text`. In the text

    {material}   is replaced by one value of that slot
    (发|出)       is one of the alternatives
    [的]          is there or not (alternatives allowed: [的|那个])
    ~            is 一下, 下 or nothing, after a verb

and the form says which sentence frames the text fits into:

    ask    a question: 请问… / …呢
    look   a question whose answer can be looked up: also 帮我查一下…
    yn     a statement that 吗 turns into a question
    do     a request that starts with a verb: 帮我… / 麻烦…
    np     a thing to be shown: 查一下… / …发我
    say    a statement: 你好，…
    chat   a remark that nothing is put around
"""

import random
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from .frames import CASUAL, FRAMES, MARKS, TYPOS
from .slots import SLOTS

T = TypeVar("T")

FORMS = ("ask", "look", "yn", "do", "np", "say", "chat")

QUESTIONS = ("ask", "look", "yn")
"""The forms that may end with a question mark."""

CASUAL_SHARE = 0.12
"""Chance that a colloquial word replaces the neutral one (怎么 -> 咋)."""

TYPO_SHARE = 0.06
"""Chance of one slip of the keyboard or of the pinyin input method."""

LOWERCASE_SHARE = 0.6
"""Chance that an English question is typed without capitals and apostrophes."""

_LINE = re.compile(r"(?P<form>[a-z]+)\s+(?P<weight>\d+)\s+(?P<text>\S.*)")
_CJK = re.compile(r"[\u4e00-\u9fff]")
_CHOICE = re.compile(r"\((?P<required>[^()\[\]]*)\)|\[(?P<optional>[^()\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")
_TRAILING = re.compile(r"[\W_]+$")
_PARTICLES = "吗呢啊呀吧嘛么没"


@dataclass(frozen=True, slots=True)
class Template:
    """One line of a phrasebook."""

    shape: str
    """Id that all questions made from this line share, e.g. `clock_in/07`."""
    form: str
    """One of `FORMS`."""
    weight: float
    """How often it is drawn, relative to the other lines of its intent."""
    text: str
    """The text with its slots, alternatives and optional parts."""

    @property
    def language(self) -> str:
        """`zh` as soon as there is one Chinese character, else `en`."""
        return "zh" if _CJK.search(self.text) else "en"


def parse(table: str, *, prefix: str) -> tuple[Template, ...]:
    """Read the lines of a phrasebook; the line number is part of the shape.

    Raises:
        ValueError: if a line is not `form weight text`, or names an unknown form
            or slot.
    """
    templates: list[Template] = []
    lines = [line.strip() for line in table.splitlines() if line.strip()]
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if match is None or match["form"] not in FORMS:
            raise ValueError(f"{prefix}: not a template line: {line!r}")
        template = Template(
            shape=f"{prefix}/{number:02d}",
            form=match["form"],
            weight=float(match["weight"]),
            text=match["text"],
        )
        if (template.language, template.form) not in FRAMES:
            raise ValueError(f"{prefix}: {template.form} has no frames: {line!r}")
        for slot in _SLOT.findall(template.text):
            if slot not in SLOTS[template.language]:
                raise ValueError(f"{prefix}: unknown slot {slot!r}: {line!r}")
        templates.append(template)
    return tuple(templates)


def say(template: Template, rng: random.Random) -> str:
    """One question from a template: expanded, framed, punctuated, mistyped."""
    language, form = template.language, template.form
    text = _fill(template.text, language, rng)
    if rng.random() < CASUAL_SHARE:
        text = _replace_one(text, CASUAL[language], rng)
    text = _frame(text, FRAMES[language, form], rng)
    text += pick(MARKS[language, form in QUESTIONS], rng)
    if rng.random() < TYPO_SHARE:
        text = _replace_one(text, TYPOS[language], rng)
    if language == "en" and rng.random() < LOWERCASE_SHARE:
        text = text.lower().replace("'", "")
    return text


def canonical(text: str) -> str:
    """A text without what the product overlooks when it compares questions: width
    (NFKC), case, trailing punctuation; and, stricter than the product, all spaces.
    """
    folded = unicodedata.normalize("NFKC", text).casefold()
    return _TRAILING.sub("", "".join(folded.split()))


def pick(weighted: Sequence[tuple[T, float]], rng: random.Random) -> T:
    """One item by weight.

    Only `Random.random` is used here and below: it is the one method whose sequence
    Python promises to keep for a seed.
    """
    mark = rng.random() * sum(weight for _, weight in weighted)
    for item, weight in weighted:
        mark -= weight
        if mark < 0:
            return item
    return weighted[-1][0]


def one_of(items: Sequence[T], rng: random.Random) -> T:
    """One item, each as likely as the others."""
    return items[int(rng.random() * len(items))]


def shuffled(items: Sequence[T], rng: random.Random) -> list[T]:
    """The items in a random order."""
    return [item for _, item in sorted(((rng.random(), x) for x in items), key=_first)]


def _first(pair: tuple[float, object]) -> float:
    return pair[0]


def _fill(text: str, language: str, rng: random.Random) -> str:
    def choose(match: re.Match[str]) -> str:
        if match["required"] is not None:
            return one_of(str(match["required"]).split("|"), rng)
        return one_of(["", *str(match["optional"]).split("|")], rng)

    used: set[str] = set()

    def value(match: re.Match[str]) -> str:
        # A slot that stands twice in a template means two different things.
        values = [v for v in SLOTS[language][match[1]] if v not in used]
        used.add(chosen := one_of(values, rng))
        return chosen

    while _CHOICE.search(text):  # from the innermost brackets outwards
        text = _CHOICE.sub(choose, text)
    text = " ".join(text.split())  # an option left out leaves two spaces or a last one
    text = _SLOT.sub(value, text)
    return text.replace("~", pick((("", 4), ("一下", 3), ("下", 3)), rng))


def _frame(text: str, frames: Sequence[tuple[str, float]], rng: random.Random) -> str:
    if text[-1] in _PARTICLES:  # 来了没呢, 好吗啊: one particle is enough
        frames = [frame for frame in frames if frame[0][-1] not in _PARTICLES]
    return pick(frames, rng).replace("…", text)


def _replace_one(
    text: str, replacements: Sequence[tuple[str, str]], rng: random.Random
) -> str:
    found = [pair for pair in replacements if pair[0] in text]
    if not found:
        return text
    old, new = one_of(found, rng)
    return text.replace(old, new, 1)
