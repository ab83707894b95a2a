"""Collects the nodes and weights of an ONNX graph, in float32 or quantised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, torch.Tensor]
Parts = dict[str, tuple[torch.Tensor, torch.Tensor]]
"""Weight (O, I) and bias (O,) by name."""

_LOWEST = -0.17
"""Below it no activation of a feed-forward layer answers: GELU's minimum, ReLU's 0."""


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

    def linears(self, x: str, parts: Parts, *, activated: bool = False) -> list[str]:
        """Multiply (B, T, I) with weights (O, I) and add biases (O,), for each part.

        Args:
            activated: whether `x` comes from the activation: there some tokens have far
                larger values than others, and none is below `_LOWEST`.
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
        if activated or self.int8.every_token:
            last = self.axes(f"{x}.last", -1)
            sizes = x if activated else self.node("Abs", x)
            largest = self.node("ReduceMax", sizes, last, keepdims=1)  # (B, T, 1)
            # Of what is activated the largest value may be the lowest one, or 0.
            bound = torch.tensor(-_LOWEST if activated else 1e-6)
            least = self.weight(f"{x}.least", bound)
            largest = self.node("Max", largest, least)
            x = self.node("Mul", x, self.node("Reciprocal", largest))
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
