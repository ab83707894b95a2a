"""The export: the same answers from ONNX as from torch, and int8 only if it agrees."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from registry.onnx.session import OnnxClassifier
from registry.onnx.tokens import TextEncoder, pad
from tests.training.ml.makers import make_examples, make_recipe, make_tiny_base
from training.bases import check
from training.ml import export as exporting
from training.ml import model as models
from training.ml import nodes
from training.ml.interface import Progress, TrainingError
from training.ml.loop import fit

TOPICS = ("attendance", "stock", "payment", "shipping")
TEXTS = [example.text for example in make_examples(40, seed=5)] + [
    "库存 预警 " * 20,
    "x",
]


def make_trained(base: Path, out: Path) -> Path:
    """Train a tiny version and return its folder."""
    fit(
        train=make_examples(64),
        validation=(),
        labels=TOPICS,
        multi=False,
        base=base,
        parent=None,
        recipe=make_recipe(),
        out=out,
        checkpoints=None,
        report=lambda progress: None,
    )
    return out


@pytest.fixture
def trained(base: Path, tmp_path: Path) -> Path:
    """A trained version's folder."""
    return make_trained(base, tmp_path / "trained")


def torch_logits(folder: Path, texts: list[str]) -> np.ndarray:
    model = models.load(folder, len(TOPICS), make_recipe())
    model.head.load_state_dict(load_file(folder / "head.safetensors"))
    model.eval()
    encoder = TextEncoder(folder, max_length=32)
    rows = []
    for ids in encoder.encode(texts).ids:
        tokens, mask = pad([ids], encoder.pad_id)
        with torch.inference_mode():
            rows.append(model(torch.from_numpy(tokens), torch.from_numpy(mask))[0])
    return torch.stack(rows).numpy()


def test_float32_answers_like_torch(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "served"
    result = exporting.export(trained, out, samples=TEXTS, report=lambda p: None)
    served = OnnxClassifier(out, file_name="model.onnx").logits(TEXTS)
    np.testing.assert_allclose(served, torch_logits(trained, TEXTS), atol=1e-3)
    assert result.int8_kept
    assert result.served == "model.int8.onnx"
    assert set(result.files) == {
        "labels.json",
        "model.int8.onnx",
        "model.onnx",
        "tokenizer.json",
    }
    small = OnnxClassifier(out)
    assert small.file_name == "model.int8.onnx"
    assert result.agreement == np.mean(
        small.logits(TEXTS).argmax(1) == served.argmax(1)
    )


@pytest.mark.parametrize("kind", ["roberta", "xlm-roberta"])
def test_other_encoders(tmp_path: Path, kind: str) -> None:
    """Positions start behind the padding index there, and other settings differ."""
    base = make_tiny_base(tmp_path, kind=kind, hidden_act="relu", type_vocab_size=1)
    check(f"path:{base}", tmp_path)
    trained = make_trained(base, tmp_path / "trained")
    out = tmp_path / "served"
    exporting.export(trained, out, samples=TEXTS, report=lambda p: None)
    served = OnnxClassifier(out, file_name="model.onnx").logits(TEXTS)
    np.testing.assert_allclose(served, torch_logits(trained, TEXTS), atol=1e-3)


def test_int8_is_dropped_when_it_disagrees(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two bits a weight are too few for anything.
    coarse = functools.partial(nodes.Int8, bits=2)
    monkeypatch.setattr(nodes, "Int8", coarse)
    out = tmp_path / "served"
    result = exporting.export(trained, out, samples=TEXTS, report=lambda p: None)
    assert not result.int8_kept
    assert result.agreement < 0.98
    assert "dropped" in result.reason
    assert not (out / "model.int8.onnx").exists()
    assert OnnxClassifier(out).file_name == "model.onnx"


def test_without_samples_only_float32_is_written(trained: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    result = exporting.export(trained, tmp_path / "o", samples=[], report=seen.append)
    assert not result.int8_kept
    assert "no samples" in result.reason
    assert {progress.phase for progress in seen} == {"export"}


def test_a_damaged_folder_is_refused(trained: Path, tmp_path: Path) -> None:
    path = trained / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(TrainingError, match="cannot be read"):
        exporting.export(trained, tmp_path / "o", samples=[], report=lambda p: None)


def test_an_unknown_encoder_is_refused(trained: Path, tmp_path: Path) -> None:
    path = trained / "config.json"
    config = json.loads(path.read_text("utf-8"))
    path.write_text(json.dumps({**config, "model_type": "gpt2"}), "utf-8")
    with pytest.raises(TrainingError, match="gpt2"):
        exporting.export(trained, tmp_path / "o", samples=[], report=lambda p: None)
