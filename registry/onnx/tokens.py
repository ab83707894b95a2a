"""Texts to token ids, the same way for training and for serving."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

# No known vocabulary has longer pieces; a text beyond this many characters a token is
# cut before tokenising, so that a huge one costs no more than a long one.
_MAX_CHARACTERS_PER_TOKEN = 64


class TokenizerError(ValueError):
    """A tokenizer.json that is damaged; the message is a sentence."""


@dataclass(frozen=True)
class Tokens:
    """Tokenised texts."""

    ids: list[list[int]]
    """Token ids of each text, special tokens included, without padding."""

    was_cut: list[bool]
    """Whether a text was longer than what the model reads."""


class TextEncoder:
    """A `tokenizers` tokenizer with a maximum length. Safe to share among threads.

    Equal files are held once a process: 250,000 pieces take 280 MB, and the versions of
    a project and the encoder of neighbours mostly have the same.
    """

    def __init__(self, folder: Path, *, max_length: int) -> None:
        """Open `folder`/tokenizer.json (1 to 2 s for 250,000 pieces).

        Args:
            folder: holds tokenizer.json.
            max_length: tokens that are kept of a text, special tokens included.

        Raises:
            FileNotFoundError: there is no tokenizer.json.
            TokenizerError: it cannot be read.
        """
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise FileNotFoundError(f"“{folder}” has no tokenizer.json")
        self._shared = _open(path)
        self.pad_id = self._shared.pad_id
        self.max_length = max_length
        self._max_characters = max_length * _MAX_CHARACTERS_PER_TOKEN

    def encode(self, texts: Sequence[str]) -> Tokens:
        """Tokenise `texts` (about 0.03 ms each). Outer white space does not count."""
        stripped = [text.strip() for text in texts]
        encoded = self._shared.tokenizer.encode_batch_fast(
            [_encodable(text[: self._max_characters]) for text in stripped]
        )
        return Tokens(
            ids=[self._cut(one.ids) for one in encoded],
            was_cut=[
                len(one.ids) > self.max_length or len(text) > self._max_characters
                for one, text in zip(encoded, stripped, strict=True)
            ],
        )

    def _cut(self, ids: list[int]) -> list[int]:
        """Shorten to what is read; the special tokens at the end stay."""
        if len(ids) <= self.max_length:
            return ids
        end = self._shared.closing
        return ids[: self.max_length - end] + ids[len(ids) - end :]


class _Shared:
    """An open tokenizer, without padding and truncation: those are its users' own."""

    def __init__(self, content: bytes) -> None:
        self.tokenizer = Tokenizer.from_buffer(content)
        padding = self.tokenizer.padding
        self.pad_id: int = padding["pad_id"] if padding else 0
        self.tokenizer.no_padding()
        self.tokenizer.no_truncation()
        special = self.tokenizer.encode("a").special_tokens_mask
        self.closing = list(reversed(special)).index(0) if 0 in special else 0
        """Special tokens behind a text."""


_opening = threading.Lock()
_open_ones: WeakValueDictionary[str, _Shared] = WeakValueDictionary()
"""By SHA-256 of the file, for as long as somebody uses it."""


def _open(path: Path) -> _Shared:
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    with _opening:
        shared = _open_ones.get(digest)
        if shared is None:
            try:
                shared = _Shared(content)
            except Exception as error:  # tokenizers raises nothing narrower
                raise TokenizerError(
                    f"{path.name} cannot be read, it is damaged: {error}"
                ) from error
            _open_ones[digest] = shared
        return shared


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


def pack(
    ids: Sequence[Sequence[int]], pad_id: int, *, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], list[int]]:
    """Put texts one behind another into as few rows of like length as need be.

    Args:
        ids: token ids of each text.
        pad_id: fills the rows.
        width: tokens of a row, about; a longer text makes it longer.

    Returns:
        input_ids and mask, int64 (R, S); the mask is k for the tokens of a row's k-th
        text and 0 for padding. And for each text r * K + k - 1, where K is the largest
        mask: which output of the model is its own.
    """
    lengths = [len(one) for one in ids]
    count = min(len(ids), max(1, -(-sum(lengths) // width)))
    rows: list[list[int]] = [[] for _ in range(count)]
    filled = [0] * count
    # The longest first, each into the emptiest row: they end up about equally long.
    for text in sorted(range(len(ids)), key=lengths.__getitem__, reverse=True):
        row = filled.index(min(filled))
        rows[row].append(text)
        filled[row] += lengths[text]
    input_ids = np.full((count, max(filled)), pad_id, np.int64)
    mask = np.zeros((count, max(filled)), np.int64)
    most = max(map(len, rows))
    places = [0] * len(ids)
    for row, texts in enumerate(rows):
        end = 0
        for k, text in enumerate(texts):
            start, end = end, end + lengths[text]
            input_ids[row, start:end] = ids[text]
            mask[row, start:end] = k + 1
            places[text] = row * most + k
    return input_ids, mask, places


def _encodable(text: str) -> str:
    # Lone surrogates (broken JSON escapes) cannot cross into Rust.
    return text.encode("utf-8", "replace").decode("utf-8")
