"""The ONNX graph of a BERT-like classifier, written node by node from its weights.

Exporters trace a model for many seconds and leave small operators to be fused at each
load; this writes the fused operators of ONNX Runtime at once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

MODEL_TYPES = frozenset({"bert", "roberta", "xlm-roberta"})
"""Encoders that the graph can write."""

ACTIVATIONS = {"gelu": "Gelu", "relu": "Relu"}
"""Feed-forward activations that the graph knows, with their operators."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Int8:
    """How matrices are quantised; activations always by their range at run time."""

    per_channel: bool = True
    """One scale for each output instead of one for the whole matrix."""

    bits: int = 8
    """Bits of a weight; 7 keeps older CPUs' 16-bit sums from overflowing."""


class GraphWriter:
    """Collects nodes and weights."""

    def __init__(self, int8: Int8 | None) -> None:
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._count = 0

    def weight(self, name: str, value: Array) -> str:
        """Add a constant and return its name."""
        value = np.ascontiguousarray(value)
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def node(
        self, operator: str, *inputs: str, domain: str = "", **options: Any
    ) -> str:
        """Add a node with one output and return the output's name."""
        self._count += 1
        output = options.pop("output", None) or f"{operator.lower()}_{self._count}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=domain, **options)
        )
        return output

    def linear(self, name: str, x: str, weight: Array, bias: Array) -> str:
        """Multiply (..., I) with a weight (O, I) and add a bias (O,)."""
        if self.int8 is None:
            product = self.node("MatMul", x, self.weight(f"{name}.w", weight.T))
            return self.node("Add", product, self.weight(f"{name}.b", bias))
        matrix, scale = quantise(weight, self.int8)
        return self.node(
            "DynamicQuantizeMatMul",
            x,
            self.weight(f"{name}.w", matrix.T),
            self.weight(f"{name}.s", scale),
            "",
            self.weight(f"{name}.b", bias.astype(np.float32)),
            domain="com.microsoft",
        )

    def norm(
        self, name: str, x: str, weight: Array, bias: Array, epsilon: float
    ) -> str:
        """Normalise the last axis."""
        return self.node(
            "LayerNormalization",
            x,
            self.weight(f"{name}.w", weight),
            self.weight(f"{name}.b", bias),
            axis=-1,
            epsilon=epsilon,
        )

    def skip_norm(
        self, name: str, x: str, skip: str, weight: Array, bias: Array, epsilon: float
    ) -> str:
        """Add two tensors and normalise the last axis, in one operator."""
        return self.node(
            "SkipLayerNormalization",
            x,
            skip,
            self.weight(f"{name}.w", weight),
            self.weight(f"{name}.b", bias),
            domain="com.microsoft",
            epsilon=epsilon,
        )

    def table(self, name: str, value: Array, index: str) -> str:
        """Look rows of a table (V, H) up: index (...) to float32 (..., H)."""
        if self.int8 is None:
            # Half the bytes on disk; the lookup is exact if it was stored that way.
            rows = self.node("Gather", self.weight(f"{name}.w", value), index)
            if value.dtype == np.float32:
                return rows
            return self.node("Cast", rows, to=TensorProto.FLOAT)
        matrix, scale = quantise(value.astype(np.float32), Int8())
        rows = self.node("Gather", self.weight(f"{name}.w", matrix), index)
        scales = self.node("Gather", self.weight(f"{name}.s", scale[:, None]), index)
        return self.node("Mul", self.node("Cast", rows, to=TensorProto.FLOAT), scales)


def quantise(weight: Array, int8: Int8) -> tuple[Array, Array]:
    """Round a matrix (O, I) to int8 with scales (O,) or (): ``weight = q * scale``."""
    largest = 2 ** (int8.bits - 1) - 1
    peak = np.abs(weight).max(axis=1) if int8.per_channel else np.abs(weight).max()
    scale = (np.maximum(peak, 1e-12) / largest).astype(np.float32)
    spread = scale[:, None] if int8.per_channel else scale
    result = np.empty(weight.shape, np.int8)
    # In slices: a vocabulary of 250,000 rows needs little memory beside it.
    for start in range(0, len(weight), 1 << 14):
        part = slice(start, start + (1 << 14))
        by = spread[part] if int8.per_channel else spread
        np.rint(weight[part] / by, out=result[part], casting="unsafe")
    return result, np.asarray(scale)


