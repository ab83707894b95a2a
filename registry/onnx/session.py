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

from registry.onnx.tokens import TextEncoder, Tokens, pack, pad

FLOAT32_FILE = "model.onnx"
INT8_FILE = "model.int8.onnx"
LABELS_FILE = "labels.json"

PACKS = "packs"
"""Metadata of a model that takes several texts in a row: see `training.ml.graph`."""

_BATCH_TOKENS = 1024
"""Tokens of one run, padding included: larger batches gain nothing on a CPU."""

_ROW_TOKENS = 48
"""Of a row of several texts. Longer rows are slower, as each token looks at the whole
row; shorter ones hold more padding."""


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
            self._model = TokenModel(
                folder / file_name, pad_id=self._encoder.pad_id, threads=threads
            )
        except (OSError, ValueError) as error:
            raise ArtifactError(str(error)) from error
        if self._model.columns != len(self.labels):
            raise ArtifactError(
                f"{file_name} answers {self._model.columns} intents, {LABELS_FILE}"
                f" names {len(self.labels)}"
            )

    def logits(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Return float32 (N, C), unnormalised."""
        return self.answer(texts).logits

    def was_cut(self, text: str) -> bool:
        """Return whether `text` is longer than what the model reads."""
        return self._encoder.encode([text]).was_cut[0]

    def answer(self, texts: Sequence[str]) -> Answers:
        """Run the model, in the given order."""
        tokens = self.tokenise(texts)
        return Answers(self.run(tokens.ids), tokens.was_cut)

    def tokenise(self, texts: Sequence[str]) -> Tokens:
        """What `run` reads; about 0.03 ms a text."""
        return self._encoder.encode(texts)

    def tokens_of(self, text: str) -> int:
        """About how many tokens a text has: for dividing work, without tokenising."""
        return min(self.max_length, 2 + len(text.encode(errors="replace")) // 3)

    def run(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Return float32 (N, C), unnormalised, of tokenised texts."""
        return self._model(ids)


class TokenModel:
    """An open model with a row of output a text; may be called from several threads."""

    def __init__(self, model: Path, *, pad_id: int, threads: int) -> None:
        """Open the model.

        Args:
            model: takes ``input_ids`` and ``attention_mask``, and has one output.
            pad_id: the token that fills rows.
            threads: intra-op threads.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is no model that can be run.
        """
        self._session = open_session(model, threads=threads)
        self._pad_id = pad_id
        output = self._session.get_outputs()[0]
        self._outputs = [output.name]
        self.columns: int = output.shape[-1]
        metadata = self._session.get_modelmeta().custom_metadata_map
        self._packs = PACKS in metadata

    def __call__(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        """Return float32 (N, columns) of tokenised texts, in their order.

        Texts of like length run together. Where the model takes several texts in a row,
        short ones of any length do; that saves a quarter of the time and more.
        """
        if len(ids) == 1:
            alone = np.array(ids, np.int64)
            return self._feed(alone, np.ones_like(alone))
        lengths = [len(one) for one in ids]
        if not self._packs:
            groups = group_by_length(lengths)
        else:
            groups = group_for_rows(lengths)
            if len(groups) == 1:
                return self._run_packed(ids)
        rows = np.empty((len(ids), self.columns), np.float32)
        for group in groups:
            own = [ids[row] for row in group]
            rows[group] = self._run_packed(own) if self._packs else self._run(own)
        return rows

    def _run(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        return self._feed(*pad(ids, self._pad_id))

    def _run_packed(self, ids: Sequence[Sequence[int]]) -> npt.NDArray[np.float32]:
        longest = max(map(len, ids))
        input_ids, mask, places = pack(
            ids, self._pad_id, width=max(longest, _ROW_TOKENS)
        )
        return self._feed(input_ids, mask)[places]

    def _feed(
        self, input_ids: npt.NDArray[np.int64], mask: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float32]:
        feeds = {"input_ids": input_ids, "attention_mask": mask}
        answered: npt.NDArray[np.float32] = self._session.run(self._outputs, feeds)[0]
        return answered


def group_for_rows(lengths: Sequence[int]) -> list[list[int]]:
    """Split texts into batches whose rows may hold several, 1,024 tokens at most each.

    Short ones run together whatever their length. Of longer ones those of like length
    do: in a row with a long text a short one would cost as much as it.
    """
    order = sorted(range(len(lengths)), key=lengths.__getitem__)
    batches: list[list[int]] = []
    room = 0
    long: list[int] = []
    for text in order:
        length = lengths[text]
        if length > _ROW_TOKENS:
            long.append(text)
            continue
        if length > room:
            batches.append([])
            room = _BATCH_TOKENS
        batches[-1].append(text)
        room -= length
    alike = group_by_length([lengths[text] for text in long])
    return batches + [[long[i] for i in batch] for batch in alike]


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
