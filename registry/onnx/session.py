"""An exported classifier, opened and run with ONNX Runtime. No torch."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from registry.onnx.tokens import TextEncoder, pad

FLOAT32_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
LABELS_FILE = "labels.json"

_BATCH_TOKENS = 1024
"""Padded tokens of one run: larger batches gain nothing on a CPU."""


class ArtifactError(Exception):
    """A folder that holds no classifier that could be served."""


@dataclass(frozen=True)
class Answers:
    """What the model says about some texts."""

    logits: npt.NDArray[np.float32]
    """(N, C), unnormalised; the columns stand in the order of `labels`."""

    was_cut: list[bool]
    """Whether a text was longer than what the model reads."""


class OnnxClassifier:
    """A classifier opened from a folder; may be called from several threads."""

    def __init__(
        self, folder: Path, *, threads: int = 1, file_name: str | None = None
    ) -> None:
        """Open the int8 model if there is one, else the float32 one (0.5 to 2 s).

        Args:
            folder: labels.json, tokenizer.json and model.int8.onnx or model.onnx.
            threads: intra-op threads. One is best while anything else uses a core.
            file_name: open exactly this model file instead.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        document = _read_labels(folder)
        self.labels: list[str] = document["labels"]
        self.multi: bool = document["multi"]
        self.max_length: int = document["max_length"]
        if file_name is None:
            has_int8 = (folder / INT8_FILE).is_file()
            file_name = INT8_FILE if has_int8 else FLOAT32_FILE
        self.file_name = file_name
        try:
            self._encoder = TextEncoder(folder, max_length=self.max_length)
            self._session = open_session(folder / file_name, threads=threads)
        except (OSError, ValueError) as error:
            raise ArtifactError(str(error)) from error
        columns = self._session.get_outputs()[0].shape[-1]
        if columns != len(self.labels):
            raise ArtifactError(
                f"{file_name} answers {columns} intents, {LABELS_FILE} names"
                f" {len(self.labels)}"
            )

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 (N, C), unnormalised."""
        return self.answer(texts).logits

    def was_cut(self, text: str) -> bool:
        """Return whether `text` is longer than what the model reads."""
        return self._encoder.encode([text]).was_cut[0]

    def answer(self, texts: Sequence[str]) -> Answers:
        """Run the model, texts of like length together, in the given order."""
        tokens = self._encoder.encode(texts)
        logits = np.empty((len(texts), len(self.labels)), np.float32)
        for rows in group_by_length([len(ids) for ids in tokens.ids]):
            input_ids, mask = pad(
                [tokens.ids[row] for row in rows], self._encoder.pad_id
            )
            feeds = {"input_ids": input_ids, "attention_mask": mask}  # (B, T)
            logits[rows] = self._session.run(["logits"], feeds)[0]  # (B, C)
        return Answers(logits, tokens.was_cut)


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Split rows into batches of like length, at most 1,024 padded tokens each.

    A batch's longest row is at most a quarter longer than its shortest (or 4 tokens),
    so that little is computed for padding.
    """
    batches: list[list[int]] = []
    shortest = 0
    for row in sorted(range(len(lengths)), key=lengths.__getitem__):
        length = lengths[row]
        batch = batches[-1] if batches else []
        fits = (len(batch) + 1) * length <= _BATCH_TOKENS
        alike = length <= max(shortest + 4, shortest * 5 // 4)
        if batch and fits and alike:
            batch.append(row)
        else:
            batches.append([row])
            shortest = length
    return batches


def _read_labels(folder: Path) -> dict[str, Any]:
    path = folder / LABELS_FILE
    try:
        document = json.loads(path.read_text("utf-8"))
        labels = [str(label) for label in document["labels"]]
        return {
            "labels": labels,
            "multi": bool(document["multi"]),
            "max_length": int(document["max_length"]),
        }
    except FileNotFoundError:
        raise ArtifactError(f"“{folder}” has no {LABELS_FILE}") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ArtifactError(f"{LABELS_FILE} cannot be read: {error!r}") from error


def open_session(model: Path | bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """Open an ONNX model on the CPU.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is no model that can be run.
    """
    name = "the model"
    if isinstance(model, Path):
        name = model.name
        if not model.is_file():
            raise FileNotFoundError(f"“{model.parent}” has no {name}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Idle threads would spin on a core that other requests need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # The graph is written as it should run: the extended fusions would merge additions
    # into a slower normalisation.
    options.graph_optimization_level = (
        onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    )
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(
            model if isinstance(model, bytes) else str(model),
            options,
            providers=["CPUExecutionProvider"],
        )
    except Exception as error:  # onnxruntime's own classes share no base
        raise ValueError(f"{name} cannot be opened: {error}") from error