def bert(
    config: dict[str, Any],
    tensors: dict[str, Array],
    head: dict[str, Array],
    int8: Int8 | None,
) -> onnx.ModelProto:
    """Write the graph of a BERT or RoBERTa encoder with mean pooling and a head.

    Inputs ``input_ids`` and ``attention_mask``, int64 (B, T), both dynamic; output
    ``logits``, float32 (B, C).

    Args:
        config: config.json of the encoder.
        tensors: its weights by their Hugging Face names.
        head: ``weight`` (C, H) and ``bias`` (C,).
        int8: how to quantise, or None for float32.
    """
    g = GraphWriter(int8)
    epsilon = float(config["layer_norm_eps"])
    heads = int(config["num_attention_heads"])

    # Embeddings: word + position + type 0; rows of the padding are never looked at.
    words = g.table("word", tensors["embeddings.word_embeddings.weight"], "input_ids")
    positions = tensors["embeddings.position_embeddings.weight"]
    if "roberta" in config["model_type"]:
        positions = positions[config["pad_token_id"] + 1 :]
    kinds = tensors["embeddings.token_type_embeddings.weight"]
    length = g.node("Shape", "input_ids", start=1, end=2)  # (1,)
    place = g.node(
        "Slice",
        g.weight("position", positions.astype(np.float32) + kinds[0]),
        g.weight("zero", np.array([0], np.int64)),
        length,
    )  # (T, H)
    x = g.norm(
        "embedding_norm",
        g.node("Add", words, place),
        tensors["embeddings.LayerNorm.weight"],
        tensors["embeddings.LayerNorm.bias"],
        epsilon,
    )  # (B, T, H)

    mask = g.node("Cast", "attention_mask", to=TensorProto.INT32)  # (B, T)
    for layer in range(int(config["num_hidden_layers"])):
        x = _layer(g, x, mask, layer, config, tensors, epsilon, heads)

    # Mean over the real tokens, then the head (small: always float32).
    weight = g.node(
        "Unsqueeze",
        g.node("Cast", "attention_mask", to=TensorProto.FLOAT),
        g.weight("last", np.array([-1], np.int64)),
    )  # (B, T, 1)
    tokens = g.weight("token_axis", np.array([1], np.int64))
    total = g.node("ReduceSum", g.node("Mul", x, weight), tokens, keepdims=0)  # (B, H)
    count = g.node("ReduceSum", weight, tokens, keepdims=0)  # (B, 1)
    pooled = g.node("Div", total, count)
    g.node(
        "Gemm",
        pooled,
        g.weight("head.w", head["weight"].astype(np.float32)),
        g.weight("head.b", head["bias"].astype(np.float32)),
        transB=1,
        output="logits",
    )
    return _finish(g, classes=len(head["bias"]))


def _layer(
    g: GraphWriter,
    x: str,
    mask: str,
    layer: int,
    config: dict[str, Any],
    tensors: dict[str, Array],
    epsilon: float,
    heads: int,
) -> str:
    def read(part: str, kind: str) -> Array:
        value = tensors[f"encoder.layer.{layer}.{part}.{kind}"]
        return value.astype(np.float32, copy=False)

    def linear(part: str, source: str) -> str:
        name = f"{layer}.{part}"
        return g.linear(name, source, read(part, "weight"), read(part, "bias"))

    def skip_norm(part: str, source: str, skip: str) -> str:
        name, weight, bias = f"{layer}.{part}", read(part, "weight"), read(part, "bias")
        return g.skip_norm(name, source, skip, weight, bias, epsilon)

    projections = [f"attention.self.{part}" for part in ("query", "key", "value")]
    query, key, value = (linear(part, x) for part in projections)  # (B, T, H) each
    attended = g.node(
        "MultiHeadAttention",
        query,
        key,
        value,
        "",
        mask,
        domain="com.microsoft",
        num_heads=heads,
    )  # (B, T, H)
    x = skip_norm(
        "attention.output.LayerNorm", linear("attention.output.dense", attended), x
    )
    inner = linear("intermediate.dense", x)  # (B, T, F)
    activation = ACTIVATIONS[config["hidden_act"]]
    domain = "com.microsoft" if activation == "Gelu" else ""
    inner = g.node(activation, inner, domain=domain)
    return skip_norm("output.LayerNorm", linear("output.dense", inner), x)


def _finish(g: GraphWriter, *, classes: int) -> onnx.ModelProto:
    def info(name: str, kind: int, shape: list[str | int]) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        g.nodes,
        "classifier",
        [
            info("input_ids", TensorProto.INT64, ["batch", "tokens"]),
            info("attention_mask", TensorProto.INT64, ["batch", "tokens"]),
        ],
        [info("logits", TensorProto.FLOAT, ["batch", classes])],
        initializer=g.weights,
    )
    return helper.make_model(
        graph,
        producer_name="tuneloop",
        ir_version=10,
        opset_imports=[
            helper.make_opsetid("", 20),
            helper.make_opsetid("com.microsoft", 1),
        ],
    )
