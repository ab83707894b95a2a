"""A version's recorded answers to a few fixed texts: any copy of it must give them.

The files' SHA-256 says that they arrived whole. These say that what opens them here
reads them as it did where they were made: the same tokens, the same operators.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from registry.onnx.session import OnnxClassifier

TEXTS = (
    *("hello", "How do I change my password?", "I was charged twice for order A-10293"),
    *("what is the weather like tomorrow in Shanghai", "你好", "今天忘记打卡了怎么办"),
    *("请帮我查一下昨天的库存预警", "B2批次的原料什么时候到货？"),
)
"""Changing one is no harm: a version keeps its own beside their answers."""

TOLERANCE = 0.3
"""Of the recorded logits' size. Processors round int8 products differently: up to 0.1.
Another model, a tokenizer that reads otherwise, broken weights: 1 and more."""

_LEAST = 0.5
"""Smaller logits say next to nothing, and so do their differences."""

_DECIMALS = 4


def record(model: OnnxClassifier) -> list[dict[str, Any]]:
    """What a version keeps: [{text, logits}]. About 4 ms a text."""
    return [
        # One by one: in a batch int8 answers depend a little on the neighbours.
        {
            "text": text,
            "logits": [round(float(z), _DECIMALS) for z in model.logits([text])[0]],
        }
        for text in TEXTS
    ]


def strays(model: OnnxClassifier, samples: list[dict[str, Any]]) -> float:
    """How far the model's answers are from the recorded ones; 0 where none are.

    The distance of a text's logits by the usual size of the recorded ones; the farthest
    text counts. Infinity where they can't be compared.
    """
    if not samples:
        return 0.0
    wanted = [np.array(sample["logits"], np.float64) for sample in samples]  # (C,) each
    usual = max(_LEAST, float(np.sqrt(np.mean([w @ w for w in wanted]))))
    worst = 0.0
    for sample, own in zip(samples, wanted, strict=True):
        got = model.logits([sample["text"]])[0].astype(np.float64)
        if got.shape != own.shape or not np.isfinite(own).all():
            return float("inf")
        worst = max(worst, float(np.linalg.norm(got - own)) / usual)
    # What is no number is far from any.
    return worst if np.isfinite(worst) else float("inf")
