"""What counts as the same question, and which split its text falls into."""

import itertools

import pytest

from labeling.normalise import normalise, split_of, split_point, text_hash


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello World", "hello   world"),
        ("ＡＢＣ１２３", "abc123"),
        ("今天谁没打卡？", "今天谁没打卡"),
        ("今天谁没打卡？！。", "今天谁没打卡"),
        ("  stock\talert \n", "stock alert"),
        ("Straße", "STRASSE"),
        ("ﬁle", "file"),
        ("cafe\u0301", "café"),
        ("全角　空格", "全角 空格"),
        ("wait…", "wait..."),
    ],
)
def test_spellings_of_one_question(one: str, other: str) -> None:
    assert normalise(one) == normalise(other)
    assert text_hash(one) == text_hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("打卡", "打 卡"),
        ("version 1.2", "version 12"),
        ("c++", "c"),
        ("cant", "can't"),
        ("50%", "50"),
        ("-5", "5"),
        ("???", "!!!"),
    ],
)
def test_different_questions_stay_different(one: str, other: str) -> None:
    assert text_hash(one) != text_hash(other)


def test_punctuation_alone_is_still_a_question() -> None:
    assert normalise("？？？") == "???"


def test_normalising_twice_changes_nothing() -> None:
    for text in ("Ａ！ ？", "ß…", "  x . . ", "...", "İstanbul?"):
        assert normalise(normalise(text)) == normalise(text)


def test_hashes_are_stable_for_ever() -> None:
    # Stored hashes are compared with fresh ones: this value must never change.
    assert text_hash("今天谁没打卡？") == "0f0b6d00cbd4389176c8dc155954d5fb"
    assert len(text_hash("")) == 32


def test_splits_take_their_shares_and_grow_without_moving_a_test_question() -> None:
    hashes = [text_hash(f"question {n}") for n in range(20_000)]
    splits = [split_of(h, test_share=0.1, validation_share=0.2) for h in hashes]
    assert splits.count("test") == pytest.approx(2000, abs=200)
    assert splits.count("validation") == pytest.approx(4000, abs=300)
    for hash_, before in itertools.islice(zip(hashes, splits, strict=True), 2000):
        after = split_of(hash_, test_share=0.2, validation_share=0.2)
        if before == "test":
            assert after == "test"
    assert {split_of(h, test_share=0, validation_share=0) for h in hashes} == {"train"}


def test_the_point_lies_in_0_to_1() -> None:
    assert split_point("0" * 32) == 0
    assert 0.999 < split_point("f" * 32) < 1
