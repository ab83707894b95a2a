"""The ONNX graph of a BERT-like encoder, with or without a head, node by node.

Exporters trace a model for many seconds and leave small operators to be fused at each
load; this writes the operators that ONNX Runtime runs fastest at once, from the
weights.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import onnx
import torch
from onnx import TensorProto, helper

from registry.onnx.session import PACKS
from training.ml.nodes import GraphWriter, Int8, Weights

_ACTIVATIONS = {"gelu": ("Gelu", "com.microsoft"), "relu": ("Relu", "")}
"""Feed-forward activations: operator and its domain."""

_POOLED = {"tanh": "Tanh", "relu": "Relu"}
"""Activations of a dense layer on the first token."""

_FLOAT = TensorProto.FLOAT
_CLOSED = -10_000.0
"""Added to what one text's token would attend to in another: nothing of it is left."""


def peak_names(config: dict[str, Any]) -> list[str]:
    """Return the tensors of the graph whose peaks `Int8` wants."""
    layers = range(int(config["num_hidden_layers"]))
    parts = ("attention.output.LayerNorm", "output.LayerNorm")
    inner = [f"encoder.layer.{layer}.{part}" for layer in layers for part in parts]
    # The last one goes into the mean, not into a product.
    return ["embeddings.LayerNorm", *inner[:-1]]


def bert(
    config: dict[str, Any], weights: Weights, head: Weights | None, int8: Int8 | None
) -> onnx.ModelProto:
    """Write the graph of a BERT or RoBERTa encoder with pooling and a head.

    A head of one matrix reads the mean over the tokens. One with a dense layer before
    it reads the first token, as Hugging Face's own classifiers do.

    Inputs ``input_ids`` and ``attention_mask``, int64 (R, S), both dynamic. The mask is
    0 for padding and 1 for a row's tokens; or the tokens of several texts stand one
    behind another in a row, those of its k-th text with the mask k, so that next to
    nothing is computed for padding. Output ``logits``, float32 (R * K, C), where K is
    the largest mask: row r's k-th text has the output r * K + k - 1. Without a head
    ``vectors``, float32 (R * K, H), of unit length.

    Args:
        config: config.json of the encoder.
        weights: by their Hugging Face names, float32 (the word embeddings perhaps
            float16).
        head: ``weight`` (C, H) and ``bias`` (C,), perhaps ``dense.weight`` (H, H) and
            ``dense.bias`` (H,) before them, or None.
        int8: how to quantise, or None for float32.
    """
    g = GraphWriter(int8)
    epsilon = float(config["layer_norm_eps"])

    # Embeddings: word + position + type 0; rows of the padding are never looked at.
    words = g.table("word", weights["embeddings.word_embeddings.weight"], "input_ids")
    positions = weights["embeddings.position_embeddings.weight"]
    if "roberta" in config["model_type"]:
        positions = positions[config["pad_token_id"] + 1 :]
    positions = positions + weights["embeddings.token_type_embeddings.weight"][0]
    texts = _texts(g)
    places = g.node("Gather", g.weight("position", positions), texts.place)  # (R, S, H)
    x = g.norm(
        "embeddings.LayerNorm",
        g.node("Add", words, places),
        weights["embeddings.LayerNorm.weight"],
        weights["embeddings.LayerNorm.bias"],
        epsilon,
    )  # (R, S, H)

    for layer in range(int(config["num_hidden_layers"])):
        x = _layer(g, x, texts.bias, f"encoder.layer.{layer}", config, weights)

    # Pooling and the head are small: always float32.
    hidden = g.axes("hidden", -1, int(config["hidden_size"]))
    if head is not None and "dense.weight" in head:
        first = g.node(
            "Cast", g.node("Equal", texts.place, "none"), to=_FLOAT
        )  # (R, S)
        first = g.node("Mul", texts.members, g.node("Unsqueeze", first, "rows"))
        first = g.node("Reshape", g.node("MatMul", first, x), hidden)  # (R * K, H)
        return _classify(g, _dense(g, first, config, head), head)
    total = g.node("MatMul", texts.members, x)  # (R, K, H)
    count = g.node("ReduceSum", texts.members, "last", keepdims=1)  # (R, K, 1)
    # Rows of fewer texts have outputs that nobody reads.
    count = g.node("Max", count, g.weight("least", torch.ones(())))
    pooled = g.node("Reshape", g.node("Div", total, count), hidden)  # (R * K, H)
    if head is None:
        g.node("LpNormalization", pooled, output="vectors", axis=-1, p=2)
        return _finish(g, "vectors", columns=int(config["hidden_size"]))
    return _classify(g, pooled, head)


class _Texts(NamedTuple):
    """Names of what says where the texts of each row stand."""

    place: str
    """int64 (R, S): how many tokens of its own text stand before a token."""
    bias: str
    """(R, 1, S, S): 0 between tokens of one text, else so low that none attends."""
    members: str
    """(R, K, S): 1 for the tokens of the row's k-th text, else 0."""


