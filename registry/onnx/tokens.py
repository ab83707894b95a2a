"""Texts to token ids, the same way for training and for serving."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

# No known vocabulary has longer pieces; a text beyond this many characters a token is
# cut before tokenising, so that a huge one costs no more than a long one.
_MAX_CHARACTERS_PER_TOKEN = 64


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts."""

    ids: list[list[int]]
    """Token ids of each text, special tokens included, without padding."""

    was_cut: list[bool]
    """Whether a text was longer than what the model reads."""


class TextEncoder:
    """A `tokenizers` tokenizer with a maximum length. Safe to share among threads."""

    def __init__(self, folder: Path, *, max_length: int) -> None:
        """Open `folder`/tokenizer.json (up to 1 s for 250,000 pieces).

        Args:
            folder: holds tokenizer.json.
            max_length: tokens that are kept of a text, special tokens included.

        Raises:
            FileNotFoundError: there is no tokenizer.json.
            ValueError: it cannot be read.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"“{folder}” has no tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises nothing narrower
            raise ValueError(f"{path.name} cannot be read: {error}") from error
        padding = self._tokenizer.padding
        self.pad_id: int = padding["pad_id"] if padding else 0
        self.max_length = max_length
        self._max_characters = max_length * _MAX_CHARACTERS_PER_TOKEN
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length)

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Tokenise `texts` (about 0.03 ms each). Outer white space does not count."""
        stripped = [text.strip() for text in texts]
        encoded = self._tokenizer.encode_batch_fast(
            [_encodable(text[: self._max_characters]) for text in stripped]
        )
        return Tokens(
            ids=[one.ids for one in encoded],
            was_cut=[
                bool(one.overflowing) or len(text) > self._max_characters
                for one, text in zip(encoded, stripped, strict=True)
            ],
        )


def pad(
    ids: Sequence[Sequence[int]], pad_id: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Pad to the longest text on the right.

    Returns:
        input_ids and attention_mask, int64 (B, T); the mask is 1 for real tokens.
    """
    longest = max(map(len, ids))
    input_ids = np.full((len(ids), longest), pad_id, np.int64)
    mask = np.zeros((len(ids), longest), np.int64)
    for row, tokens in enumerate(ids):
        input_ids[row, : len(tokens)] = tokens
        mask[row, : len(tokens)] = 1
    return input_ids, mask


def _encodable(text: str) -> str:
    # Lone surrogates (broken JSON escapes) cannot cross into Rust.
    return text.encode("utf-8", "replace").decode("utf-8")
