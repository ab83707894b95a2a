"""From a trained folder to ONNX: float32, and int8 if it answers alike."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from safetensors.torch import load_file

from registry.onnx.reading import Reading
from registry.onnx.session import (
    FLOAT32_FILE,
    INT8_FILE,
    LABELS_FILE,
    group_by_length,
    open_session,
)
from registry.onnx.tokens import TextEncoder, pad
from training.bases import MODEL_TYPES
from training.ml import classifier, graph, metrics, nodes
from training.ml.interface import ExportReport, Progress, TrainingError
from training.ml.model import HEAD_FILE
from training.ml.nodes import Weights

MIN_AGREEMENT = 0.98
"""Share of samples on which int8 must answer like float32."""

_STAGES = 4

MAX_SAMPLES = 256
"""Samples that the two models are compared on (about a second on two cores)."""


def export(
    folder: Path,
    out: Path,
    *,
    samples: Sequence[str],
    report: Callable[[Progress], None],
) -> ExportReport:
    """Write ``model.onnx`` and, if it agrees, ``model.int8.onnx`` to `out`.

    `out` then holds all that serving needs: the tokenizer and labels.json are copied.

    Args:
        folder: what `training.ml.loop.fit` wrote.
        out: made if missing; may be `folder` itself.
        samples: questions to compare the two models on; the first 256 are used.
        report: told the stages as phase ``export``; what it raises ends the export.

    Raises:
        TrainingError: the folder holds no model that can be exported.
    """
    started = time.monotonic()

    def stage(done: int) -> None:
        report(Progress(done, _STAGES, 0, 0.0, None, "export", None))

    stage(0)
    out.mkdir(parents=True, exist_ok=True)
    if out.resolve() != folder.resolve():
        for name in ("tokenizer.json", LABELS_FILE):
            shutil.copyfile(folder / name, out / name)
    config, weights, head = _read(folder)
    document = json.loads((out / LABELS_FILE).read_text("utf-8"))
    stage(1)
    exact = graph.bert(config, weights, head, None)
    _write(exact, out / FLOAT32_FILE)
    (out / INT8_FILE).unlink(missing_ok=True)
    stage(2)
    comparison, reason = _Comparison(0.0, 0.0), "int8 was not tried: no samples."
    if samples:
        encoder = TextEncoder(out, max_length=document["max_length"])
        feeds = _feeds(encoder, samples[:MAX_SAMPLES])
        expected, peaks = _observe(exact, feeds, graph.peak_names(config))
        stage(3)
        # From fast to careful: the first that agrees is kept.
        for int8 in (nodes.Int8(peaks), nodes.Int8(peaks, every_token=True)):
            _write(graph.bert(config, weights, head, int8), out / INT8_FILE)
            session = open_session(out / INT8_FILE, threads=_threads())
            got = np.concatenate([session.run(["logits"], feed)[0] for feed in feeds])
            comparison = _compare(expected, got, multi=document["multi"])
            if comparison.agreement >= MIN_AGREEMENT:
                break
        reason = (
            f"int8 gives float32's answer on {comparison.agreement:.1%} of"
            f" {len(expected)} samples"
        )
        if comparison.agreement >= MIN_AGREEMENT:
            reason += "."
        else:
            (out / INT8_FILE).unlink()
            reason += f", less than {MIN_AGREEMENT:.0%}: it was dropped."
    stage(_STAGES)
    kept = (out / INT8_FILE).exists()
    models = (FLOAT32_FILE, INT8_FILE) if kept else (FLOAT32_FILE,)
    return ExportReport(
        files=tuple(sorted(path.name for path in out.iterdir() if path.is_file())),
        served=models[-1],
        int8_kept=kept,
        agreement=comparison.agreement,
        max_probability_difference=comparison.max_probability_difference,
        reason=reason,
        seconds=time.monotonic() - started,
        sizes={name: (out / name).stat().st_size for name in models},
    )


@dataclass(frozen=True)
class _Comparison:
    agreement: float
    max_probability_difference: float


def _feeds(encoder: TextEncoder, samples: Sequence[str]) -> list[dict[str, Any]]:
    """Return the inputs of each run: samples of like length together."""
    ids = encoder.encode(samples).ids
    feeds = []
    for rows in group_by_length([len(one) for one in ids]):
        input_ids, mask = pad([ids[row] for row in rows], encoder.pad_id)  # (B, T)
        feeds.append({"input_ids": input_ids, "attention_mask": mask})
    return feeds


def _observe(
    model: onnx.ModelProto, feeds: Sequence[dict[str, Any]], names: Sequence[str]
) -> tuple[npt.NDArray[np.float32], Weights]:
    """Run a model and return its logits (N, C) and the peaks of some tensors (H,)."""
    watched = [onnx.ValueInfoProto(name=name) for name in names]
    model.graph.output.extend(watched)
    session = open_session(model.SerializeToString(), threads=_threads())
    del model.graph.output[1:]
    logits = []
    peaks: dict[str, npt.NDArray[np.float32]] = {}
    for feed in feeds:
        first, *hidden = session.run(["logits", *names], feed)
        logits.append(first)
        real = feed["attention_mask"].astype(bool)  # (B, T)
        for name, tensor in zip(names, hidden, strict=True):
            peak = np.abs(tensor[real]).max(axis=0)  # (H,)
            peaks[name] = np.maximum(peaks.get(name, 0.0), peak)
    return np.concatenate(logits), {n: torch.from_numpy(p) for n, p in peaks.items()}


def _compare(
    expected: npt.NDArray[np.float32], got: npt.NDArray[np.float32], *, multi: bool
) -> _Comparison:
    """Compare the logits (N, C) of two models."""
    wanted = metrics.answers(expected, multi=multi)
    given = metrics.answers(got, multi=multi)
    # Temperature and thresholds are found on what is exported here, and come later.
    reading = Reading(tuple(map(str, range(expected.shape[1]))), multi)
    apart = reading.probabilities(expected) - reading.probabilities(got)
    return _Comparison(metrics.accuracy(wanted, given), float(np.abs(apart).max()))


def _read(folder: Path) -> tuple[dict[str, Any], Weights, Weights]:
    if classifier.is_there(folder):
        return classifier.read(folder)
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        weights = load_file(folder / "model.safetensors")
        head = load_file(folder / HEAD_FILE)
    except Exception as error:  # safetensors raises its own classes
        raise TrainingError(f"The trained model cannot be read: {error}") from error
    if config["model_type"] not in MODEL_TYPES:
        raise TrainingError(
            f"Encoders of the type {config['model_type']} cannot be exported."
        )
    for name, tensor in weights.items():
        # Only the lookup of words may stay half as wide.
        if tensor.dtype != torch.float16 or "word_embeddings" not in name:
            weights[name] = tensor.float()
    return config, weights, head


def _write(model: onnx.ModelProto, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(model.SerializeToString())
    os.replace(temporary, path)


def _threads() -> int:
    return os.cpu_count() or 1
