"""Rules: which keyword speaks, and which is silent."""

import random
import time
from collections.abc import Callable

import ahocorasick
import pytest

from registry.serving.matcher import Rule, RuleMatcher


def rules(*rows: tuple[str, str, float]) -> RuleMatcher:
    return RuleMatcher(Rule(i, *row) for i, row in enumerate(rows))


def spoken(matcher: RuleMatcher, text: str) -> dict[str, str]:
    return {code: hit.rule.pattern for code, hit in matcher.match(text).items()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今天忘记打卡了", {"clock": "打卡"}),
        ("原料批次在哪", {"material": "原料批次"}),  # the longer one covers 批次
        ("批次在哪", {"batch": "批次"}),
        ("原料批次和成品批次", {"material": "原料批次", "batch": "批次"}),
        ("pay the bill", {"pay": "pay"}),
        ("payment", {}),  # a word of its own, or nothing
        ("什么都没有", {}),
        ("", {}),
    ],
)
def test_what_speaks(text: str, expected: dict[str, str]) -> None:
    matcher = rules(
        ("打卡", "clock", 0.9),
        ("批次", "batch", 0.9),
        ("原料批次", "material", 0.7),
        ("pay", "pay", 0.9),
    )
    assert spoken(matcher, text) == expected


def test_the_surest_rule_of_an_intent_speaks_then_the_longest() -> None:
    matcher = rules(("工资", "pay", 0.6), ("奖金", "pay", 0.8), ("年终奖", "pay", 0.8))
    assert spoken(matcher, "工资和奖金") == {"pay": "奖金"}
    assert spoken(matcher, "奖金和年终奖") == {"pay": "年终奖"}


def test_one_keyword_may_speak_for_two_intents() -> None:
    matcher = rules(("打卡", "clock", 0.9), ("打卡", "attendance", 0.5))
    assert spoken(matcher, "打卡") == {"clock": "打卡", "attendance": "打卡"}


def test_patterns_are_compared_as_texts_are() -> None:
    assert spoken(rules(("ＷＩＦＩ", "net", 0.9)), "the wifi") == {"net": "ＷＩＦＩ"}


def test_a_hit_says_where_it_was_found() -> None:
    hit = rules(("打卡", "clock", 0.9)).match("忘记打卡了")["clock"]
    assert (hit.start, hit.end) == (2, 4)


def test_no_rules_say_nothing() -> None:
    assert len(rules()) == 0
    assert rules().match("打卡") == {}


def test_ten_thousand_rules_cost_little() -> None:
    rng = random.Random(7)
    signs = [chr(c) for c in range(0x4E00, 0x4E00 + 400)]

    def word(n: int) -> str:
        return "".join(rng.choices(signs, k=n))

    patterns = {word(rng.randint(2, 4)) for _ in range(10_000)}
    matcher = RuleMatcher(
        Rule(i, p, f"i{i % 50}", 0.9) for i, p in enumerate(sorted(patterns))
    )
    texts = [word(20) for _ in range(200)]
    assert any(matcher.match(text) for text in texts)

    def cpu_ms(find: Callable[[str], object]) -> float:
        started = time.thread_time()
        for text in texts:
            find(text)
        return (time.thread_time() - started) / len(texts) * 1000

    ms = min(cpu_ms(matcher.match) for _ in range(3))
    loop_ms = min(cpu_ms(lambda t: [p for p in patterns if p in t]) for _ in range(3))
    print(f"{ms:.4f} ms a text at {len(matcher):,} rules, {loop_ms:.4f} one by one")
    # What a loop over the rules costs, in the same run.
    assert ms < loop_ms / 2
    assert ahocorasick.unicode
