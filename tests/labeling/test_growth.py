"""Templates are filled evenly, and never with what a user has asked."""

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
from django.core.exceptions import ValidationError

from labeling import growth
from labeling.growth import nearness, templating
from labeling.models import (
    Intent,
    Project,
    Question,
    Slot,
    SyntheticQuestion,
    Template,
)
from labeling.normalise import normalise
from tests.makers import make_intent, make_labelled, make_project, make_question

pytestmark = pytest.mark.django_db

DISHES = ["noodles", "fried rice", "tofu soup", "duck", "green curry", "lasagne"]
SYLLABLES = ["ka", "lo", "mi", "ter", "bun", "sa", "rei", "po"]
PLACES = ["the office", "my flat", "gate seven", "Baker Street", "the harbour"]


def make_slot(project: Project, name: str, values: list[str]) -> Slot:
    return Slot.objects.create(project=project, name=name, values="\n".join(values))


def make_template(intent: Intent, text: str) -> Template:
    return Template.objects.create(intent=intent, text=text)


def texts(project: Project, **filters: Any) -> list[str]:
    made = SyntheticQuestion.objects.filter(project=project, **filters)
    return list(made.order_by("pk").values_list("text", flat=True))


def invented(generator: random.Random, n: int) -> list[str]:
    """Questions of up to eleven words, every third in Chinese, some of a character."""
    words = ["".join(generator.choices(SYLLABLES, k=k % 3 + 1)) for k in range(60)]
    return [
        "".join(generator.choices("今天帮我查一下订单的余额好吗", k=k % 17 + 1))
        if k % 3 == 0
        else " ".join(generator.choices(words, k=k % 11 + 1))
        for k in range(n)
    ]


def varied(generator: random.Random, text: str) -> str:
    """The text without some characters, with some twice and some others."""
    kinds = generator.choices(range(3), k=generator.randint(0, 3))
    for kind in kinds:
        at = generator.randrange(len(text) + 1)
        text = text[:at] + ["", "x7", text[:at][-3:]][kind] + text[at + (kind == 0) :]
    return text or "?"


def is_near(one: str, other: str, least: float) -> bool:
    return nearness.likeness(nearness.grams(one), nearness.grams(other)) >= least


def found(
    others: list[str], texts: list[str], *, least: float = nearness.NEAR
) -> set[int]:
    """Which of the texts are near any of the others."""
    marked = np.zeros(len(texts), dtype=np.bool_)
    nearness.Texts(texts).mark(marked, others, least=least)
    return set(np.flatnonzero(marked).tolist())


@pytest.fixture
def project() -> Project:
    """Orders of food, with two slots and three templates."""
    project = make_project()
    make_slot(project, "dish", DISHES)
    make_slot(project, "place", PLACES)
    order = make_intent(project, "order")
    make_template(order, "bring {dish} to {place}")
    make_template(order, "I would love some {dish} delivered at {place} please")
    make_template(order, "{dish} for {place}")
    return project


class TestTemplates:
    def test_slots_in_the_order_of_the_text(self) -> None:
        parsed = templating.parse("from {city} to { city } at {{{time}}}")
        assert parsed.slots == ("city", "city", "time")
        assert parsed.filled(["Rome", "Oslo", "6"]) == "from Rome to Oslo at {6}"

    def test_chinese(self) -> None:
        parsed = templating.parse("帮我订{数量}份{菜名}")
        assert parsed.filled(["两", "红烧肉"]) == "帮我订两份红烧肉"

    @pytest.mark.parametrize(
        ("text", "problem"),
        [
            ("bring {dish", "“dish” is not closed"),
            ("bring {di{sh} now", "is not closed"),
            ("bring dish} now", "after “bring dish”"),
            ("bring {} now", "Empty braces"),
            ("bring { } now", "Empty braces"),
            ("{wine} and {dish}", "no slot “wine”"),
            ("{nothing} and {dish}", "“nothing” has no values"),
            ("  ", "empty"),
        ],
    )
    def test_what_is_wrong_is_named(self, text: str, problem: str) -> None:
        values = {"dish": DISHES, "nothing": []}
        with pytest.raises(ValidationError) as error:
            templating.check(text, values)
        assert problem in " ".join(error.value.messages)

    def test_values_are_lines_without_doubles(self) -> None:
        lines = "  Rome \n\nrome.\n新  北\nOslo"
        assert templating.values_of(lines) == ["Rome", "新 北", "Oslo"]

    def test_fillings_are_counted(self) -> None:
        values = {"a": ["1", "2", "3"], "b": ["x", "y"]}
        assert templating.parse("{a} {b}").count(values) == 6
        assert templating.parse("{a} to {a}").count(values) == 6
        assert templating.parse("{b} {b} {b}").count(values) == 8
        assert templating.parse("plain").count(values) == 1


