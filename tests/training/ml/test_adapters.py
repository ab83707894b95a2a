"""Low-rank adapters: where they sit, what merging keeps, what QLoRA needs."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.training.ml.makers import make_recipe, make_tiny_base
from training.ml import adapters
from training.ml import model as models
from training.ml.interface import TrainingError
from training.recipe import LORA_PARTS


@pytest.mark.parametrize(
    ("targets", "words"),
    [
        ("query,value", {"self.query", "self.value"}),
        ("output", {"attention.output.dense"}),
        ("up, down", {"intermediate.dense", "1.output.dense"}),
    ],
)
def test_only_what_the_recipe_names_is_adapted(
    base: Path, targets: str, words: set[str]
) -> None:
    recipe = make_recipe(lora_rank=2, lora_targets=targets, frozen_layers=1)
    model = models.load(base, 4, recipe)
    trained = {n for n, p in model.encoder.named_parameters() if p.requires_grad}
    places = {name.split(".lora_")[0] for name in trained}
    assert len(places) == len(words)
    assert all(place.startswith("encoder.layer.1.") for place in places)
    assert all(any(place.endswith(word) for place in places) for word in words)


def test_merged_adapters_answer_as_they_did(base: Path) -> None:
    recipe = make_recipe(lora_rank=2, lora_targets=",".join(LORA_PARTS))
    model = models.load(base, 4, recipe).eval()
    for name, parameter in model.encoder.named_parameters():
        if "lora_" in name:
            nn.init.normal_(parameter, std=0.3)
    ids = torch.randint(4, 20, (3, 7))
    mask = torch.ones_like(ids)
    with torch.inference_mode():
        before = model(ids, mask)
    adapters.merge(model.encoder)
    names = [name for name, _ in model.encoder.named_parameters()]
    assert not any("lora" in name or "base_layer" in name for name in names)
    with torch.inference_mode():
        after = model(ids, mask)
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


def test_broken_adapters_are_not_merged(base: Path) -> None:
    model = models.load(base, 4, make_recipe(lora_rank=2))
    for name, parameter in model.encoder.named_parameters():
        if "lora_B" in name:
            nn.init.constant_(parameter, float("nan"))
    with pytest.raises(TrainingError, match="no longer numbers"):
        adapters.merge(model.encoder)


@pytest.mark.parametrize(
    ("device", "installed", "words"),
    [
        ("cpu", False, "needs a CUDA GPU and the package bitsandbytes, which"),
        ("cpu", True, "needs a CUDA GPU, which"),
        ("mps", True, "needs a CUDA GPU, which"),
        ("cuda", False, "needs the package bitsandbytes, which"),
    ],
)
def test_quantised_training_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, device: str, installed: bool, words: str
) -> None:
    spec = importlib.util.find_spec("torch") if installed else None
    monkeypatch.setattr(adapters, "find_spec", lambda name: spec)
    with pytest.raises(TrainingError, match=words):
        adapters.four_bits(torch.device(device))


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_quantised_recipe_is_refused_without_a_gpu(base: Path) -> None:
    with pytest.raises(TrainingError, match="switch “quantised” off"):
        models.load(base, 4, make_recipe(lora_rank=2, quantised=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_quantised_training_learns(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    from tests.training.ml.test_loop import train

    base = make_tiny_base(tmp_path, width=64)
    recipe = make_recipe(lora_rank=4, encoder_lr=1e-2, quantised=True)
    result = train(base, tmp_path / "out", recipe=recipe)
    assert result.macro_f1 is not None
    assert result.macro_f1 > 0.8
