"""Makers of tiny models and questions for tests of training and serving."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoConfig, AutoModel

from training.ml.interface import Example
from training.recipe import Recipe

WORDS = (
    *("clock", "in", "out", "attendance", "today", "batch", "production", "stock"),
    *("alert", "pay", "invoice", "order", "ship", "truck", "status", "help", "hello"),
    *("weather", "report", "list", "show", "me", "the", "my", "what", "is", "how"),
    *("many", "please"),
)
CHARACTERS = (
    "打卡考勤今天批次生产库存预警付款发票订单发货车状态帮助你好气报表怎么查询多少请我的"
)


def make_tiny_base(
    tmp_path: Path,
    *,
    layers: int = 2,
    width: int = 32,
    seed: int = 0,
    kind: str = "bert",
    **config: object,
) -> Path:
    """Write a random encoder with a word-and-character tokenizer.

    Args:
        kind: a model type of `training.bases.MODEL_TYPES`.
        config: more values of its configuration.

    Returns:
        A Hugging Face folder: config.json, model.safetensors, tokenizer.json.
    """
    folder = tmp_path / f"tiny-{kind}-{layers}-{width}-{seed}"
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *dict.fromkeys(CHARACTERS)]
    tokenizer = Tokenizer(
        models.WordPiece({t: i for i, t in enumerate(tokens)}, unk_token="[UNK]")
    )
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
    encoder_config = AutoConfig.for_model(
        kind,
        vocab_size=len(tokens),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        # The default 0.02 leaves the features of different texts rather alike.
        initializer_range=0.05,
        pad_token_id=0,
        **config,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = AutoModel.from_config(encoder_config, add_pooling_layer=False)
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


TOPICS: dict[str, tuple[str, ...]] = {
    "attendance": ("clock in", "attendance today", "打卡", "考勤"),
    "stock": ("stock alert", "stock status", "库存", "库存预警"),
    "payment": ("pay invoice", "my invoice", "付款", "发票"),
    "shipping": ("ship order", "truck status", "发货", "订单"),
}


def make_examples(
    count: int, *, topics: Sequence[str] = tuple(TOPICS), seed: int = 0
) -> list[Example]:
    """Return `count` questions, the topics in turn: a phrase and a filler word."""
    chance = random.Random(seed)
    fillers = ("please", "show me", "what is", "how many", "help", "请", "怎么", "多少")
    examples = []
    for number in range(count):
        topic = topics[number % len(topics)]
        words = [chance.choice(TOPICS[topic]), *chance.sample(fillers, 1)]
        chance.shuffle(words)
        examples.append(Example(" ".join(words), (topic,)))
    return examples


def make_recipe(**overrides: object) -> Recipe:
    """Return a recipe that teaches a tiny model within a second."""
    values: dict[str, object] = {
        "epochs": 6,
        "batch_size": 8,
        "encoder_lr": 3e-3,
        "head_lr": 3e-2,
        "max_length": 32,
        "dropout": 0.0,
        "early_stopping_patience": 0,
        **overrides,
    }
    return Recipe.from_dict(values)
