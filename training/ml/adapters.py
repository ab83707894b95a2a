"""Low-rank adapters on an encoder's layers, with 4-bit weights below them (QLoRA)."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model
from peft.tuners.lora import LoraLayer
from torch import nn
from transformers import BitsAndBytesConfig

from training.ml.interface import TrainingError
from training.recipe import Recipe

_PLACES = {
    "query": "attention.self.query",
    "key": "attention.self.key",
    "value": "attention.self.value",
    "output": "attention.output.dense",
    "up": "intermediate.dense",
    "down": "output.dense",
}
"""Where a layer has each of `training.recipe.LORA_PARTS`."""

_NAME = "default"


def add(encoder: nn.Module, recipe: Recipe, *, frozen: int, layers: int) -> None:
    """Give the layers above the frozen ones adapters; only these train.

    Args:
        encoder: changed in place.
        recipe: its adapters' rank, scale, dropout and places.
        frozen: layers without adapters, counted from the input.
        layers: layers of the encoder.

    Raises:
        TrainingError: all layers are frozen.
    """
    names = [
        f"encoder.layer.{layer}.{_PLACES[part]}"
        for layer in range(frozen, layers)
        for part in recipe.lora_parts
    ]
    if not names:
        raise TrainingError("All layers are frozen: nothing is left for the adapters.")
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=names,
        bias="none",
    )
    encoder.requires_grad_(False)
    inject_adapter_in_model(config, encoder, adapter_name=_NAME)


def merge(encoder: nn.Module) -> None:
    """Fold adapters into the weights they adapt, in place; 4-bit weights become wide.

    The result answers as the encoder did: 4-bit weights are taken as they were read in
    training, not as they were before.

    Raises:
        TrainingError: an adapter's weights are no longer numbers.
    """
    for name, module in list(encoder.named_modules()):
        if isinstance(module, LoraLayer):
            linear = _wide(module.get_base_layer())
            with torch.no_grad():
                linear.weight += module.get_delta_weight(_NAME)
            if not bool(linear.weight.isfinite().all()):
                raise TrainingError(
                    "The adapters are no longer numbers: lower the learning rate"
                    " (encoder_lr)."
                )
            _replace(encoder, name, linear)
    for name, module in list(encoder.named_modules()):
        if isinstance(module, nn.Linear) and hasattr(module.weight, "quant_state"):
            _replace(encoder, name, _wide(module))


def four_bits(device: torch.device) -> BitsAndBytesConfig:
    """Return how an encoder is loaded for QLoRA.

    Raises:
        TrainingError: this machine cannot.

    Source: Dettmers et al. 2023, "QLoRA: Efficient Finetuning of Quantized LLMs".
    """
    missing = []
    if device.type != "cuda":
        missing.append("a CUDA GPU")
    if find_spec("bitsandbytes") is None:
        missing.append("the package bitsandbytes")
    if missing:
        raise TrainingError(
            f"Quantised training needs {' and '.join(missing)}, which this machine does"
            " not have: switch “quantised” off to train the same adapters on full"
            " weights."
        )
    knows_bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16 if knows_bf16 else torch.float32,
    )


def _wide(linear: Any) -> nn.Linear:
    """Return a linear layer with float32 weights, which count as changed."""
    if hasattr(linear.weight, "quant_state"):
        from bitsandbytes.functional import (  # type: ignore[import-not-found]
            dequantize_4bit,
        )

        plain = nn.Linear(linear.in_features, linear.out_features, bias=False)
        weight = dequantize_4bit(linear.weight.data, linear.weight.quant_state)
        plain.weight = nn.Parameter(weight.float())
        plain.bias = linear.bias
        linear = plain
    # What does not train may be written in half precision: this may not.
    linear.requires_grad_(True)
    return linear


def _replace(encoder: nn.Module, name: str, linear: nn.Linear) -> None:
    parent, _, leaf = name.rpartition(".")
    setattr(encoder.get_submodule(parent), leaf, linear)
