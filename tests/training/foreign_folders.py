"""Makers of tiny random classifiers from elsewhere, saved by transformers."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from registry.onnx.tokens import TextEncoder, pad
from tests.training.ml.makers import TOPICS, make_examples, make_tiny_base

KINDS = ("bert", "roberta", "xlm-roberta", "distilbert")
TEXTS = [example.text for example in make_examples(40, seed=5)] + [
    "库存 预警 " * 40,  # longer than what the model reads
    "x",
]


def make_classifier(
    folder: Path,
    *,
    kind: str = "bert",
    labels: Sequence[str] = tuple(TOPICS),
    **config: Any,
) -> Path:
    """Writes a random classifier with a word-and-character tokenizer."""
    width = {
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 64,
    }
    if kind == "distilbert":
        width = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}
    base = make_tiny_base(folder / "base")
    made = AutoConfig.for_model(
        kind,
        vocab_size=200,
        max_position_embeddings=64,
        initializer_range=0.2,
        pad_token_id=0,
        architectures=None,
        id2label=dict(enumerate(labels)),
        label2id={label: n for n, label in enumerate(labels)},
        **{**width, **config},
    )
    with torch.random.fork_rng():
        torch.manual_seed(3)
        model = AutoModelForSequenceClassification.from_config(made)
    # What starts at zero would hide where it is left out.
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(4)
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.3)
    model.save_pretrained(folder / kind)
    shutil.copyfile(base / "tokenizer.json", folder / kind / "tokenizer.json")
    return folder / kind


def their_logits(
    folder: Path, texts: Sequence[str], *, max_length: int
) -> npt.NDArray[np.float32]:
    """What transformers' own class answers, (N, C), each text alone."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    rows = []
    for ids in TextEncoder(folder, max_length=max_length).encode(texts).ids:
        input_ids, mask = pad([ids], 0)
        with torch.no_grad():
            found = model(torch.tensor(input_ids), attention_mask=torch.tensor(mask))
        rows.append(found.logits.numpy()[0])
    return np.stack(rows)
