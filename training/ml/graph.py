"""The ONNX graph of a BERT-like encoder, with or without a head, node by node.

Exporters trace a model for many seconds and leave small operators to be fused at each
load; this writes the operators that ONNX Runtime runs fastest at once, from the
weights.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

_ACTIVATIONS = {"gelu": ("Gelu", "com.microsoft"), "relu": ("Relu", "")}
"""Feed-forward activations: operator and its domain."""

_POOLED = {"tanh": "Tanh", "relu": "Relu"}
"""Activations of a dense layer on the first token."""

Weights = dict[str, torch.Tensor]
Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Weight (O, I) and bias (O,) by name."""


@dataclass(frozen=True)
class Int8:
    """How matrix products are quantised.

    Weights get one scale an output. Activations are quantised by their range at run
    time, one range for all tokens and features of a batch, so whatever sticks out takes
    precision from the rest. Two remedies, each a cheap operator:

    - Features that stick out are divided, and their weights multiplied, by a factor
      each, from the largest values seen (`peaks`).
    - Tokens that stick out, as behind the feed-forward activation, are divided by their
      largest value, and the product multiplied by it.

    Source: Xiao et al. 2023, "SmoothQuant" (with its middle setting, 0.5).
    """

    peaks: Weights
    """Largest absolute value of each feature (H,), by name of the normalised tensor."""

    every_token: bool = False
    """Divide tokens before each product, not only behind the activation. Slower by an
    eighth, and then an answer hardly depends on the other texts of its batch."""

    bits: int = 8
    """Bits of a weight, sign included."""


class GraphWriter:
    """Collects nodes and weights."""

    def __init__(self, int8: Int8 | None) -> None:
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self._count = 0

    def weight(self, name: str, value: torch.Tensor) -> str:
        """Add a constant and return its name."""
        array = value.contiguous().numpy()
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def axes(self, name: str, *values: int) -> str:
        """Add a list of axes as a constant and return its name."""
        return self.weight(name, torch.tensor(values, dtype=torch.int64))

    def node(
        self,
        operator: str,
        *inputs: str,
        domain: str = "",
        output: str | None = None,
        **options: Any,
    ) -> str:
        """Add a node with one output and return the output's name."""
        self._count += 1
        output = output or f"{operator.lower()}_{self._count}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [output], domain=domain, **options)
        )
        return output

    def linears(self, x: str, parts: Parts, *, outliers: bool = False) -> list[str]:
        """Multiply (B, T, I) with weights (O, I) and add biases (O,), for each part.

        Args:
            outliers: whether some tokens of `x` have far larger values than others.
        """
        if self.int8 is None:
            return [
                self.node(
                    "Add",
                    self.node("MatMul", x, self.weight(f"{name}.weight", weight.T)),
                    self.weight(f"{name}.bias", bias),
                )
                for name, (weight, bias) in parts.items()
            ]
        factor = torch.ones(())
        if x in self.int8.peaks:
            steepest = torch.stack([w.abs().amax(dim=0) for w, _ in parts.values()])
            factor = balance(self.int8.peaks[x], steepest.amax(dim=0))  # (I,)
            x = self.node("Mul", x, self.weight(f"{x}.factor", 1.0 / factor))
        largest = None
        if outliers or self.int8.every_token:
            last = self.axes(f"{x}.last", -1)
            largest = self.node("ReduceMax", self.node("Abs", x), last, keepdims=1)
            x = self.node("Div", x, largest)  # (B, T, I) by (B, T, 1)
        return [
            self._quantised(name, x, weight * factor, bias, largest)
            for name, (weight, bias) in parts.items()
        ]

    def _quantised(
        self,
        name: str,
        x: str,
        weight: torch.Tensor,
        bias: torch.Tensor,
        largest: str | None,
    ) -> str:
        assert self.int8 is not None
        matrix, scale = quantise(weight, self.int8.bits)
        inputs = [
            x,
            self.weight(f"{name}.weight", matrix.T),
            self.weight(f"{name}.scale", scale),
        ]
        offset = self.weight(f"{name}.bias", bias)
        operator, domain = "DynamicQuantizeMatMul", "com.microsoft"
        if largest is None:
            return self.node(operator, *inputs, "", offset, domain=domain)
        product = self.node(operator, *inputs, domain=domain)
        return self.node("Add", self.node("Mul", product, largest), offset)

    def norm(
        self,
        name: str,
        x: str,
        weight: torch.Tensor,
        bias: torch.Tensor,
        epsilon: float,
    ) -> str:
        """Normalise the last axis; the output has the name `name`."""
        return self.node(
            "LayerNormalization",
            x,
            self.weight(f"{name}.weight", weight),
            self.weight(f"{name}.bias", bias),
            output=name,
            axis=-1,
            epsilon=epsilon,
        )

    def table(self, name: str, value: torch.Tensor, index: str) -> str:
        """Look rows of a table (V, H) up: index (...) to float32 (..., H)."""
        if self.int8 is not None:
            matrix, scale = quantise(value)
            scales = self.weight(f"{name}.scale", scale.unsqueeze(1))
            rows = self.node("Gather", self.weight(f"{name}.weight", matrix), index)
            rows = self.node("Cast", rows, to=TensorProto.FLOAT)
            return self.node("Mul", rows, self.node("Gather", scales, index))
        # A table stored as float16 stays so: half the bytes, and still exact.
        rows = self.node("Gather", self.weight(f"{name}.weight", value), index)
        if value.dtype == torch.float32:
            return rows
        return self.node("Cast", rows, to=TensorProto.FLOAT)


