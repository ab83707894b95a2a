"""The keywords of a text: Chinese words by jieba, English words and word pairs."""

import logging
import re
from functools import cache
from typing import Any

from django.conf import settings

from labeling.rules.stop_words import ENGLISH, HAN, PARTICLES

MAX_KEYWORD_CHARS = 40
"""Longer words are codes or addresses, not keywords."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_RUN = re.compile(rf"[{_HAN}]+|[^\W_{_HAN}]+(?:['’-][^\W_{_HAN}]+)*")
_IS_HAN = re.compile(rf"[{_HAN}]")
_HAN_NUMBER_OR_DATE = re.compile(
    r"(?:第?[〇零一二三四五六七八九十百千万亿两半几]+"
    r"[年月日号点时分秒天周个次份箱吨斤公克元块毛件]*"
    r"|[上下本这]?(?:周|星期|礼拜)[一二三四五六日天末]?"
    r"|[今明昨前后当][天日早晚年]|[上下本这]个?月|去年|上午|下午|早上|晚上|中午)"
)


def keywords(text: str) -> set[str]:
    """The words of a normalised text that could be keywords, each spelt as it is there.

    Chinese words have two characters or more. English words stand alone or in pairs
    that are one space apart. Stop words, numbers and dates are left out.
    """
    found: set[str] = set()
    previous: re.Match[str] | None = None
    for run in _RUN.finditer(text):
        word = run.group()
        if _IS_HAN.match(word):
            found.update(w for w in _han_words(word) if _is_telling_han(w))
            previous = None
            continue
        if _is_telling(word):
            found.add(word)
        if previous is not None and text[previous.end() : run.start()] == " ":
            first = previous.group()
            if _is_telling(first) and (_is_telling(word) or word in PARTICLES):
                found.add(f"{first} {word}")
        previous = run
    return {word for word in found if len(word) <= MAX_KEYWORD_CHARS}


def _is_telling(word: str) -> bool:
    """Whether a word of a script with spaces is neither a stop word nor a number."""
    return (
        len(word) > 1
        and word.replace("’", "'") not in ENGLISH
        and not word[0].isdigit()
    )


def _is_telling_han(word: str) -> bool:
    return len(word) > 1 and word not in HAN and not _HAN_NUMBER_OR_DATE.fullmatch(word)


def _han_words(run: str) -> list[str]:
    return list(_tokenizer().cut_for_search(run))


@cache
def _tokenizer() -> Any:
    """jieba's tokenizer, one a process.

    Cost: half a second and about 100 MB, paid by the first Chinese text. The compiled
    dictionary is kept in the cache folder: jieba's own choice would be /tmp.
    """
    import jieba  # it configures logging when imported

    jieba.setLogLevel(logging.WARNING)
    settings.CACHE_DIR.mkdir(parents=True, exist_ok=True)
    tokenizer = jieba.Tokenizer()
    tokenizer.tmp_dir = str(settings.CACHE_DIR)
    return tokenizer
