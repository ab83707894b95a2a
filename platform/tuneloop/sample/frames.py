"""What people put around a question: greetings, requests, particles, punctuation,
colloquial words and slips. `…` stands for the question itself.
"""

Weighted = tuple[tuple[str, float], ...]

_ZH_ASK: Weighted = (
    ("…", 30),
    ("请问…", 5),
    ("问下…", 3),
    ("想问下…", 2),
    ("你好，…", 2),
    ("你好 请问…", 1),
    ("…呢", 3),
    ("…啊", 5),
    ("…呀", 2),
)

FRAMES: dict[tuple[str, str], Weighted] = {
    ("zh", "ask"): _ZH_ASK,
    ("zh", "look"): (
        *_ZH_ASK,
        ("帮我看下…", 3),
        ("帮我查一下…", 3),
        ("帮我查查…", 2),
        ("看看…", 3),
        ("查一下…", 3),
        ("麻烦查下…", 2),
        ("我想知道…", 2),
        ("…，帮我看看", 1),
        ("…，急", 1),
    ),
    ("zh", "yn"): (
        ("…吗", 30),
        ("…么", 6),
        ("…嘛", 3),
        ("请问…吗", 5),
        ("你好，…吗", 2),
        ("问一下…吗", 3),
        ("…吗，麻烦看下", 2),
    ),
    ("zh", "do"): (
        ("…", 28),
        ("帮我…", 12),
        ("帮忙…", 4),
        ("麻烦…", 4),
        ("麻烦帮我…，谢谢", 3),
        ("请帮我…", 3),
        ("我要…", 8),
        ("我想…", 5),
        ("能帮我…吗", 3),
        ("可以帮我…吗", 2),
        ("…，谢谢", 3),
        ("现在…", 2),
    ),
    ("zh", "np"): (
        ("…", 26),
        ("查…", 5),
        ("查一下…", 6),
        ("查下…", 4),
        ("看下…", 4),
        ("看看…", 4),
        ("我想看…", 3),
        ("我要看…", 2),
        ("帮我查…", 3),
        ("帮我看一下…", 3),
        ("麻烦查下…，谢谢", 2),
        ("给我看看…", 2),
        ("…发我", 3),
        ("…发我一份", 1),
        ("…呢", 2),
        ("…在哪看", 3),
        ("…怎么查", 3),
    ),
    ("zh", "say"): (
        ("…", 40),
        ("你好，…", 3),
        ("…，谢谢", 2),
        ("…，麻烦了", 1),
        ("那个，…", 1),
    ),
    ("en", "ask"): (
        ("…", 20),
        ("hi, …", 2),
        ("hey, …", 1),
        ("excuse me, …", 1),
        ("quick question, …", 1),
    ),
    ("en", "do"): (
        ("…", 8),
        ("please …", 3),
        ("… please", 3),
        ("pls …", 1),
        ("can you …", 2),
        ("could you …", 1),
        ("I want to …", 2),
        ("I need to …", 2),
        ("help me …", 1),
    ),
    ("en", "np"): (
        ("…", 10),
        ("show me …", 3),
        ("show …", 1),
        ("check …", 2),
        ("I want to see …", 2),
        ("give me …", 1),
        ("… please", 2),
        ("where can I find …", 2),
        ("can I see …", 1),
    ),
    ("en", "say"): (
        ("…", 12),
        ("hi, …", 2),
        ("hello, …", 1),
        ("… thanks", 1),
        ("… please", 1),
    ),
}
"""Sentence frames with their weights, by language and form."""

_QUESTION_MARKS: Weighted = (("", 60), ("？", 20), ("?", 14), ("？？", 3), ("???", 2))
_FULL_STOPS: Weighted = (("", 88), ("。", 5), ("！", 3), ("～", 2), ("...", 1))

MARKS: dict[str, Weighted] = {
    "ask": _QUESTION_MARKS,
    "look": _QUESTION_MARKS,
    "yn": _QUESTION_MARKS,
    "do": _FULL_STOPS,
    "np": _FULL_STOPS,
    "say": _FULL_STOPS,
}
"""Closing punctuation by form; most people send none."""

CASUAL: dict[str, tuple[tuple[str, str], ...]] = {
    "zh": (
        ("怎么", "咋"),
        ("什么", "啥"),
        ("这个月", "这月"),
        ("今天", "今儿"),
        ("哪里", "哪儿"),
        ("坏了", "挂了"),
    ),
    "en": (
        ("tomorrow", "tmr"),
        ("please", "plz"),
        ("you ", "u "),
        ("because", "cuz"),
        ("going to", "gonna"),
        ("quantity", "qty"),
        ("information", "info"),
    ),
}
"""Neutral word and its colloquial form."""

TYPOS: dict[str, tuple[tuple[str, str], ...]] = {
    # Homophones: what a pinyin input method offers first, or what people mix up.
    "zh": (
        ("考勤", "考情"),
        ("账", "帐"),
        ("订单", "定单"),
        ("报修", "保修"),
        ("供应商", "供应上"),
        ("批次", "批刺"),
        ("库存", "库村"),
        ("进度", "近度"),
        ("排班", "拍班"),
        ("质检", "质捡"),
        ("请假", "情假"),
        ("出货", "初货"),
        ("发货", "法货"),
        ("原料", "源料"),
        ("打卡", "打咔"),
        ("产量", "产两"),
        ("在", "再"),
        ("通知", "通之"),
        ("多少", "多小"),
        ("价格", "价个"),
        ("付款", "负款"),
        ("下班", "下搬"),
    ),
    "en": (
        ("attendance", "attendence"),
        ("shipment", "shippment"),
        ("material", "materail"),
        ("inventory", "inventry"),
        ("payment", "payement"),
        ("batches", "batchs"),
        ("schedule", "shedule"),
        ("order", "oder"),
        ("supplier", "suplier"),
        ("quality", "qualty"),
        ("production", "producton"),
        ("the ", "teh "),
        ("when", "wehn"),
        ("how much", "howmuch"),
    ),
}
"""The right spelling and the slip."""
