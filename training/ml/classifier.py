"""Hugging Face's own classifiers: an encoder, a dense layer on the first token, a head.

Read by their names of weights and handed on by those of a BERT encoder, so that one
graph serves them all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from training.ml.interface import TrainingError
from training.ml.model import HEAD_FILE
from training.ml.nodes import Weights


@dataclass(frozen=True)
class Kind:
    """Where a model type keeps its weights."""

    prefix: str
    """Of the encoder's names."""
    dense: str
    """The layer on the first token."""
    out: str
    """The layer that answers."""
    activation: str
    """Between the two."""


_ROBERTA = Kind("roberta.", "classifier.dense", "classifier.out_proj", "tanh")
KINDS = {
    "bert": Kind("bert.", "bert.pooler.dense", "classifier", "tanh"),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
    "distilbert": Kind("distilbert.", "pre_classifier", "classifier", "relu"),
}
"""By `model_type`."""

_DISTILBERT = {
    "transformer.layer.": "encoder.layer.",
    "attention.q_lin": "attention.self.query",
    "attention.k_lin": "attention.self.key",
    "attention.v_lin": "attention.self.value",
    "attention.out_lin": "attention.output.dense",
    "sa_layer_norm": "attention.output.LayerNorm",
    "ffn.lin1": "intermediate.dense",
    "ffn.lin2": "output.dense",
    "output_layer_norm": "output.LayerNorm",
}
"""Parts of DistilBERT's names, and what BERT calls them."""

_OLD = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}


def is_there(folder: Path) -> bool:
    """Whether a folder holds such a classifier, not an encoder with our own head."""
    return not (folder / HEAD_FILE).is_file()


def read(folder: Path) -> tuple[dict[str, Any], Weights, Weights]:
    """Read a classifier as `training.ml.graph.bert` wants it.

    Returns:
        The encoder's config, with ``classifier_activation``; its weights; the head's.
        All float32.

    Raises:
        TrainingError: a file cannot be read, or a weight is missing.
    """
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        stored = load_file(folder / "model.safetensors")
    except Exception as error:  # safetensors raises its own classes
        raise TrainingError(f"The classifier cannot be read: {error}") from error
    kind = KINDS.get(config.get("model_type"))
    if kind is None:
        raise TrainingError(
            f"Classifiers of the type {config.get('model_type')} cannot be imported,"
            f" only {', '.join(KINDS)}."
        )
    weights: Weights = {}
    for name, tensor in stored.items():
        for old, new in _OLD.items():
            name = name.replace(old, new)
        weights[name] = tensor.float()
    try:
        head = {
            "weight": weights[f"{kind.out}.weight"],
            "bias": weights[f"{kind.out}.bias"],
            "dense.weight": weights[f"{kind.dense}.weight"],
            "dense.bias": weights[f"{kind.dense}.bias"],
        }
    except KeyError as error:
        raise TrainingError(
            f"model.safetensors has no {error.args[0]}: it holds no classifier of the"
            f" type {config['model_type']}."
        ) from None
    encoder = {
        name.removeprefix(kind.prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(kind.prefix)
    }
    if config["model_type"] == "distilbert":
        config, encoder = _as_bert(config, encoder)
    _check_complete(config, encoder)
    return {**config, "classifier_activation": kind.activation}, encoder, head


def _as_bert(
    config: dict[str, Any], encoder: Weights
) -> tuple[dict[str, Any], Weights]:
    """DistilBERT by BERT's names: the same layers, and no second kind of token."""
    renamed: Weights = {}
    for name, tensor in encoder.items():
        for theirs, ours in _DISTILBERT.items():
            name = name.replace(theirs, ours)
        renamed[name] = tensor
    renamed["embeddings.token_type_embeddings.weight"] = torch.zeros(
        1, int(config["dim"])
    )
    return {
        **config,
        "model_type": "bert",
        "hidden_size": config["dim"],
        "num_hidden_layers": config["n_layers"],
        "num_attention_heads": config["n_heads"],
        "hidden_act": config.get("activation", "gelu"),
        "layer_norm_eps": 1e-12,
    }, renamed


def _check_complete(config: dict[str, Any], encoder: Weights) -> None:
    norms = ("attention.output.LayerNorm", "output.LayerNorm")
    parts = [f"attention.self.{part}" for part in ("query", "key", "value")]
    parts += ["attention.output.dense", "intermediate.dense", "output.dense", *norms]
    wanted = [
        f"encoder.layer.{layer}.{part}.{kind}"
        for layer in range(int(config["num_hidden_layers"]))
        for part in parts
        for kind in ("weight", "bias")
    ]
    tables = ("word_embeddings", "position_embeddings", "token_type_embeddings")
    wanted += [f"embeddings.{table}.weight" for table in tables]
    wanted += [f"embeddings.LayerNorm.{kind}" for kind in ("weight", "bias")]
    missing = [name for name in wanted if name not in encoder]
    if missing:
        raise TrainingError(
            f"model.safetensors lacks {len(missing)} weights of the encoder, the first"
            f" is {missing[0]}."
        )


def write_tokenizer(source: Path, folder: Path) -> None:
    """Write tokenizer.json from an older kind of vocabulary.

    Raises:
        TrainingError: the tokenizer has no fast form.
    """
    from transformers import AutoTokenizer

    with tempfile.TemporaryDirectory() as name:
        aside = Path(name)
        try:
            tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
            tokenizer.save_pretrained(aside)
        except Exception as error:  # whatever transformers raises for a foreign folder
            raise TrainingError(f"The tokenizer cannot be read: {error}") from error
        if not (aside / "tokenizer.json").is_file():
            raise TrainingError("The tokenizer has no fast form (tokenizer.json).")
        for file in ("tokenizer.json", "tokenizer_config.json"):
            if (aside / file).is_file():
                shutil.copyfile(aside / file, folder / file)
