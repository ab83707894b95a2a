"""How Chinese words are typed on a Latin keyboard."""


def spellings(*texts: str) -> str:
    """Initials and full pinyin of each text, for searching: "kqbk kaoqinbuka".

    Texts without Chinese characters give nothing: they are found as they are. The
    first call takes 0.3 s to read the dictionary.
    """
    if not any(_is_chinese(char) for text in texts for char in text):
        return ""
    from pypinyin import Style, lazy_pinyin

    words = []
    for text in texts:
        if any(_is_chinese(char) for char in text):
            for style in (Style.FIRST_LETTER, Style.NORMAL):
                words.append("".join(lazy_pinyin(text, style=style)))
    return " ".join(words).lower()


def _is_chinese(char: str) -> bool:
    return "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf"
