"""Our folded models as networks of ONNX and OpenVINO, as the readers would give them.

``write`` picks at every place one of the spellings that mean the same; see ``SPELLINGS``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from minimix.dialect import Dialect
from minimix.graph import Graph
from minimix.operators import Pointwise
from minimix.zoo import Architecture, BlockSpec, build
from tests.graph_checkpoints import Written
from tests.graph_convolutions import Convolutions
from tests.graph_operations import Array, Value
from weights_tools.mappings.layouts import to_oihw
from weights_tools.readers.checkpoint import Checkpoint
from weights_tools.readers.topology import Topology

INPUT = "picture"


@dataclass(frozen=True)
class Form:
    """What a network looks like apart from its blocks.

    Attributes:
        size: of the input, in pixels; the file says 0 where ``free``.
        batch: as the file states it; 0 is free.
        channels_last: whether the input is (N, H, W, 3).
        reversed: whether the graph turns the input's channels around.
        half: whether constants are float16.
        mean, std: of the input's channels, in their order, where the graph normalises them.
    """

    container: str = "onnx"
    size: int = 64
    free: bool = False
    batch: int = 0
    channels_last: bool = False
    reversed: bool = False
    half: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None


@dataclass
class NetworkWriter(Convolutions):
    """One network; ``scaled`` notes our nodes whose weights the graph scales afterwards."""

    form: Form = Form()
    scaled: set[str] = field(default_factory=set)

    def network(self, arch: Architecture, params: Mapping[str, Array]) -> str:
        """Append all operations; return the logits' name."""
        graph = build(arch, self.dialect)
        value = self.picture()
        value = self.stage(graph, params, "stem.conv", value, "relu", 2)
        for n, block in enumerate(arch.blocks):
            value = self.block(graph, params, f"blocks.{n}", block, value)
        value = self.stage(graph, params, "head.conv", value, "relu")
        value = self.perhaps_nothing(self.mean(value, "pool"))
        return self.classifier(params, value)

    def block(
        self,
        graph: Graph,
        params: Mapping[str, Array],
        path: str,
        block: BlockSpec,
        start: Value,
    ) -> Value:
        function = "swish" if block.swish else "relu"
        value = start
        if block.expansion != 1:
            value = self.stage(graph, params, f"{path}.expand", value, function)
        value = self.stage(graph, params, f"{path}.mixconv", value, function, block.stride)
        if block.se_ratio:
            inner = "relu" if self.dialect.se_activation == "relu" else function
            value = self.gated(params, f"{path}.se", value, inner)
        value = self.stage(graph, params, f"{path}.project", value)
        if block.has_residual:
            value = Value(self.plus(start.name, value.name, f"{path}.add"), value.shape)
        return self.perhaps_nothing(value)

    def gated(self, params: Mapping[str, Array], node: str, value: Value, function: str) -> Value:
        gates = self.mean(value, f"{node}.mean")
        for layer in ("reduce", "expand"):
            weight = to_oihw(params[f"{node}.{layer}.weight"], Pointwise(1))
            bias = params[f"{node}.{layer}.bias"]
            if len(gates.shape) == 2:
                gates = self.reshaped(gates, (*gates.shape, 1, 1))
            name = f"{node}.{layer}.weight"
            gates = self.convolve(name, gates, weight, bias, f"{node}.{layer}")
            if layer == "reduce":
                gates = self.activated(gates, function, f"{node}.act")
        sigmoid = self.one("Sigmoid", gates.name)
        return Value(self.times(value.name, sigmoid, f"{node}.gate"), value.shape)

    # Convolutions.

    def stage(
        self,
        graph: Graph,
        params: Mapping[str, Array],
        node: str,
        value: Value,
        function: str | None = None,
        stride: int = 1,
    ) -> Value:
        """Convolutions of consecutive channels side by side, the bias, the activation."""
        *names, bias_name = graph.param_names[node]
        operator = graph[node].operator
        weights, bias = [to_oihw(params[name], operator) for name in names], params[bias_name]
        if node == "stem.conv" and self.form.reversed:
            weights = [np.ascontiguousarray(weights[0][:, ::-1])]
        spelling = self.pick(
            "norm", *(("none", "multiply-add", "add-multiply") if self.half else ())
        )
        scale = self.scale(node, spelling, len(bias))
        ends = np.cumsum([len(weight) for weight in weights])
        scales, biases = np.split(scale, ends[:-1]), np.split(bias, ends[:-1])
        shrunk = [w / s[:, None, None, None] for w, s in zip(weights, scales, strict=True)]
        each = len(names) > 1 and self.pick("affine") == "each"
        alike = len({weight.shape for weight in weights}) == 1 < len(weights)
        is_pointwise = ".mixconv" not in node
        sizes = [weight.shape[1 if is_pointwise else 0] for weight in weights]
        if alike and is_pointwise and not each and self.pick("groups") == "grouped":
            made = self.grouped(names, value, shrunk, stride, node)
        else:
            inner = function if each and self.pick("activation") == "each" else None
            parts = self.parts(value, 1, sizes)
            made_parts = []
            for g, (name, part) in enumerate(zip(names, parts, strict=True)):
                role = f"{node}.{g}" if len(names) > 1 else node
                with_bias = biases[g] if each and spelling == "none" else None
                one = self.convolve(name, part, shrunk[g], with_bias, role, stride)
                if each and spelling != "none":
                    one = self.affine(one, spelling, scales[g], biases[g])
                made_parts.append(self.activated(one, inner, f"{role}.act") if inner else one)
            made = self.concat(made_parts, 1)
            function = None if inner else function
        if not each:
            made = self.affine(made, spelling, scale, bias)
        return self.activated(made, function, f"{node}.act") if function else made

    def scale(self, node: str, spelling: str, channels: int) -> Array:
        """What the graph multiplies by after the convolutions."""
        if spelling == "none":
            return np.ones(channels, np.float32)
        if self.half:
            # The quotient of a weight and one of these is exact in float16.
            return np.array(self.random.choices([0.25, 0.5, 1.0], k=channels), np.float32)
        self.scaled.add(node)
        return np.array([self.random.uniform(0.3, 3.0) for _ in range(channels)], np.float32)

    # Both ends.

    def picture(self) -> Value:
        """The input, turned and normalised, as (1, 3, H, W)."""
        form, size = self.form, self.form.size
        steps = ["reverse"] if form.reversed else []
        if form.mean or form.std:
            steps.insert(self.random.randrange(len(steps) + 1), "normalise")
        shape = (1, size, size, 3) if form.channels_last else (1, 3, size, size)
        value = Value(INPUT, shape)
        for step in steps:
            if self.pick("place") == "after transpose":
                value = self.channels_first(value)
            axis = value.shape.index(3)
            if step == "reverse":
                value = self.reverse(value, axis)
            else:
                is_turned = form.reversed and steps[0] == "reverse"
                value = self.normalise(value, axis, -1 if is_turned else 1)
        return self.channels_first(value)

    def channels_first(self, value: Value) -> Value:
        if value.shape[1] == 3:
            return value
        N, H, W, C = value.shape
        return Value(self.transposed(value.name, 0, 3, 1, 2), (N, C, H, W))

    def reverse(self, value: Value, axis: int) -> Value:
        if self.pick("reverse") == "split":
            return self.concat(self.parts(value, axis, [1, 1, 1])[::-1], axis)
        places = self.integers(2, 1, 0)
        if self.is_onnx:
            name = self.one("Gather", value.name, places, axis=axis)
        else:
            name = self.one("Gather", value.name, places, self.integer(axis))
        return Value(name, value.shape)

    def normalise(self, value: Value, axis: int, order: int) -> Value:
        mean, std = (
            np.array(one or (empty,) * 3)[::order]
            for one, empty in ((self.form.mean, 0.0), (self.form.std, 1.0))
        )
        name = value.name
        if self.pick("normalise") == "multiply-add":
            if self.form.std:
                name = self.times(name, self.beside(1 / std, value, axis))
            if self.form.mean:
                name = self.plus(name, self.beside(-mean / std, value, axis))
        else:
            if self.form.mean:
                name = self.minus(name, self.beside(mean, value, axis))
            if self.form.std:
                name = self.over(name, self.beside(std, value, axis))
        return Value(name, value.shape)

    def classifier(self, params: Mapping[str, Array], value: Value) -> str:
        """Pooled features -> logits."""
        weight, bias = params["classifier.weight"], params["classifier.bias"]
        allowed = ["matmul", "convolution", *(["gemm"] if self.is_onnx else [])]
        spelling = self.pick("classifier", *allowed)
        if spelling == "convolution":
            if len(value.shape) == 2:
                value = self.reshaped(value, (*value.shape, 1, 1))
            weight = np.ascontiguousarray(weight.T[:, :, None, None])
            made = self.convolve("classifier.weight", value, weight, bias, "classifier")
            return made.name if self.maybe() else self.reshaped(made, made.shape[:2]).name
        if len(value.shape) == 4:
            value = self.reshaped(value, value.shape[:2])
        turned = self.maybe()
        matrix = self.weight("classifier.weight", weight.T if turned else weight)
        if spelling == "gemm":
            inputs = [value.name, matrix, self.constant(bias)]
            return self.one("Gemm", *inputs, role="classifier", transB=int(turned))
        flags = {} if self.is_onnx else {"transpose_a": False, "transpose_b": turned}
        if self.is_onnx and turned:
            matrix = self.transposed(matrix, 1, 0)
        made_name = self.one("MatMul", value.name, matrix, role="classifier", **flags)
        logits = Value(made_name, (1, len(bias)))
        return self.plus(made_name, self.beside(bias, logits, 1))


def write(
    arch: Architecture,
    dialect: Dialect,
    params: Mapping[str, Array],
    form: Form = Form(),
    *,
    seed: int = 0,
    fixed: Mapping[str, str] | None = None,
) -> Written:
    """Folded parameters -> a checkpoint whose operations compute the same.

    Args:
        dialect: folded.
        params: in float16's precision where the form is ``half``.
        seed: of the spellings that are not fixed.
        fixed: see ``Operations``.
    """
    writer = NetworkWriter(form.container, seed, form.half, fixed or {}, dialect=dialect, form=form)
    logits = writer.network(arch, params)
    side = 0 if form.free else form.size
    space = (side, side, 3) if form.channels_last else (3, side, side)
    operations = tuple(writer.operations) if fixed else writer.in_any_order()
    topology = Topology({INPUT: (form.batch, *space)}, (logits,), operations)
    checkpoint = Checkpoint(form.container, writer.tensors, {}, Path("net"), 0, "", topology)
    return Written(checkpoint, writer.made_of, frozenset(writer.scaled), writer.roles)
