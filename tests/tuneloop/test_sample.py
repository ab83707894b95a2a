"""The sample project: enough questions, varied, distinct, and the same every time."""

import hashlib
import os
import subprocess
import sys
from collections import Counter, defaultdict
from itertools import islice
from pathlib import Path

import pytest

from labeling.normalise import normalise
from tuneloop import sample
from tuneloop.sample import grammar

PLATFORM = Path(sample.__file__).parents[2]

QUESTIONS = sample.questions()
CODES = [intent.code for intent in sample.intents()]


def bigrams(text: str) -> set[str]:
    bare = grammar.canonical(text)
    return {bare[i : i + 2] for i in range(len(bare) - 1)} or {bare}


def run_python(code: str, **environment: str) -> str:
    """Standard output of a fresh interpreter that sees the package alone."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": str(PLATFORM), **environment},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_intents_are_complete_and_end_with_the_only_fallback() -> None:
    assert len(CODES) == len(set(CODES)) >= 19
    assert [i.code for i in sample.intents() if i.is_fallback] == ["out_of_scope"]
    assert CODES[-1] == "out_of_scope"
    for intent in sample.intents():
        for text in (intent.name_en, intent.description_en):
            assert text.isascii(), intent
        for text in (intent.name_zh, intent.description_zh):
            assert any("\u4e00" <= c <= "\u9fff" for c in text), intent


@pytest.mark.parametrize("code", CODES)
def test_each_intent_has_many_questions_of_many_shapes(code: str) -> None:
    mine = [question for question in QUESTIONS if question.intent == code]
    shapes = Counter(question.shape for question in mine)

    assert len(mine) >= 60
    assert len(shapes) >= 15
    assert max(shapes.values()) <= len(mine) / 10
    assert all(shape.startswith(f"{code}/") for shape in shapes)
    assert {question.language for question in mine} == {"zh", "en"}


def test_out_of_scope_is_varied() -> None:
    shapes = {q.shape for q in QUESTIONS if q.intent == "out_of_scope"}
    assert len(shapes) >= 80


def test_about_two_thousand_questions_mostly_chinese() -> None:
    english = [q for q in QUESTIONS if q.language == "en"]
    assert 1_800 <= len(QUESTIONS) <= 2_500
    assert 0.12 <= len(english) / len(QUESTIONS) <= 0.15
    assert not any("\u4e00" <= c <= "\u9fff" for q in english for c in q.text)


@pytest.mark.parametrize("seed", [20, 0, 1, 2])
def test_no_question_is_there_twice_or_has_two_intents(seed: int) -> None:
    intents: dict[str, set[str]] = defaultdict(set)
    made = sample.questions(seed)
    for question in made:
        intents[normalise(question.text)].add(question.intent)

    assert {text: codes for text, codes in intents.items() if len(codes) > 1} == {}
    assert len(intents) == len(made)


def test_templates_alone_never_give_one_text_to_two_intents() -> None:
    """Duplicates are dropped silently; this finds templates that compete."""
    intents: dict[str, set[str]] = defaultdict(set)
    for seed in range(8):
        for question in sample.questions(seed):
            intents[grammar.canonical(question.text)].add(question.intent)

    assert {text: codes for text, codes in intents.items() if len(codes) > 1} == {}


def test_a_split_by_shape_leaks_hardly_any_near_copies() -> None:
    leaks = 0
    for code in CODES:
        mine = [(q.shape, bigrams(q.text)) for q in QUESTIONS if q.intent == code]
        leaks += sum(
            any(
                shape != other and len(pairs & others) >= 0.8 * len(pairs | others)
                for other, others in mine
            )
            for shape, pairs in mine
        )
    assert leaks / len(QUESTIONS) < 0.05


def test_no_template_marks_or_stray_spaces_are_left_in_a_text() -> None:
    texts = [q.text for q in (*QUESTIONS, *sample.unseen_questions())]
    texts += sample.traffic(500, 3)
    assert [text for text in texts if set(text) & set("{}[]()|~…")] == []
    assert [q.text for q in QUESTIONS if q.text != " ".join(q.text.split())] == []
    assert all(any(c.isalnum() for c in text) for text in texts)


def test_the_same_seed_gives_the_same_questions_in_every_process() -> None:
    code = (
        "import hashlib; from tuneloop import sample;"
        "text = repr((sample.questions(), list(sample.traffic(300, 7))));"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    here = repr((QUESTIONS, list(sample.traffic(300, 7))))
    expected = hashlib.sha256(here.encode()).hexdigest()

    assert run_python(code, PYTHONHASHSEED="1") == expected
    assert run_python(code, PYTHONHASHSEED="2") == expected
    assert sample.questions(21) != QUESTIONS


def test_the_package_needs_the_standard_library_alone() -> None:
    code = (
        "import sys; from tuneloop import sample; sample.questions();"
        "print(*sorted({m.split('.')[0] for m in sys.modules}"
        " - set(sys.stdlib_module_names)))"
    )
    foreign = set(run_python(code).split()) - {"__main__", "sitecustomize"}
    assert not foreign & {"django", "labeling", "registry", "training", "numpy"}


def test_confusable_pairs_are_intents_and_explained_in_both_languages() -> None:
    intents = {intent.code: intent for intent in sample.intents()}
    assert len(sample.CONFUSABLE_PAIRS) >= 4
    for code in {code for pair in sample.CONFUSABLE_PAIRS for code in pair}:
        assert intents[code].name_en in sample.GUIDELINES_EN
        assert intents[code].name_zh in sample.GUIDELINES_ZH


def test_traffic_repeats_a_few_questions_and_brings_unseen_ones() -> None:
    stream = list(sample.traffic(3_000, 5))
    known = {normalise(q.text): q.intent for q in QUESTIONS}
    counts = Counter(normalise(text) for text in stream)
    unseen = [text for text in stream if normalise(text) not in known]
    by_intent = Counter(known.get(normalise(text)) for text in stream)

    assert len(stream) == 3_000
    assert counts.most_common(1)[0][1] >= 30
    assert sum(count for _, count in counts.most_common(100)) >= 0.3 * len(stream)
    assert sum(count == 1 for count in counts.values()) >= 200
    assert 0.05 <= len(unseen) / len(stream) <= 0.15
    assert set(CODES) <= set(by_intent)
    assert 0.02 <= by_intent["out_of_scope"] / len(stream) <= 0.12
    # The same question in several spellings is what deduplication is for.
    assert len(set(stream)) > len(counts)
    assert list(islice(sample.traffic(3_000, 5), 50)) == stream[:50]
    assert list(sample.traffic(50, 6)) != stream[:50]


def test_unseen_questions_are_labelled_and_in_no_labelled_shape() -> None:
    unseen = sample.unseen_questions()
    assert {q.intent for q in unseen} == set(CODES)
    assert not {q.shape for q in unseen} & {q.shape for q in QUESTIONS}
    assert not {normalise(q.text) for q in unseen} & {
        normalise(q.text) for q in QUESTIONS
    }


@pytest.mark.parametrize(("keyword", "code"), sample.rules())
def test_rules_hit_their_intent(keyword: str, code: str) -> None:
    hits = [q.intent for q in QUESTIONS if keyword in q.text]
    assert len(hits) >= 3
    assert hits.count(code) / len(hits) >= 0.8


@pytest.mark.parametrize(
    "line",
    [
        "look 今天谁没来",
        "shout 1 今天谁没来",
        "look 1 {nothing}没来",
        "yn 1 is it done",
    ],
)
def test_a_template_that_cannot_be_read_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="attendance_today"):
        grammar.parse(line, prefix="attendance_today")