def quantise(weight: torch.Tensor, bits: int = 8) -> tuple[torch.Tensor, torch.Tensor]:
    """Round a matrix (O, I) to int8 with a scale for each row, float32 (O,)."""
    largest = 2 ** (bits - 1) - 1
    result = torch.empty(weight.shape, dtype=torch.int8)
    scale = torch.empty(len(weight))
    # In slices: a vocabulary of 250,000 rows needs little memory beside it.
    for start in range(0, len(weight), 8192):
        rows = slice(start, start + 8192)
        part = weight[rows].float()
        scale[rows] = part.abs().amax(dim=1).clamp(min=1e-12) / largest
        result[rows] = (part / scale[rows].unsqueeze(1)).round_().to(torch.int8)
    return result, scale


def balance(peaks: torch.Tensor, steepest: torch.Tensor) -> torch.Tensor:
    """Return what to divide features by, so that they stick out like their weights."""
    # Never zero: features that were never seen, and dead weights, stay as they are.
    return (peaks.clamp(min=1e-4) / steepest.clamp(min=1e-5)).sqrt()


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

    Inputs ``input_ids`` and ``attention_mask``, int64 (B, T), both dynamic; output
    ``logits``, float32 (B, C), or without a head ``vectors``, float32 (B, H), of unit
    length.

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
    length = g.node("Shape", "input_ids", start=1, end=2)  # (1,)
    places = g.weight("position", positions)
    places = g.node("Slice", places, g.axes("zero", 0), length)  # (T, H)
    x = g.norm(
        "embeddings.LayerNorm",
        g.node("Add", words, places),
        weights["embeddings.LayerNorm.weight"],
        weights["embeddings.LayerNorm.bias"],
        epsilon,
    )  # (B, T, H)

    mask = g.node("Cast", "attention_mask", to=TensorProto.INT32)  # (B, T)
    for layer in range(int(config["num_hidden_layers"])):
        x = _layer(g, x, mask, f"encoder.layer.{layer}", config, weights)

    # Pooling and the head are small: always float32.
    if head is not None and "dense.weight" in head:
        return _classify(g, _first_token(g, x, config, head), head)
    real = g.node("Cast", "attention_mask", to=TensorProto.FLOAT)
    real = g.node("Unsqueeze", real, g.axes("last", -1))  # (B, T, 1)
    tokens = g.axes("tokens", 1)
    total = g.node("ReduceSum", g.node("Mul", x, real), tokens, keepdims=0)  # (B, H)
    count = g.node("ReduceSum", real, tokens, keepdims=0)  # (B, 1)
    pooled = g.node("Div", total, count)
    if head is None:
        g.node("LpNormalization", pooled, output="vectors", axis=-1, p=2)
        return _finish(g, "vectors", columns=int(config["hidden_size"]))
    return _classify(g, pooled, head)


def _first_token(g: GraphWriter, x: str, config: dict[str, Any], head: Weights) -> str:
    """Write the dense layer on the first token: (B, T, H) to (B, H)."""
    first = g.node("Gather", x, g.weight("first", torch.tensor(0)), axis=1)  # (B, H)
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
    mask: str,
    prefix: str,
    config: dict[str, Any],
    weights: Weights,
) -> str:
    """Write one layer: (B, T, H) to (B, T, H)."""

    def read(part: str) -> tuple[torch.Tensor, torch.Tensor]:
        return weights[f"{prefix}.{part}.weight"], weights[f"{prefix}.{part}.bias"]

    def linear(part: str, source: str, *, outliers: bool = False) -> str:
        parts = {f"{prefix}.{part}": read(part)}
        return g.linears(source, parts, outliers=outliers)[0]

    def add_norm(part: str, source: str, skip: str) -> str:
        # Apart: the operator that does both, SkipLayerNormalization, is five times as
        # slow on a CPU.
        total = g.node("Add", source, skip)
        epsilon = float(config["layer_norm_eps"])
        return g.norm(f"{prefix}.{part}", total, *read(part), epsilon)

    names = [f"attention.self.{part}" for part in ("query", "key", "value")]
    parts = {f"{prefix}.{name}": read(name) for name in names}
    query, key, value = g.linears(x, parts)  # (B, T, H) each
    attended = g.node(
        "MultiHeadAttention",
        *(query, key, value, "", mask),
        domain="com.microsoft",
        num_heads=int(config["num_attention_heads"]),
    )  # (B, T, H)
    attended = linear("attention.output.dense", attended)
    x = add_norm("attention.output.LayerNorm", attended, x)
    operator, domain = _ACTIVATIONS[config["hidden_act"]]
    inner = linear("intermediate.dense", x)  # (B, T, F)
    inner = g.node(operator, inner, domain=domain)
    inner = linear("output.dense", inner, outliers=True)
    return add_norm("output.LayerNorm", inner, x)


def _finish(g: GraphWriter, output: str, *, columns: int) -> onnx.ModelProto:
    def info(name: str, kind: int, *shape: str | int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, kind, shape)

    graph = helper.make_graph(
        g.nodes,
        "encoder",
        [
            info("input_ids", TensorProto.INT64, "batch", "tokens"),
            info("attention_mask", TensorProto.INT64, "batch", "tokens"),
        ],
        [info(output, TensorProto.FLOAT, "batch", columns)],
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