class TestNearness:
    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("book 2 seats at 18:30", "Book 14 seats at 7"),
            ("how do I reset my password", "how do I reset my passwords?"),
            ("怎么查询我的公积金余额", "怎么查询我的公积金余额呢"),
            ("订3份红烧肉", "订12份红烧肉"),
        ],
    )
    def test_near_copies(self, one: str, other: str) -> None:
        assert found([one], [other]) == {0}

    @pytest.mark.parametrize(
        ("one", "other"),
        [
            ("how do I reset my password", "how do I change my address"),
            ("帮我订一份红烧肉", "帮我订一份宫保鸡丁"),
            ("打卡失败", "怎么打卡"),
        ],
    )
    def test_others(self, one: str, other: str) -> None:
        assert not found([one], [other], least=nearness.NEAR_HELD_OUT)

    @pytest.mark.parametrize("least", [nearness.NEAR_HELD_OUT, nearness.NEAR])
    @pytest.mark.parametrize("seed", [1, 2])
    def test_what_is_found_is_what_the_measure_says(
        self, seed: int, least: float
    ) -> None:
        """No pair is missed for its rare grams, and none is found beyond the measure.

        Among invented words of few syllables most grams are common, most pairs close.
        """
        generator = random.Random(seed)
        texts = invented(generator, 250)
        others = [varied(generator, text) for text in texts] + invented(generator, 100)
        near = [
            {n for n, one in enumerate(texts) if is_near(one, other, least)}
            for other in others
        ]
        assert 100 < sum(map(len, near)) < len(texts) * len(others) / 20
        assert [found([other], texts, least=least) for other in others] == near
        assert found(others, texts, least=least) == set().union(*near)

    def test_in_parts_as_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        generator = random.Random(3)
        texts = invented(generator, 60)
        others = [varied(generator, text) for text in texts]
        at_once = found(others, texts)
        assert 0 < len(at_once) < 60
        monkeypatch.setattr(nearness, "_CELLS", 60 * 7)
        monkeypatch.setattr(nearness, "_PAIRS", 3)
        assert found(others, texts) == at_once

    def test_what_is_taken_is_apart(self) -> None:
        generator = random.Random(4)
        texts = invented(generator, 80)
        texts += [varied(generator, text) for text in texts]
        made, plain = nearness.Apart(nearness.Texts(texts)), []
        for number, text in enumerate(texts):
            is_free = not any(is_near(text, one, nearness.NEAR) for one in plain)
            assert made.take(number) == is_free
            plain += [text] * is_free
        assert 80 < len(plain) < 150


