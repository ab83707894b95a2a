"""The keywords of a text: Chinese words by jieba, English words and word pairs."""

import logging
import re
from functools import cache
from typing import Any

from django.conf import settings

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

# Words that say how a question is put, not what it asks. The success rate weeds most
# of them out by itself; with few labels it can't.
_STOP_HAN = frozenset(
    "怎么 怎样 怎么样 怎么办 如何 什么 为什么 为何 哪里 哪儿 哪个 哪些 多少 几个 是否 "
    "是不是 有没有 能不能 可不可以 可以 能否 能够 请问 请 一下 一个 这个 那个 这些 那些 "
    "这里 那里 我们 你们 他们 它们 自己 大家 现在 时候 目前 还是 或者 以及 但是 因为 "
    "所以 如果 已经 没有 不能 不会 不是 需要 想要 应该 帮我 告诉 知道 麻烦 谢谢 你好 "
    "您好 一些 一直 一样 那么 这么 这样 那样 然后 还有 进行 出来 起来 关于 其他 其它".split()
)
_STOP_ENGLISH = frozenset(
    "a about after all also am an and any are as at be because been before being but by "
    "can can't could did didn't do does doesn't doing don't for from get give got had has "
    "have having he hello help her hey hi him his how how's i i'd i'll i'm i've if in "
    "into is isn't it it's its just know let like many may me might more most much must "
    "my need no not now of off on one or other our out over please shall she should so "
    "some tell than thank thanks that that's the their them then there there's these "
    "they this those to too up us use very want was we were what what's when where "
    "where's which while who who's whose why will with won't would yes you your yours "
    "today yesterday tomorrow tonight monday tuesday wednesday thursday friday saturday "
    "sunday january february march april june july august september october november "
    "december week month year day".split()
)
# They make the second half of phrasal verbs: "clock in", "sign up", "pay back".
_PARTICLES = frozenset("back down in off on out over up".split())


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
            if _is_telling(first) and (_is_telling(word) or word in _PARTICLES):
                found.add(f"{first} {word}")
        previous = run
    return {word for word in found if len(word) <= MAX_KEYWORD_CHARS}


def _is_telling(word: str) -> bool:
    """Whether a word of a script with spaces is neither a stop word nor a number."""
    return (
        len(word) > 1
        and word.replace("’", "'") not in _STOP_ENGLISH
        and not word[0].isdigit()
    )


def _is_telling_han(word: str) -> bool:
    return (
        len(word) > 1
        and word not in _STOP_HAN
        and not _HAN_NUMBER_OR_DATE.fullmatch(word)
    )


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
