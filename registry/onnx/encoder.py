"""An exported text encoder, opened and run with ONNX Runtime. No torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from registry.onnx.session import ArtifactError, TokenModel
from registry.onnx.tokens import TextEncoder

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
            self._model = TokenModel(
                folder / MODEL_FILE, pad_id=self._tokens.pad_id, threads=threads
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"The encoder in “{folder}” cannot be read: {error}"
            ) from error
        columns = self._model.columns
        if columns != self.dimensions:
            raise ArtifactError(
                f"{MODEL_FILE} answers {columns} values, {CARD_FILE} promises"
                f" {self.dimensions}"
            )

    def encode(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 (N, D), rows of unit length in the order of `texts`.

        See `TokenModel`; what is longer than the model reads is cut.
        """
        return self._model(self._tokens.encode(texts).ids)


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