class TestFill:
    def test_templates_and_values_take_turns(self, project: Project) -> None:
        filled = growth.fill(project, per_intent=15, by=None)
        assert filled.made == 15
        assert filled.by_intent == {"order": 15}
        made = SyntheticQuestion.objects.filter(project=project)
        by_template = Counter(made.values_list("template__text", flat=True))
        assert max(by_template.values()) - min(by_template.values()) <= 2
        dishes = Counter(
            dish for text in texts(project) for dish in DISHES if dish in text
        )
        assert len(dishes) == len(DISHES)
        assert max(dishes.values()) <= 2 * min(dishes.values()) + 1
        assert set(made.values_list("origin", "is_used")) == {("template", True)}

    def test_a_seed_gives_the_same_texts(self, project: Project) -> None:
        def made(seed: int) -> list[str]:
            SyntheticQuestion.objects.all().delete()
            growth.fill(project, per_intent=8, seed=seed, by=None)
            return texts(project)

        first = made(1)
        assert made(1) == first
        assert made(2) != first

    def test_the_preview_says_what_is_made_and_writes_nothing(
        self, project: Project
    ) -> None:
        plain = make_intent(project, "thanks")
        make_template(plain, "thank you very much")
        shown = growth.preview(project, per_intent=5, seed=3)
        assert not SyntheticQuestion.objects.exists()
        assert shown.filled == growth.fill(project, per_intent=5, seed=3, by=None)
        assert shown.filled.by_intent == {"order": 5, "thanks": 1}
        assert sorted(one.text for one in shown.examples) == sorted(texts(project))
        assert shown.examples[1].code == "thanks"  # intents take turns

    def test_numbers_alone_make_no_other_question(self) -> None:
        project = make_project()
        make_slot(project, "n", [str(n) for n in range(500)])
        make_slot(project, "菜", ["红烧肉", "宫保鸡丁", "麻婆豆腐"])
        order = make_intent(project, "order")
        make_template(order, "please book {n} seats")
        make_template(order, "来{n}份{菜}")
        filled = growth.fill(project, per_intent=100, by=None)
        assert filled.made == 4
        assert filled.left_out["near"] > 50

    def test_lengths_follow_the_real_questions(self) -> None:
        project = make_project()
        ask = make_intent(project, "ask")
        for n in range(12):
            text = " ".join(["word", "other", "thing", "more"][: n % 4 + 1] * 4)
            make_labelled(project, ask, f"{n} {text}", split="train")
        make_slot(project, "x", [f"{a}{b}" for a in "abcdefgh" for b in "klmnop"])
        make_template(ask, "{x} {x} {x} {x}")
        make_template(ask, "what of {x} and {x} or rather {x} or even {x} there")
        make_template(ask, "{x}")
        make_template(ask, "long " * 60 + "{x}")
        filled = growth.fill(project, per_intent=20, by=None)
        assert filled.made == 20
        assert filled.left_out["length"] > 0
        sizes = [len(text) for text in texts(project)]
        assert min(sizes) >= 11
        assert max(sizes) <= 170
        assert 8 <= sum(size > 30 for size in sizes) <= 12

    @pytest.mark.parametrize("split", ["train", "validation", "test"])
    @pytest.mark.parametrize("state", ["open", "labelled"])
    def test_what_a_user_asked_is_never_made(
        self, project: Project, split: str, state: str
    ) -> None:
        make_question(project, "Bring  DUCK to my flat!", split=split, state=state)
        filled = growth.fill(project, per_intent=90, by=None)
        assert filled.made > 20
        assert filled.left_out["taken"] > 0
        assert "bring duck to my flat" not in map(normalise, texts(project))

    @pytest.mark.parametrize(
        ("split", "is_made"), [("train", True), ("validation", False), ("test", False)]
    )
    def test_what_measures_is_kept_further_away(
        self, project: Project, split: str, is_made: bool
    ) -> None:
        asked = "could you bring green curry to baker street"
        near = "bring green curry to Baker Street"
        likeness = nearness.likeness(nearness.grams(asked), nearness.grams(near))
        assert nearness.NEAR_HELD_OUT < likeness < nearness.NEAR
        make_question(project, asked, split=split)
        growth.fill(project, per_intent=90, by=None)
        made = texts(project)
        assert len(made) > 20
        assert (near in made) == is_made

    def test_none_of_the_made_are_near_each_other(self, project: Project) -> None:
        growth.fill(project, per_intent=40, by=None)
        growth.fill(project, per_intent=40, seed=2, by=None)
        made = texts(project)
        have = [nearness.grams(text) for text in made]
        assert len(made) > 30
        for n, one in enumerate(have):
            assert all(nearness.likeness(one, o) < nearness.NEAR for o in have[:n])

    def test_only_the_chosen_intents_and_those_in_use(self, project: Project) -> None:
        pay = make_intent(project, "pay")
        make_template(pay, "pay for {dish}")
        gone = make_intent(project, "gone", retired_at="2026-01-01T00:00Z")
        make_template(gone, "forget {dish}")
        growth.fill(project, intents=[pay, gone], per_intent=3, by=None)
        assert set(texts(project)) == set(texts(project, intent=pay))
        growth.fill(project, per_intent=3, by=None)
        assert not texts(project, intent=gone)

    def test_what_can_not_be_done_is_said(self, project: Project) -> None:
        with pytest.raises(ValidationError, match="no templates"):
            growth.fill(make_project(), by=None)
        for n in (0, growth.MOST_AN_INTENT + 1):
            with pytest.raises(ValidationError, match="an intent"):
                growth.fill(project, per_intent=n, by=None)
        for n in range(11):
            make_template(make_intent(project), f"template {n}")
        with pytest.raises(ValidationError, match="choose fewer"):
            growth.fill(project, per_intent=1000, by=None)
        Slot.objects.filter(name="dish").delete()
        with pytest.raises(ValidationError, match="no slot “dish”"):
            growth.fill(project, by=None)
        assert not SyntheticQuestion.objects.exists()

    def test_the_history_of_the_project_tells_who(self, project: Project) -> None:
        from django.contrib.admin.models import LogEntry

        from tests.makers import make_person

        mia = make_person("mia", project)
        growth.fill(project, per_intent=4, by=mia)
        entry = LogEntry.objects.get(user=mia)
        assert entry.object_id == str(project.pk)
        assert "Made 4 synthetic questions" in entry.get_change_message()


class TestKeeping:
    def test_switched_off_and_on(self, project: Project) -> None:
        growth.fill(project, per_intent=6, by=None)
        made = SyntheticQuestion.objects.filter(project=project)
        assert growth.use(made.filter(text__contains="duck"), is_used=False) >= 1
        assert growth.use(made, is_used=False) < 6
        assert growth.use(made, is_used=True) == 6

    def test_deleted_by_the_chosen_rows(self, project: Project) -> None:
        growth.fill(project, per_intent=6, by=None)
        pay = make_intent(project, "pay")
        make_template(pay, "pay for {dish}")
        growth.fill(project, intents=[pay], per_intent=2, by=None)
        assert growth.delete(pay.synthetic_questions.all(), by=None) == 2
        assert len(texts(project)) == 6

    def test_questions_of_users_are_no_part_of_it(self, project: Project) -> None:
        growth.fill(project, per_intent=6, by=None)
        assert not Question.objects.exists()
