"""Makes the sample project's questions, traffic and rules from the phrasebooks."""

from collections import Counter
from collections.abc import Iterator
from functools import cache
from random import Random

from .attendance import ATTENDANCE
from .finance import FINANCE
from .general import GENERAL
from .grammar import Template, canonical, one_of, parse, pick, say, shuffled
from .logistics import LOGISTICS
from .materials import MATERIALS
from .phrasebook import Phrasebook, SampleIntent, SampleQuestion
from .production import PRODUCTION

PHRASEBOOKS: tuple[Phrasebook, ...] = (
    *ATTENDANCE,
    *PRODUCTION,
    *MATERIALS,
    *LOGISTICS,
    *FINANCE,
    *GENERAL,
)

DEFAULT_SEED = 20

QUESTIONS: dict[str, int] = {"zh": 69, "en": 11}
"""Distinct questions of each intent, by language."""

FALLBACK_QUESTIONS: dict[str, int] = {"zh": 108, "en": 20}
"""The same for the fallback intent, which is broader than any other."""

MOST_PER_SHAPE = 6
"""No template may make more questions than this: variety over slot values."""

UNSEEN_SHARE = 0.1
"""Share of traffic whose phrasing is in none of the labelled questions."""

RESPELLED_SHARE = 0.2
"""Share of repeated questions that come with other punctuation or spacing."""

ZIPF_EXPONENT = 0.9
"""The n-th most popular question of an intent is asked 1 / n ** this as often."""


def intents() -> tuple[SampleIntent, ...]:
    """The intents of the sample project; the fallback is the last."""
    return tuple(book.intent for book in PHRASEBOOKS)


def questions(seed: int = DEFAULT_SEED) -> list[SampleQuestion]:
    """About 2,100 labelled questions in a random order.

    The same seed gives the same list on every machine and Python version. No two
    questions are the same after normalisation, so none has two intents.
    """
    taken: set[str] = set()
    made: list[SampleQuestion] = []
    for book in PHRASEBOOKS:
        counts = FALLBACK_QUESTIONS if book.intent.is_fallback else QUESTIONS
        # A generator for each intent: a new template moves no other intent's draws.
        rng = Random(f"{seed}/{book.intent.code}")
        for language, count in counts.items():
            templates = [t for t in _labelled(book) if t.language == language]
            made += _draw(book.intent.code, templates, count, taken, rng)
    return shuffled(made, Random(f"{seed}/order"))


def traffic(n: int, seed: int) -> Iterator[str]:
    """`n` questions as users ask them one after the other.

    A few questions are asked again and again, most rarely (Zipf); some repeats are
    punctuated otherwise, and some phrasings occur in no labelled question.
    """
    rng = Random(f"{seed}/traffic")
    known = questions()
    taken = {canonical(question.text) for question in known}
    popular = {
        book.intent.code: _by_popularity(
            [q.text for q in known if q.intent == book.intent.code], rng
        )
        for book in PHRASEBOOKS
    }
    books = [(book, book.traffic) for book in PHRASEBOOKS]
    for _ in range(n):
        book = pick(books, rng)
        if rng.random() < UNSEEN_SHARE:
            text = say(one_of(_unseen(book), rng), rng)
            if canonical(text) not in taken:
                yield text
                continue
        text = pick(popular[book.intent.code], rng)
        if rng.random() < RESPELLED_SHARE:
            text = _respelled(text, rng)
        yield text


def unseen_questions(seed: int = DEFAULT_SEED) -> list[SampleQuestion]:
    """Labelled questions in phrasings that `questions` never uses, about 10 an
    intent: an honest test of a model that was trained on all of `questions`.
    """
    taken = {canonical(question.text) for question in questions()}
    made: list[SampleQuestion] = []
    for book in PHRASEBOOKS:
        rng = Random(f"{seed}/{book.intent.code}/unseen")
        made += _draw(book.intent.code, _unseen(book), 10, taken, rng)
    return made


def rules() -> tuple[tuple[str, str], ...]:
    """Hand-written keyword rules: the keyword and the code of its intent."""
    return (
        ("请假", "leave_request"),
        ("排班", "work_schedule"),
        ("签退", "clock_out"),
        ("报修", "equipment_fault"),
        ("库存预警", "stock_alerts"),
        ("发货统计", "shipment_statistics"),
        ("质检报告", "quality_report"),
        ("应付账款", "payments_due"),
    )


@cache
def _labelled(book: Phrasebook) -> tuple[Template, ...]:
    return parse(book.templates, prefix=book.intent.code)


@cache
def _unseen(book: Phrasebook) -> tuple[Template, ...]:
    return parse(book.unseen, prefix=f"{book.intent.code}/unseen")


def _draw(
    code: str,
    templates: list[Template] | tuple[Template, ...],
    count: int,
    taken: set[str],
    rng: Random,
) -> list[SampleQuestion]:
    """`count` questions whose canonical forms are not in `taken`, to which they are
    added. Every template is used once before any is used again.
    """
    made: list[SampleQuestion] = []
    used: Counter[str] = Counter()
    waiting = shuffled(templates, rng)
    weighted = [(template, template.weight) for template in templates]
    for _ in range(50 * count):
        if len(made) == count:
            return made
        template = waiting.pop() if waiting else pick(weighted, rng)
        text = say(template, rng)
        key = canonical(text)
        if key in taken or used[template.shape] == MOST_PER_SHAPE:
            continue
        taken.add(key)
        used[template.shape] += 1
        made.append(SampleQuestion(text, code, template.language, template.shape))
    raise ValueError(
        f"{code}: its templates make only {len(made)} of {count} questions"
    )


def _by_popularity(texts: list[str], rng: Random) -> list[tuple[str, float]]:
    """Texts with Zipf weights; short ones tend to be the popular ones."""
    ranked = sorted(texts, key=lambda text: len(text) * (0.5 + rng.random()))
    return [
        (text, 1 / rank**ZIPF_EXPONENT) for rank, text in enumerate(ranked, start=1)
    ]


def _respelled(text: str, rng: Random) -> str:
    """The same question for the product: only case, spaces and its end differ."""
    bare = text.rstrip("？?。！!～.")
    return one_of((f"{bare}？", f"{bare}。", f" {bare}", bare.upper(), f"{bare}!"), rng)
