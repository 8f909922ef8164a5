"""Convolutions, their padding, scales and activations, spelled as tools spell them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from minimix.dialect import Dialect
from minimix.geometry import pad_amounts
from tests.graph_operations import Array, Operations, Value


@dataclass
class Convolutions(Operations):
    """Operations of convolutions.

    Attributes:
        dialect: says how to pad.
        made_of: our weight -> the constant that holds its numbers.
    """

    dialect: Dialect = field(kw_only=True)
    made_of: dict[str, str] = field(default_factory=dict)

    def affine(self, value: Value, spelling: str, scale: Array, bias: Array) -> Value:
        """``x * scale + bias``."""
        wide, name = scale.astype(np.float64), value.name
        match spelling:
            case "none":
                name = self.plus(name, self.beside(bias, value, 1))
            case "multiply-add":
                name = self.times(name, self.beside(scale, value, 1))
                name = self.plus(name, self.beside(bias, value, 1))
            case "add-multiply":
                name = self.plus(name, self.beside(bias / wide, value, 1))
                name = self.times(name, self.beside(scale, value, 1))
            case _:
                mean, variance = (
                    np.array([self.random.uniform(low, high) for _ in bias], np.float32)
                    for low, high in ((-0.5, 0.5), (0.5, 1.5))
                )
                eps = 1e-3
                gamma = wide * np.sqrt(variance.astype(np.float64) + eps)
                four = (gamma, bias + mean * wide, mean, variance)
                kind = self.word("BatchNormalization", "BatchNormInference")
                name = self.one(kind, name, *map(self.constant, four), epsilon=eps)
        return Value(name, value.shape)

    def activated(self, value: Value, function: str, role: str) -> Value:
        if function == "relu":
            return Value(self.one(self.word("Relu", "ReLU"), value.name, role=role), value.shape)
        if self.pick("swish") == "sigmoid":
            sigmoid = self.one("Sigmoid", value.name)
            return Value(self.times(value.name, sigmoid, role), value.shape)
        beta = [self.constant(np.float32(1))] if not self.is_onnx and self.maybe() else []
        return Value(self.one("Swish", value.name, *beta, role=role), value.shape)

    def convolve(
        self,
        name: str,
        value: Value,
        weight: Array,
        bias: Array | None,
        role: str,
        stride: int = 1,
        groups: int = 0,
    ) -> Value:
        """One convolution: depthwise where its weight reads one channel and more are there."""
        groups = groups or value.shape[1] // weight.shape[1]
        kernel_size, size = weight.shape[2], value.shape[2]
        source, padding = self.padded(value, kernel_size, stride)
        strides: dict[str, Any] = {"strides": (stride, stride), "dilations": (1, 1)}
        shape = (1, len(weight), -(-size // stride), -(-size // stride))
        if self.is_onnx:
            inputs = [source, self.weight(name, weight)]
            with_input = bias is not None and self.pick("bias") == "input"
            inputs += [self.constant(bias)] if with_input else []
            made = self.one("Conv", *inputs, role=role, group=groups, **strides, **padding)
        else:
            with_input = False
            grouped = weight.reshape(groups, -1, *weight.shape[1:]) if groups > 1 else weight
            inputs = [source, self.weight(name, grouped)]
            kind = "GroupConvolution" if groups > 1 else "Convolution"
            made = self.one(kind, *inputs, role=role, **strides, **padding)
        done = Value(made, shape)
        return done if bias is None or with_input else self.affine(done, "none", bias, bias)

    def grouped(
        self, names: Sequence[str], value: Value, weights: Sequence[Array], stride: int, node: str
    ) -> Value:
        """All groups as one convolution."""
        whole = np.concatenate(list(weights))
        made = self.convolve(names[0], value, whole, None, node, stride, len(weights))
        self.made_of |= dict.fromkeys(names, self.made_of[names[0]])
        return made

    def weight(self, name: str, weight: Array) -> str:
        before = len(self.tensors)
        made = self.constant(weight)
        self.made_of[name] = list(self.tensors)[before]
        return made

    # Padding.

    def padded(self, value: Value, kernel_size: int, stride: int) -> tuple[str, dict[str, Any]]:
        """What a convolution reads, and the attributes that say how it pads."""
        size = value.shape[2]
        before, after = pad_amounts(size, kernel_size, stride, self.dialect.padding)
        by_rule = ["auto", "computed"] if self.dialect.padding == "same" else []
        allowed = ["attribute", "pad", *by_rule]
        match self.pick("padding", *allowed) if kernel_size > 1 else "attribute":
            case "attribute":
                return value.name, self.pads(before, after)
            case "auto":
                auto = self.word("SAME_UPPER", "same_upper")
                # OpenVINO states numbers that are to be ignored beside it.
                return value.name, {"auto_pad": auto, **({} if self.is_onnx else self.pads(0, 0))}
            case "pad":
                inputs = self.pad_inputs(before, after)
            case _:
                inputs = self.computed_pads(value, kernel_size, stride)
        mode = {} if self.is_onnx else {"pad_mode": "constant"}
        name = self.one("Pad", value.name, *inputs, **mode)
        valid = {"auto_pad": self.word("VALID", "valid")}
        return name, self.pads(0, 0) if self.maybe() else valid

    def pads(self, before: int, after: int) -> dict[str, Any]:
        if self.is_onnx:
            return {"pads": (before, before, after, after)}
        return {"pads_begin": (before, before), "pads_end": (after, after)}

    def pad_inputs(self, before: int, after: int) -> list[str]:
        begin, end = (0, 0, before, before), (0, 0, after, after)
        sides = [(*begin, *end)] if self.is_onnx else [begin, end]
        inputs = [self.integers(*side) for side in sides]
        return [*inputs, *([self.constant(np.float32(0))] if self.maybe() else [])]

    def computed_pads(self, value: Value, kernel_size: int, stride: int) -> list[str]:
        """Pads worked out from the value's shape, as exports of TensorFlow's SAME have them."""
        typed = {} if self.is_onnx else {"output_type": "i64"}
        shape = self.one(self.word("Shape", "ShapeOf"), value.name, **typed)
        befores, afters = [], []
        for axis in (2, 3):
            size = self.gathered(shape, axis)
            ratio = self.over(self.cast(size, "f32"), self.constant(np.float32(stride)))
            ceiling = self.cast(self.one(self.word("Ceil", "Ceiling"), ratio), "i64")
            steps = self.times(self.minus(ceiling, self.integers(1)), self.integers(stride))
            missing = self.minus(self.plus(steps, self.integers(kernel_size)), size)
            pads = self.one(self.word("Max", "Maximum"), missing, self.integers(0))
            before = self.over(pads, self.integers(2))
            befores.append(before)
            afters.append(self.minus(pads, before))
        none = self.integers(0, 0)
        if self.is_onnx:
            return [self.one("Concat", none, *befores, none, *afters, axis=0)]
        return [self.one("Concat", none, *side, axis=0) for side in (befores, afters)]

    def gathered(self, shape: str, axis: int) -> str:
        place = self.integers(axis)
        if self.is_onnx:
            return self.one("Gather", shape, place, axis=0)
        return self.one("Gather", shape, place, self.integer(0))
