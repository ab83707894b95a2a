"""An exported text encoder, opened and run with ONNX Runtime. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from registry.onnx.session import ArtifactError, group_by_length, open_session
from registry.onnx.tokens import TextEncoder, pad

MODEL_FILE = "encoder.int8.onnx"
TOKENIZER_FILE = "tokenizer.json"
CARD_FILE = "encoder.json"
"""{"dimensions": int, "max_length": tokens}"""
FILES = (CARD_FILE, MODEL_FILE, TOKENIZER_FILE)
POINTER_FILE = "current"
"""Beside the folders of encoders: the name of the one that is used."""


class OnnxEncoder:
    """An encoder opened from a folder; may be called from several threads."""

    def __init__(self, folder: Path, *, threads: int = 1) -> None:
        """Open the model (about a second for the default base).

        Args:
            folder: `MODEL_FILE`, `TOKENIZER_FILE` and `CARD_FILE`.
            threads: intra-op threads. One is best while anything else uses a core.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        try:
            card = json.loads((folder / CARD_FILE).read_text("utf-8"))
            self.dimensions = int(card["dimensions"])
            self._tokens = TextEncoder(folder, max_length=int(card["max_length"]))
            self._session = open_session(folder / MODEL_FILE, threads=threads)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"The encoder in “{folder}” cannot be read: {error}"
            ) from error
        columns = self._session.get_outputs()[0].shape[-1]
        if columns != self.dimensions:
            raise ArtifactError(
                f"{MODEL_FILE} answers {columns} values, {CARD_FILE} promises"
                f" {self.dimensions}"
            )

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 (N, D), rows of unit length in the order of `texts`.

        Texts of like length run together, at most 1,024 padded tokens at a time; what
        is longer than the model reads is cut.
        """
        ids = self._tokens.encode(texts).ids
        vectors = np.empty((len(texts), self.dimensions), np.float32)
        for rows in group_by_length([len(one) for one in ids]):
            input_ids, mask = pad([ids[row] for row in rows], self._tokens.pad_id)
            feeds = {"input_ids": input_ids, "attention_mask": mask}  # (B, T)
            vectors[rows] = self._session.run(["vectors"], feeds)[0]  # (B, D)
        return vectors


def digest(folder: Path) -> str:
    """Name an encoder by what its files hold: 16 hex digits (0.1 s for 130 MB).

    Raises:
        FileNotFoundError: one of `FILES` is missing.
    """
    total = hashlib.sha256()
    for name in FILES:
        with (folder / name).open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:16]