def _texts(g: GraphWriter) -> _Texts:
    """Read the mask (R, S)."""
    g.axes("last", -1)
    g.weight("none", torch.tensor(0))
    g.weight("one", torch.tensor(1))
    across = g.node("Unsqueeze", "attention_mask", g.axes("rows", 1))  # (R, 1, S)
    down = g.node("Unsqueeze", "attention_mask", "last")  # (R, S, 1)
    # Padding is a text of its own: what attends to nothing would be no number.
    same = g.node("Equal", across, down)  # (R, S, S)
    below = g.weight("below", torch.tensor(-1))
    before = g.node("Trilu", g.node("Cast", same, to=_FLOAT), below, upper=0)
    place = g.node("ReduceSum", before, "last", keepdims=0)
    open_, closed = torch.zeros(()), torch.tensor(_CLOSED)
    bias = g.node("Where", same, g.weight("open", open_), g.weight("closed", closed))
    most = g.node("ReduceMax", "attention_mask", keepdims=0)
    numbers = g.node("Range", "one", g.node("Add", most, "one"), "one")
    numbers = g.node("Unsqueeze", numbers, "last")  # (K, 1)
    members = g.node("Equal", across, numbers)  # (R, K, S)
    return _Texts(
        place=g.node("Cast", place, to=TensorProto.INT64),
        bias=g.node("Unsqueeze", bias, "rows"),
        members=g.node("Cast", members, to=_FLOAT),
    )


def _dense(g: GraphWriter, first: str, config: dict[str, Any], head: Weights) -> str:
    """Write the dense layer on the first token: (B, H) to (B, H)."""
    matrix = g.weight("head.dense.weight", head["dense.weight"])
    offset = g.weight("head.dense.bias", head["dense.bias"])
    dense = g.node("Gemm", first, matrix, offset, transB=1)
    return g.node(_POOLED[config["classifier_activation"]], dense)


def _classify(g: GraphWriter, pooled: str, head: Weights) -> onnx.ModelProto:
    """Write the last matrix: (B, H) to logits (B, C)."""
    matrix = g.weight("head.weight", head["weight"])
    offset = g.weight("head.bias", head["bias"])
    g.node("Gemm", pooled, matrix, offset, transB=1, output="logits")
    return _finish(g, "logits", columns=len(head["bias"]))


def _layer(
    g: GraphWriter,
    x: str,
    bias: str,
    prefix: str,
    config: dict[str, Any],
    weights: Weights,
) -> str:
    """Write one layer: (R, S, H) to (R, S, H)."""

    def read(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[f"{prefix}.{part}.weight"], weights[f"{prefix}.{part}.bias"]

    def linear(part: str, source: str, *, activated: bool = False) -> str:
        parts = {f"{prefix}.{part}": read(part)}
        return g.linears(source, parts, activated=activated)[0]

    def add_norm(part: str, source: str, skip: str) -> str:
        # Apart: the operator that does both, SkipLayerNormalization, is five times as
        # slow on a CPU.
        total = g.node("Add", source, skip)
        epsilon = float(config["layer_norm_eps"])
        return g.norm(f"{prefix}.{part}", total, *read(part), epsilon)

    names = [f"attention.self.{part}" for part in ("query", "key", "value")]
    parts = {f"{prefix}.{name}": read(name) for name in names}
    query, key, value = g.linears(x, parts)  # (R, S, H) each
    # The standard's operator takes two thirds of MultiHeadAttention's time.
    heads = int(config["num_attention_heads"])
    attended = g.node(
        "Attention", query, key, value, bias, q_num_heads=heads, kv_num_heads=heads
    )  # (R, S, H)
    attended = linear("attention.output.dense", attended)
    x = add_norm("attention.output.LayerNorm", attended, x)
    operator, domain = _ACTIVATIONS[config["hidden_act"]]
    inner = linear("intermediate.dense", x)  # (R, S, F)
    inner = g.node(operator, inner, domain=domain)
    inner = linear("output.dense", inner, activated=True)
    return add_norm("output.LayerNorm", inner, x)


def _finish(g: GraphWriter, output: str, *, columns: int) -> onnx.ModelProto:
    def info(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        g.nodes,
        "encoder",
        [
            info("input_ids", TensorProto.INT64, "rows", "tokens"),
            info("attention_mask", TensorProto.INT64, "rows", "tokens"),
        ],
        [info(output, TensorProto.FLOAT, "texts", columns)],
        initializer=g.weights,
    )
    model = helper.make_model(
        graph,
        producer_name="tuneloop",
        ir_version=11,
        opset_imports=[
            helper.make_opsetid("", 23),
            helper.make_opsetid("com.microsoft", 1),
        ],
    )
    helper.set_model_props(model, {PACKS: "1"})
    return model
