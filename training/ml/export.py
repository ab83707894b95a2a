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

from registry.onnx.session import (
    FLOAT32_FILE,
    INT8_FILE,
    LABELS_FILE,
    OnnxClassifier,
    probabilities,
)
from training.ml import graph, metrics
from training.ml.graph import Array
from training.ml.interface import ExportReport, Progress, TrainingError
from training.ml.model import HEAD_FILE

MIN_AGREEMENT = 0.98
"""Share of samples on which int8 must answer like float32."""

MAX_SAMPLES = 256
"""Samples that the two models are compared on (about a second on two cores)."""

# From fast to careful; the first that agrees is kept.
_VARIANTS = (graph.Int8(per_channel=True), graph.Int8(per_channel=True, bits=7))


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
    stages = 2 + len(_VARIANTS)

    def stage(done: int) -> None:
        report(Progress(done, stages, 0, 0.0, None, "export", None))

    stage(0)
    out.mkdir(parents=True, exist_ok=True)
    for name in ("tokenizer.json", LABELS_FILE):
        if out.resolve() != folder.resolve():
            shutil.copyfile(folder / name, out / name)
    config, tensors, head = _read(folder)
    stage(1)
    _write(graph.bert(config, tensors, head, None), out / FLOAT32_FILE)
    (out / INT8_FILE).unlink(missing_ok=True)
    samples = list(samples[:MAX_SAMPLES])
    stage(2)
    if not samples:
        comparison = _Comparison(0.0, 0.0)
        reason = "int8 was not tried: there were no samples to compare it on."
    else:
        exact = OnnxClassifier(out, threads=_threads(), file_name=FLOAT32_FILE)
        expected = exact.logits(samples)  # (N, C)
        for done, variant in enumerate(_VARIANTS, start=3):
            _write(graph.bert(config, tensors, head, variant), out / INT8_FILE)
            small = OnnxClassifier(out, threads=_threads(), file_name=INT8_FILE)
            got = small.logits(samples)
            comparison = _compare(expected, got, multi=exact.multi)
            stage(done)
            if comparison.agreement >= MIN_AGREEMENT:
                break
        agrees = f"int8 gives float32's answer on {comparison.agreement:.1%}"
        if comparison.agreement >= MIN_AGREEMENT:
            reason = f"{agrees} of {len(samples)} samples."
        else:
            (out / INT8_FILE).unlink()
            reason = (
                f"int8 was dropped: {agrees} of {len(samples)} samples, less than"
                f" {MIN_AGREEMENT:.0%}."
            )
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


def _compare(
    expected: npt.NDArray[np.float32], got: npt.NDArray[np.float32], *, multi: bool
) -> _Comparison:
    """Compare the logits (N, C) of two models."""
    wanted = metrics.answers(expected, multi=multi)
    given = metrics.answers(got, multi=multi)
    apart = probabilities(expected, multi=multi) - probabilities(got, multi=multi)
    return _Comparison(metrics.accuracy(wanted, given), float(np.abs(apart).max()))


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Array], dict[str, Array]]:
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        tensors = _arrays(folder / "model.safetensors")
        head = _arrays(folder / HEAD_FILE)
    except Exception as error:  # safetensors raises its own classes
        raise TrainingError(f"The trained model cannot be read: {error}") from error
    kind, activation = config["model_type"], config.get("hidden_act", "gelu")
    if kind not in graph.MODEL_TYPES or activation not in graph.ACTIVATIONS:
        raise TrainingError(
            f"Encoders of the type {kind} with {activation} cannot be exported"
            f" (known: {', '.join(sorted(graph.MODEL_TYPES))})."
        )
    return config, tensors, head


def _arrays(path: Path) -> dict[str, Array]:
    arrays = {}
    for name, tensor in load_file(path).items():
        # numpy has no bfloat16.
        exact = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
        arrays[name] = exact.numpy()
    return arrays


def _write(model: onnx.ModelProto, path: Path) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_bytes(model.SerializeToString())
    os.replace(temporary, path)


def _threads() -> int:
    return os.cpu_count() or 1
