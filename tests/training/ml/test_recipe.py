"""Recipes: what they allow, how they are read, how many steps they take."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from training.recipe import CHOICES, PRESETS, Recipe


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"epochs": 1.5}, "epochs must be int"),
        ({"epochs": True}, "epochs must be int"),
        ({"head_lr": 0.0}, "head_lr must be above 0"),
        ({"encoder_lr": 2.0}, "encoder_lr must be at least 0 and below 1"),
        ({"encoder_lr": float("nan")}, "NaN"),
        ({"warmup_fraction": 1.0}, "warmup_fraction"),
        ({"dropout": -0.1}, "dropout must be at least 0"),
        ({"frozen_layers": -1}, "must not be negative"),
        ({"frozen_layers": 1.5}, "whole number of layers or a share"),
        ({"min_steps": 9, "max_steps": 8}, r"max_steps \(8\) is below"),
        ({"checkpoint_every_s": 0.0}, "checkpoint_every_s"),
        ({"gradient_accumulation": 0}, "gradient_accumulation must be at least 1"),
        ({"gradient_accumulation": 9, "batch_size": 8}, r"\(9\) is above batch_size"),
        ({"class_balance": "both"}, "one of none, weights, sampling, not 'both'"),
        ({"precision": "fp16"}, "precision must be one of auto, float32, bf16"),
        ({"precision": 16}, "precision must be str"),
        ({"replay_order": "newest"}, "replay_order must be one of stratified"),
        ({"new_rows": "zero"}, "new_rows must be one of imprinted, fresh"),
        ({"lora_targets": "query,pooler"}, "lora_targets must be some of query"),
        ({"lora_targets": " , "}, "lora_targets must be some of query"),
        ({"quantised": True}, "set lora_rank above 0"),
        ({"contrastive_weight": 1.0, "class_balance": "sampling"}, "of its own"),
        ({"contrastive_weight": -0.1}, "contrastive_weight must be at least 0"),
        ({"contrastive_temperature": 0.0}, "contrastive_temperature must be above 0"),
        ({"colour": 1}, "unknown recipe field: colour"),
    ],
)
def test_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe.from_dict(values)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_come_back_from_json(name: str) -> None:
    stored = json.loads(json.dumps(PRESETS[name].to_dict()))
    assert Recipe.from_dict(stored) == PRESETS[name]


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("epochs", "3", 3),
        ("encoder_lr", "5e-6", 5e-6),
        ("encoder_lr", "0", 0.0),
        ("freeze_embeddings", "No", False),
        ("freeze_embeddings", "true", True),
        ("frozen_layers", "8", 8),
        ("frozen_layers", "0.5", 0.5),
        ("frozen_layers", "none", None),
        ("class_balance", "None", "none"),
        ("class_balance", " weights ", "weights"),
        ("precision", "BF16", "bf16"),
        ("lora_targets", "Query, up", "query, up"),
    ],
)
def test_overrides(field: str, text: str, value: object) -> None:
    changed = getattr(PRESETS["first"].with_overrides({field: text}), field)
    assert changed == value
    assert type(changed) is type(value)


def test_adapters_are_named_once() -> None:
    assert Recipe(lora_targets="up, query,up").lora_parts == ("up", "query")


def test_every_field_of_text_has_its_choices() -> None:
    texts = {f.name for f in fields(Recipe) if isinstance(f.default, str)}
    assert texts == {*CHOICES, "lora_targets"}
    for name, choices in CHOICES.items():
        assert getattr(Recipe(), name) == choices[0]


@pytest.mark.parametrize(
    ("field", "text", "words"),
    [
        ("epochs", "many", "epochs must be a whole number, not 'many'"),
        ("epochs", "2.5", "epochs must be a whole number"),
        ("dropout", "", "dropout must be a number"),
        ("freeze_embeddings", "perhaps", "must be true or false"),
        ("epoch", "3", "unknown recipe field: epoch"),
        ("epochs", "0", "at least 1"),
    ],
)
def test_bad_overrides(field: str, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Recipe().with_overrides({field: text})


@pytest.mark.parametrize(
    ("frozen", "layers", "count"),
    [
        (None, 12, 0),
        (0, 12, 0),
        (2 / 3, 12, 8),
        (2 / 3, 6, 4),
        (2 / 3, 2, 1),
        (1.0, 12, 12),
        (8, 12, 8),
        (8, 6, 6),
    ],
)
def test_frozen_layers(frozen: float | None, layers: int, count: int) -> None:
    assert Recipe(frozen_layers=frozen).frozen_count(layers) == count


@pytest.mark.parametrize(
    ("values", "rows", "steps"),
    [
        ({"epochs": 4, "batch_size": 32}, 1000, 128),
        ({"epochs": 4, "batch_size": 32, "min_steps": 80}, 100, 80),
        ({"epochs": 4, "batch_size": 32, "min_steps": 80}, 15_000, 1876),
        ({"epochs": 4, "batch_size": 32, "min_steps": 160, "max_passes": 20}, 100, 80),
        (
            {"epochs": 4, "batch_size": 32, "min_steps": 160, "max_passes": 20},
            1050,
            160,
        ),
        ({"epochs": 4, "batch_size": 32, "min_steps": 160, "max_passes": 2}, 100, 16),
        ({"epochs": 4, "batch_size": 32, "max_steps": 500}, 15_000, 500),
    ],
)
def test_steps(values: dict[str, Any], rows: int, steps: int) -> None:
    assert Recipe.from_dict(values).total_steps(rows) == steps


def test_needs_no_torch() -> None:
    code = (
        "import sys, training.recipe, training.bases, training.ml.interface;"
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[3]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
