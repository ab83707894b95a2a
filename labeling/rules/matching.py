"""What it means that a text holds a keyword: one answer for mining and serving."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import ahocorasick

_SPACED_SCRIPTS_END = "\u0e00"
"""Scripts below this code point put spaces between words: Latin, Greek, Cyrillic,
Hebrew, Arabic, the Indic ones. Thai, kana, Hangul and Chinese lie above."""


class Span(NamedTuple):
    """Where a text holds a keyword: text[start:end] is the pattern."""

    pattern: str
    start: int
    end: int


class Matcher:
    """Finds which of many keywords a normalised text holds, in one pass.

    A keyword is found anywhere in the text. Where its edge is a letter or digit of a
    script with spaces, it must end there as a word: "pay" is not in "payment", while
    "打卡" is in "忘记打卡了".
    """

    def __init__(self, patterns: Iterable[str]) -> None:
        """Takes patterns that are normalised (`labeling.normalise.normalise`)."""
        self._automaton: Any = ahocorasick.Automaton()
        for pattern in patterns:
            if pattern:
                self._automaton.add_word(pattern, pattern)
        self._is_empty = len(self._automaton) == 0
        if not self._is_empty:
            self._automaton.make_automaton()

    def found(self, text: str) -> set[str]:
        """The patterns that a normalised text holds."""
        return {span.pattern for span in self.spans(text)}

    def spans(self, text: str) -> Iterator[Span]:
        """Each place where a normalised text holds a pattern, by its end."""
        if self._is_empty:
            return
        for last, pattern in self._automaton.iter(text):
            start = last - len(pattern) + 1
            if _is_whole(text, start, last):
                yield Span(pattern, start, last + 1)


def _is_whole(text: str, start: int, end: int) -> bool:
    """Whether text[start..end], ends included, cuts no word of a script with spaces."""
    cuts_left = start > 0 and _joins(text[start - 1], text[start])
    cuts_right = end + 1 < len(text) and _joins(text[end], text[end + 1])
    return not cuts_left and not cuts_right


def _joins(left: str, right: str) -> bool:
    return _is_word_char(left) and _is_word_char(right)


def _is_word_char(char: str) -> bool:
    return char < _SPACED_SCRIPTS_END and char.isalnum()
