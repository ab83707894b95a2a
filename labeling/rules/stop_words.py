"""Words that say how a question is put, not what it asks.

The success rate weeds most of them out by itself; with few labels it can't.
"""

_HAN = """
怎么 怎样 怎么样 怎么办 如何 什么 为什么 为何 哪里 哪儿 哪个 哪些 多少 几个
是否 是不是 有没有 能不能 可不可以 可以 能否 能够 请问 一下 一个 这个 那个
这些 那些 这里 那里 我们 你们 他们 它们 自己 大家 现在 时候 目前 还是 或者
以及 但是 因为 所以 如果 已经 没有 不能 不会 不是 需要 想要 应该 帮我 告诉
知道 麻烦 谢谢 你好 您好 一些 一直 一样 那么 这么 这样 那样 然后 还有 进行
出来 起来 关于 其他 其它
"""
_ENGLISH = """
a about after all also am an and any are as at be because been before being but by
can can't could did didn't do does doesn't doing don't for from get give got had has
have having he hello help her hey hi him his how how's i i'd i'll i'm i've if in
into is isn't it it's its just know let like many may me might more most much must
my need no not now of off on one or other our out over please shall she should so
some tell than thank thanks that that's the their them then there there's these they
this those to too up us use very want was we were what what's when where where's
which while who who's whose why will with won't would yes you your yours today
yesterday tomorrow tonight monday tuesday wednesday thursday friday saturday sunday
january february march april june july august september october november december
week month year day
"""
_PARTICLES = "back down in off on out over up"

HAN = frozenset(_HAN.split())
ENGLISH = frozenset(_ENGLISH.split())
PARTICLES = frozenset(_PARTICLES.split())
"""They make the second half of phrasal verbs: "clock in", "sign up", "pay back"."""
