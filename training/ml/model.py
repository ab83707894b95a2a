"""The classifier: an encoder, mean pooling, dropout and a linear head."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from training.bases import MODEL_TYPES
from training.ml import adapters
from training.ml.interface import TrainingError
from training.recipe import Recipe

HEAD_FILE = "head.safetensors"
LABELS_FILE = "labels.json"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Parent:
    """What an earlier version knows about its head."""

    labels: list[str]
    weight: torch.Tensor
    """(C, H)"""
    bias: torch.Tensor
    """(C,)"""


class IntentModel(nn.Module):
    """An encoder with a classification head.

    The first `frozen` layers never change, so their output can be computed once:
    `lower` runs them, `upper` the rest; `forward` runs both.
    """

    def __init__(
        self, encoder: PreTrainedModel, classes: int, *, frozen: int, dropout: float
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.layers = encoder.encoder.layer
        self.frozen = frozen
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(encoder.config.hidden_size, classes)

    def train(self, mode: bool = True) -> IntentModel:
        """Switch dropout on or off; frozen layers never drop anything."""
        super().train(mode)
        if self.frozen:
            self.encoder.embeddings.eval()
            self.layers[: self.frozen].eval()
        return self

    def lower(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the embeddings and the frozen layers: (B, T) to (B, T, H)."""
        hidden = self.encoder.embeddings(input_ids=ids)
        return self._run(self.layers[: self.frozen], hidden, mask)

    def upper(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Run the other layers and pool: (B, T, H) to features (B, H)."""
        return mean_pool(self._run(self.layers[self.frozen :], hidden, mask), mask)

    def _run(
        self, layers: nn.ModuleList, hidden: torch.Tensor, mask: torch.Tensor
    ) -> torch.Tensor:
        # Without padding no mask is needed, and attention is faster.
        attend = None if bool(mask.all()) else mask[:, None, None, :].bool()
        for layer in layers:
            hidden = layer(hidden, attend)  # (B, T, H)
        return hidden

    def features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return pooled features (B, H) of token ids (B, T)."""
        return self.upper(self.lower(ids, mask), mask)

    def classify(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) of features (B, H)."""
        return self.head(self.dropout(features))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Return logits (B, C) of token ids (B, T)."""
        return self.classify(self.features(ids, mask))


def mean_pool(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Average the real tokens: (B, T, H) and mask (B, T) to (B, H), float32."""
    weight = mask.unsqueeze(-1).to(torch.float32)  # (B, T, 1)
    return (hidden.float() * weight).sum(dim=1) / weight.sum(dim=1).clamp(min=1.0)


def load(
    folder: Path,
    classes: int,
    recipe: Recipe,
    device: torch.device = CPU,
) -> IntentModel:
    """Load an encoder and say which of its weights train; the head is random.

    Args:
        folder: a base model's or a version's folder.
        classes: intents of the head.
        recipe: its frozen layers, adapters and dropout.
        device: where the model goes.

    Raises:
        TrainingError: the encoder cannot be loaded or cannot take adapters.
    """
    transformers_logging.disable_progress_bar()
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type not in MODEL_TYPES:
        raise TrainingError(f"Encoders of the type {config.model_type} cannot train.")
    quantisation: dict[str, Any] = {}
    if recipe.quantised:
        quantisation = {
            "quantization_config": adapters.four_bits(device),
            "device_map": {"": device},
        }
    try:
        encoder = AutoModel.from_pretrained(
            folder,
            local_files_only=True,
            dtype=torch.float32,
            attn_implementation="sdpa",
            # Checkpoints' poolers are not used; a missing one would be random.
            add_pooling_layer=False,
            **quantisation,
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise TrainingError(f"The encoder cannot be loaded: {error}") from error
    frozen = recipe.frozen_count(config.num_hidden_layers)
    model = IntentModel(encoder, classes, frozen=frozen, dropout=recipe.dropout)
    nn.init.normal_(model.head.weight, std=0.02)
    nn.init.zeros_(model.head.bias)
    if recipe.lora_rank:
        adapters.add(encoder, recipe, frozen=frozen, layers=len(model.layers))
    else:
        _freeze(model, recipe)
    return model.to(device)


def read_parent(folder: Path) -> Parent:
    """Read an earlier version's labels and head.

    Raises:
        TrainingError: the folder holds no trained version, or a damaged one.
    """
    if (folder / LABELS_FILE).is_file() and not (folder / HEAD_FILE).is_file():
        raise TrainingError(
            "The version to go on from was imported: its head reads the first token,"
            " not the mean. Train a first version instead; its folder can be the base"
            " model."
        )
    try:
        labels = json.loads((folder / LABELS_FILE).read_text("utf-8"))["labels"]
        head = load_file(folder / HEAD_FILE)
        weight, bias = head["weight"], head["bias"]
    except Exception as error:  # safetensors raises its own classes
        raise TrainingError(
            f"The version to go on from cannot be read: {error}"
        ) from error
    if weight.shape[0] != len(labels) or bias.shape != (len(labels),):
        raise TrainingError("The version to go on from has a damaged head.")
    return Parent(list(labels), weight, bias)


def init_head(
    model: IntentModel,
    labels: Sequence[str],
    means: torch.Tensor,
    parent: Parent | None,
    *,
    fresh: bool = False,
) -> None:
    """Start the head: rows of known intents are kept, new ones imprinted.

    A new row points from the mean of all features to the mean of its intent's; a row
    for which there is no example yet stays zero. Its length is the mean length of the
    known rows (or such that intents start about e times as likely as the mean), and
    its bias makes it as likely as the average intent for an average question.

    Args:
        model: its head is overwritten in place.
        labels: intents in the order of the head's rows.
        means: mean features of each intent (C, H); NaN rows where there is none.
        parent: an earlier version, whose rows are kept by name.
        fresh: leave new rows small and random, as `load` made them, with zero bias.

    Source: Qi, Brown and Lowe 2018, "Low-Shot Learning with Imprinted Weights".
    """
    known = {label: row for row, label in enumerate(parent.labels)} if parent else {}
    seen = ~means.isnan().any(dim=1)  # (C,)
    centre = means[seen].mean(dim=0)  # (H,)
    direction = torch.nan_to_num(means - centre)  # (C, H)
    spread = direction.norm(dim=1)  # (C,)
    if parent is not None:
        length = parent.weight.norm(dim=1).mean()
        level = (parent.weight @ centre + parent.bias).mean()
    else:
        length = 4.0 / spread[seen].mean().clamp(min=1e-6)
        level = torch.zeros(())
    rows = direction / spread.clamp(min=1e-6).unsqueeze(1) * length
    bias = level - rows @ centre
    if fresh:
        rows = model.head.weight.detach().cpu().clone()
        bias = torch.zeros_like(bias)
    for row, label in enumerate(labels):
        if parent is not None and label in known:
            rows[row] = parent.weight[known[label]]
            bias[row] = parent.bias[known[label]]
    with torch.no_grad():
        model.head.weight.copy_(rows)
        model.head.bias.copy_(bias)


def save(
    model: IntentModel,
    folder: Path,
    *,
    source: Path,
    labels: Sequence[str],
    multi: bool,
    max_length: int,
) -> None:
    """Write the model as a Hugging Face folder with its head and labels.

    Weights that did not train keep the precision they were stored in.

    Args:
        model: on the CPU, adapters merged.
        folder: made if missing.
        source: the folder it was loaded from (its tokenizer is copied).
        labels: intents in the order of the head's rows.
        multi: whether a question may have several intents.
        max_length: tokens that are read of a question.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stored = _stored_dtypes(source / "model.safetensors")
    tensors: dict[str, torch.Tensor] = {}
    for name, parameter in model.encoder.named_parameters():
        tensor = parameter.detach()
        if not parameter.requires_grad and stored.get(name) == "F16":
            tensor = tensor.half()
        tensors[name] = tensor.contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    head = {"weight": model.head.weight.detach(), "bias": model.head.bias.detach()}
    save_file(head, folder / HEAD_FILE)
    config = json.loads((source / "config.json").read_text("utf-8"))
    _write_json(folder / "config.json", config)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)
    _write_json(
        folder / LABELS_FILE,
        {"labels": list(labels), "multi": multi, "max_length": max_length},
    )


def position_limit(folder: Path) -> int:
    """Return the longest input of an encoder in tokens, from its config.json."""
    config = json.loads((folder / "config.json").read_text("utf-8"))
    positions = int(config.get("max_position_embeddings", 512))
    # RoBERTa's table starts behind the padding index.
    offset = config.get("pad_token_id", 1) + 1
    return positions - offset if "roberta" in config["model_type"] else positions


def _freeze(model: IntentModel, recipe: Recipe) -> None:
    if recipe.encoder_lr == 0.0:
        model.encoder.requires_grad_(False)
        return
    embeddings = model.encoder.get_input_embeddings()
    if recipe.freeze_embeddings:
        embeddings.requires_grad_(False)
    if model.frozen:
        # What is below a frozen layer stays as well.
        model.encoder.embeddings.requires_grad_(False)
        model.layers[: model.frozen].requires_grad_(False)


def _stored_dtypes(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return {name: file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 (no mapping)


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, ensure_ascii=False, indent=2) + "\n", "utf-8")
