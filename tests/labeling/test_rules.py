"""Keyword rules: what is found, how sure it is, and what serving sees of it."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import connection

from labeling import rules
from labeling.models import KeywordRule, Project, Question
from labeling.rules.keywords import keywords
from labeling.rules.matching import Matcher
from labeling.rules.wilson import wilson
from tests.makers import (
    make_intent,
    make_labelled,
    make_person,
    make_project,
    make_question,
    make_rule,
)

pytestmark = pytest.mark.django_db


def label(project: Project, intent: Any, *texts: str, split: str = "train") -> None:
    for text in texts:
        make_labelled(project, intent, text, split=split)


@pytest.fixture
def project() -> Project:
    """Clocking in, shipments and money, in Chinese and English."""
    project = make_project()
    clock_in, ship, pay = (
        make_intent(project, code) for code in ("clock_in", "ship", "pay")
    )
    label(
        project,
        clock_in,
        "怎么打卡",
        "忘记打卡了怎么办",
        "手机打卡失败",
        "打卡机坏了",
        "how do I clock in",
        "Clock in does not work",
        "where can i clock in today",
    )
    label(
        project,
        ship,
        "今天发货多少箱",
        "昨天发货几箱",
        "发货统计",
        "the shipment of today",
        "shipment is late",
        "shipment statistics",
    )
    label(
        project,
        pay,
        "工资什么时候发",
        "查工资",
        "工资条在哪看",
        "when is my payment",
        "payment failed",
        "what is today's payment",
    )
    return project


def found(project: Project) -> dict[str, str]:
    return {rule.pattern: rule.intent.code for rule in rules.mine(project)}


class TestKeywords:
    def test_chinese_words_without_question_words_numbers_and_dates(self) -> None:
        words = keywords("请问昨天第三车间原料批次怎么查询")
        assert {"车间", "原料", "批次", "查询"} <= words
        assert not words & {"请问", "昨天", "怎么", "第三"}

    def test_english_words_and_pairs(self) -> None:
        words = keywords("how do i reset the login password on 2024-05-01")
        assert {"reset", "login", "password", "login password"} <= words
        assert not any(char.isdigit() for word in words for char in word)
        assert not words & {"how", "the", "the login", "password on 2024"}

    def test_a_pair_may_end_in_a_particle_but_is_no_pair_across_a_comma(self) -> None:
        assert "clock in" in keywords("where can i clock in")
        assert "late shipment" not in keywords("so late, shipment arrives")

    def test_a_text_in_both_languages(self) -> None:
        assert {"wifi", "密码"} <= keywords("wifi密码忘了")

    def test_jieba_keeps_its_cache_in_the_data_folder(
        self, settings: Any, capfd: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        from labeling.rules.keywords import _tokenizer

        settings.CACHE_DIR = tmp_path / "cache"
        _tokenizer.cache_clear()
        try:
            assert keywords("打卡") == {"打卡"}
            assert (tmp_path / "cache" / "jieba.cache").is_file()
        finally:
            _tokenizer.cache_clear()
        assert "jieba" not in capfd.readouterr().err


class TestMatcher:
    @pytest.mark.parametrize(
        ("pattern", "text", "is_there"),
        [
            ("打卡", "忘记打卡了", True),
            ("pay", "when do you pay me", True),
            ("pay", "payment failed", False),
            ("pay", "prepay", False),
            ("pay", "pay", True),
            ("wifi", "wifi密码", True),
            ("clock in", "how to clock in?", True),
            ("clock in", "clock into work", False),
            ("c++", "c++ course", True),
            ("über", "süber", False),
        ],
    )
    def test_words_are_whole_where_a_script_has_spaces(
        self, pattern: str, text: str, is_there: bool
    ) -> None:
        assert Matcher([pattern, "zzz"]).found(text) == (
            {pattern} if is_there else set()
        )

    def test_overlapping_and_nested_patterns_are_all_found(self) -> None:
        matcher = Matcher(["原料", "原料批次", "批次查询"])
        assert matcher.found("原料批次查询") == {"原料", "原料批次", "批次查询"}

    def test_no_patterns(self) -> None:
        assert Matcher([]).found("anything") == set()


class TestWilson:
    @pytest.mark.parametrize(
        ("successes", "n", "low", "high"),
        # Checked against scipy.stats.binomtest(...).proportion_ci(method="wilson").
        [(3, 3, 0.4385, 1.0), (8, 10, 0.4902, 0.9433), (0, 5, 0.0, 0.4345)],
    )
    def test_known_values(
        self, successes: int, n: int, low: float, high: float
    ) -> None:
        interval = wilson(successes, n)
        assert interval.low == pytest.approx(low, abs=5e-5)
        assert interval.high == pytest.approx(high, abs=5e-5)
        assert interval.low < interval.centre < interval.high

    @pytest.mark.parametrize(("successes", "n"), [(0, 0), (4, 3), (-1, 3)])
    def test_no_share(self, successes: int, n: int) -> None:
        with pytest.raises(ValueError, match="no share"):
            wilson(successes, n)


class TestMine:
    def test_finds_what_speaks_for_an_intent(self, project: Project) -> None:
        assert found(project) == {
            "打卡": "clock_in",
            "clock": "clock_in",  # "clock in" is as sure and longer: an echo
            "发货": "ship",
            "shipment": "ship",
            "工资": "pay",
            "payment": "pay",
        }

    def test_four_of_five_are_too_few_and_five_of_six_are_enough(
        self, project: Project
    ) -> None:
        ship, clock_in = (project.intents.get(code=c) for c in ("ship", "clock_in"))
        label(project, ship, "打卡后发货")
        assert "打卡" not in found(project)
        label(project, clock_in, "补打卡")
        [rule] = [r for r in rules.mine(project) if r.pattern == "打卡"]
        assert (rule.support, rule.success_rate) == (6, pytest.approx(5 / 6))
        interval = wilson(5, 6)
        assert rule.success_low == pytest.approx(interval.low)
        assert rule.boost == pytest.approx(interval.centre, abs=1e-3)

    def test_support_is_a_parameter(self, project: Project) -> None:
        assert "统计" not in found(project)
        ship = project.intents.get(code="ship")
        label(project, ship, "出库统计", "统计报表在哪")
        assert "统计" in found(project)
        KeywordRule.objects.all().delete()
        assert {r.pattern for r in rules.mine(project, support=4)} == {"打卡"}

    def test_never_looks_at_test_questions(self, project: Project) -> None:
        ship, pay = (project.intents.get(code=c) for c in ("ship", "pay"))
        label(project, ship, "物流到哪", "物流电话", "物流公司", split="test")
        label(project, pay, "打卡 1", "打卡 2", "打卡 3", "打卡 4", split="test")
        assert "物流" not in found(project)
        assert found(project)["打卡"] == "clock_in"
        [rule] = KeywordRule.objects.filter(pattern="打卡")
        assert rule.support == 4

    def test_learns_from_validation_questions(self, project: Project) -> None:
        ship = project.intents.get(code="ship")
        label(project, ship, "物流到哪", "物流电话", split="train")
        label(project, ship, "物流公司", split="validation")
        assert found(project)["物流"] == "ship"

    def test_support_counts_what_serving_matches_however_jieba_cuts(
        self, project: Project
    ) -> None:
        pay = project.intents.get(code="pay")
        make_labelled(project, pay, "工资卡号", split="train")
        rules.mine(project)
        rule = KeywordRule.objects.get(pattern="工资")
        hits = rules.preview(rule)
        assert rule.support == hits.n_right == 4

    def test_a_word_says_nothing_where_nearly_all_have_its_intent(self) -> None:
        project = make_project()
        much, little = make_intent(project), make_intent(project)
        label(project, much, *[f"设备 {i}" for i in range(17)])
        label(project, little, "设备 a", "设备 b", "设备 c", "食堂 d")
        # 17 of 20: 85 % right, but 81 % of all labels are that intent anyway.
        assert found(project) == {}

    def test_no_rules_for_the_fallback_or_a_retired_intent(
        self, project: Project
    ) -> None:
        project.intents.filter(code="ship").update(is_fallback=True)
        project.intents.filter(code="pay").update(retired_at="2024-01-01T00:00Z")
        assert set(found(project).values()) == {"clock_in"}

    def test_several_intents_a_question(self) -> None:
        project = make_project(is_multi_intent=True)
        ship, pay = make_intent(project, "ship"), make_intent(project, "pay")
        for i in range(4):
            question = make_labelled(project, ship, f"发货和工资 {i}", split="train")
            question.gold_labels.create(
                intent=pay, source="import", set_at=question.first_seen
            )
        label(project, make_intent(project), *[f"other {i}" for i in range(4)])
        pairs = {(r.pattern, r.intent.code) for r in rules.mine(project)}
        assert {("发货", "ship"), ("发货", "pay"), ("工资", "ship")} <= pairs

    def test_another_project_is_not_touched(self, project: Project) -> None:
        other = make_project()
        label(other, make_intent(other), "仓库 a", "仓库 b", "仓库 c")
        rules.mine(project)
        assert not other.rules.exists()

    def test_nothing_labelled(self) -> None:
        project = make_project()
        make_question(project)
        assert rules.mine(project) == []

    def test_again_keeps_states_and_confidence_and_refreshes_rates(
        self, project: Project
    ) -> None:
        mia = make_person("mia", project)
        rules.mine(project)
        by_pattern = {r.pattern: r for r in project.rules.all()}
        rules.approve([by_pattern["打卡"]], by=mia)
        rules.disable([by_pattern["发货"]], by=mia)
        ship = project.intents.get(code="ship")
        label(project, ship, "打卡后发货", "发货单")
        again = rules.mine(project)
        assert not {r.pattern for r in again} & {"打卡", "发货"}
        active, disabled = (project.rules.get(pattern=p) for p in ("打卡", "发货"))
        assert (active.state, disabled.state) == ("active", "disabled")
        assert (active.support, active.success_rate) == (5, pytest.approx(0.8))
        assert active.boost == by_pattern["打卡"].boost
        assert project.rules.count() == len(by_pattern)

    def test_a_manual_rule_gets_its_rates(self, project: Project) -> None:
        pay = project.intents.get(code="pay")
        manual = make_rule(project, "Payment", pay)  # not normalised, from elsewhere
        never = make_rule(project, "zzz", pay)
        rules.mine(project)
        manual.refresh_from_db()
        never.refresh_from_db()
        assert (manual.support, manual.success_rate) == (3, 1.0)
        assert (never.support, never.success_rate) == (0, None)

    def test_mining_alone_changes_nothing_that_serves(self, project: Project) -> None:
        rules.mine(project)
        project.refresh_from_db()
        assert project.serving_revision == 0


class TestDecide:
    def test_approve_is_live_and_says_who(self, project: Project) -> None:
        mia = make_person("mia", project)
        mined = rules.mine(project)
        assert rules.approve(mined, by=mia) == len(mined)
        project.refresh_from_db()
        assert project.serving_revision == 1
        rule = project.rules.first()
        assert rule is not None
        assert (rule.state, rule.decided_by) == ("active", mia)
        assert rule.decided_at is not None

    def test_a_second_approval_changes_nothing(self, project: Project) -> None:
        mia, rex = make_person("mia", project), make_person("rex", project)
        mined = rules.mine(project)
        rules.approve(mined, by=mia)
        assert rules.approve(project.rules.all(), by=rex) == 0
        project.refresh_from_db()
        assert project.serving_revision == 1
        assert set(project.rules.values_list("decided_by", flat=True)) == {mia.pk}

    def test_disable_and_approve_again(self, project: Project) -> None:
        mined = rules.mine(project)
        rules.approve(mined, by=None)
        assert rules.disable(mined[:2], by=None) == 2
        assert rules.approve(mined, by=None) == 2
        project.refresh_from_db()
        assert project.serving_revision == 3

    def test_each_project_is_told_once(self, project: Project) -> None:
        other = make_project()
        theirs = make_rule(other, "x", make_intent(other), state="candidate")
        rules.approve([*rules.mine(project), theirs], by=None)
        for one in (project, other):
            one.refresh_from_db()
            assert one.serving_revision == 1

    @pytest.mark.django_db(transaction=True)
    def test_listeners_hear_of_it(self, project: Project) -> None:
        mined = rules.mine(project)
        with connection.cursor() as cursor:
            cursor.execute("LISTEN tuneloop_serving")
            rules.approve(mined, by=None)
            heard = list(connection.connection.notifies(timeout=2, stop_after=1))
            cursor.execute("UNLISTEN tuneloop_serving")
        assert [n.payload for n in heard] == [str(project.pk)]

    def test_save_normalises_and_is_live(self, project: Project) -> None:
        pay = project.intents.get(code="pay")
        rule = KeywordRule(project=project, pattern=" Ｗｉ-Fi ？", intent=pay)
        rules.save(rule)
        assert rule.pattern == "wi-fi"
        project.refresh_from_db()
        assert project.serving_revision == 1
        twin = KeywordRule(project=project, pattern="WI-FI", intent=pay)
        with pytest.raises(ValidationError):
            rules.save(twin)
        with pytest.raises(ValidationError):
            rules.save(KeywordRule(project=project, pattern="  ", intent=pay))

    def test_delete_is_live(self, project: Project) -> None:
        mined = rules.mine(project)
        assert rules.delete(mined) == len(mined)
        assert rules.delete(mined) == 0
        project.refresh_from_db()
        assert project.serving_revision == 1


class TestPreview:
    def test_right_wrong_and_unlabelled(self, project: Project) -> None:
        clock_in, ship = (project.intents.get(code=c) for c in ("clock_in", "ship"))
        wrong = make_labelled(project, ship, "打卡后发货", split="train")
        new = make_question(project, "ＣＬＯＣＫ in 打卡", split="train")
        make_labelled(project, clock_in, "test 打卡", split="test")
        shown = rules.preview(
            KeywordRule(project=project, pattern="打卡", intent=clock_in)
        )
        assert (shown.n_right, shown.n_wrong, shown.n_unlabelled) == (4, 1, 1)
        assert (shown.wrong, shown.unlabelled) == ([wrong], [new])
        assert shown.is_complete

    def test_words_are_whole_and_spaces_and_width_fold(self, project: Project) -> None:
        pay = project.intents.get(code="pay")
        make_question(project, "repayments", split="train")
        odd = make_question(project, "Ｐａｙｍｅｎｔ   FAILED again", split="train")
        shown = rules.preview(
            KeywordRule(project=project, pattern="payment failed", intent=pay)
        )
        assert shown.unlabelled == [odd]
        assert shown.n_right == 1

    def test_two_queries_and_a_limit(
        self, project: Project, django_assert_num_queries: Any
    ) -> None:
        pay = project.intents.get(code="pay")
        rule = KeywordRule(project=project, pattern="payment", intent=pay)
        with django_assert_num_queries(2):
            shown = rules.preview(rule, limit=2)
        assert len(shown.right) == 2
        assert shown.n_right == 3

    def test_like_wildcards_are_plain_characters(self, project: Project) -> None:
        pay = project.intents.get(code="pay")
        odd = make_question(project, "100% pay", split="train")
        shown = rules.preview(KeywordRule(project=project, pattern="0%", intent=pay))
        assert shown.unlabelled == []  # "0%" would cut the number 100
        shown = rules.preview(KeywordRule(project=project, pattern="100%", intent=pay))
        assert shown.unlabelled == [odd]


class TestCommand:
    def run(self, *args: str) -> str:
        out = StringIO()
        call_command("mine_rules", *args, stdout=out)
        return out.getvalue()

    def test_prints_a_table(self, project: Project) -> None:
        lines = self.run(project.slug).splitlines()
        assert lines[0].split()[:3] == ["keyword", "intent", "support"]
        assert any(line.split()[:2] == ["打卡", "clock_in"] for line in lines)
        assert "6 candidates" in lines[-1]

    def test_unknown_project_and_bad_support(self, project: Project) -> None:
        with pytest.raises(CommandError, match="no project nope"):
            self.run("nope")
        with pytest.raises(CommandError, match="at least 1"):
            self.run(project.slug, "--support", "0")


def test_ten_thousand_questions_in_seconds(django_assert_max_num_queries: Any) -> None:
    """The set-based promise: a handful of statements, however many questions."""
    from django.utils import timezone

    from labeling.models import GoldLabel

    project = make_project()
    now = timezone.now()
    intents = [make_intent(project, f"i{n}") for n in range(20)]
    questions = Question.objects.bulk_create(
        Question(
            project=project,
            text=f"第{n}车间 word{n % 20} 原料批次查询",
            text_hash=f"{n:032x}",
            first_seen=now,
            last_seen=now,
            state=Question.State.LABELLED,
            split=Question.Split.TRAIN,
        )
        for n in range(2000)
    )
    GoldLabel.objects.bulk_create(
        GoldLabel(question=q, intent=intents[n % 20], source="import", set_at=now)
        for n, q in enumerate(questions)
    )
    with django_assert_max_num_queries(8):
        mined = rules.mine(project)
    assert len(mined) == 20
