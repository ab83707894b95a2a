"""The exported encoder agrees with PyTorch, and appears whole or not at all."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel

from registry.onnx.encoder import MODEL_FILE, OnnxEncoder, digest
from registry.onnx.tokens import TextEncoder, pad
from tests.training.ml.makers import make_tiny_base
from training.ml import encoder
from training.ml.model import mean_pool

TEXTS = ["clock in", "今天打卡", "show me the stock alert please", "库存", "?"]


@pytest.fixture
def build(base: Path, tmp_path: Path) -> Path:
    return encoder.build(f"path:{base}", tmp_path / "root", tmp_path / "cache")


def in_torch(base: Path, texts: list[str]) -> np.ndarray:
    """Mean-pooled float32 vectors of unit length (N, H), by transformers itself."""
    tokens = TextEncoder(base, max_length=32)
    ids, mask = map(torch.from_numpy, pad(tokens.encode(texts).ids, tokens.pad_id))
    model = AutoModel.from_pretrained(base, add_pooling_layer=False).eval()
    with torch.no_grad():
        pooled = mean_pool(model(ids, attention_mask=mask).last_hidden_state, mask)
    return torch.nn.functional.normalize(pooled, dim=1).numpy()


@pytest.mark.parametrize("kind", ["bert", "roberta"])
def test_vectors_are_those_of_the_base_model(tmp_path: Path, kind: str) -> None:
    base = make_tiny_base(tmp_path, kind=kind)
    folder = encoder.build(f"path:{base}", tmp_path / "root", tmp_path / "cache")
    ours, theirs = OnnxEncoder(folder).encode(TEXTS), in_torch(base, TEXTS)
    assert ours.dtype == np.float32
    assert ours.shape == theirs.shape == (len(TEXTS), 32)
    assert np.linalg.norm(ours, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert (ours * theirs).sum(axis=1).min() > 0.99


def test_the_folder_is_named_by_its_content_and_is_the_current_one(build: Path) -> None:
    assert build.name == digest(build)
    assert (build.parent / "current").read_text().strip() == build.name
    assert sorted(path.name for path in build.parent.iterdir()) == sorted(
        [build.name, "current"]
    )


def test_building_again_changes_nothing(
    build: Path, base: Path, tmp_path: Path
) -> None:
    before = (build / MODEL_FILE).stat().st_ino
    assert encoder.build(f"path:{base}", build.parent, tmp_path / "cache") == build
    assert (build / MODEL_FILE).stat().st_ino == before


def test_building_again_mends_damaged_files(
    build: Path, base: Path, tmp_path: Path
) -> None:
    (build / MODEL_FILE).write_bytes(b"damaged")
    assert encoder.build(f"path:{base}", build.parent, tmp_path / "cache") == build
    assert digest(build) == build.name


def test_a_failed_build_leaves_the_old_one_and_nothing_else(
    build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder, "MIN_COSINE", 1.1)  # no int8 is that near
    other = make_tiny_base(tmp_path, seed=1)
    with pytest.raises(ValueError, match="strays"):
        encoder.build(f"path:{other}", build.parent, tmp_path / "cache")
    assert (build.parent / "current").read_text().strip() == build.name
    assert len(list(build.parent.iterdir())) == 2


def test_what_a_killed_build_left_is_cleared(
    build: Path, base: Path, tmp_path: Path
) -> None:
    old, young = build.parent / ".making-old", build.parent / ".making-young"
    for left in (old, young):
        left.mkdir()
    os.utime(old, (time.time() - 7200,) * 2)
    encoder.build(f"path:{base}", build.parent, tmp_path / "cache")
    assert (old.exists(), young.exists()) == (False, True)
