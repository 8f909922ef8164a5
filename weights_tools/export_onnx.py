"""Model file -> ONNX, for the runtimes that read it; standard operators of opset 13.

The graph is exported with batch norm folded by our own pass, so that every runtime starts from the
same convolutions; what else can be fused is theirs to find.  The input's sides are fixed, because
the zeros that SAME padding adds depend on them; the batch is free.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import minimix
from minimix import weights
from minimix.arrays import Array
from minimix.errors import UsageError
from minimix.files import check_apart, check_free, replacing
from minimix.fused import FusedPointwise, Gates
from minimix.geometry import pad_amounts
from minimix.graph import Graph, Node
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    MixConv,
    Pointwise,
    Shape,
    SqueezeExcite,
)
from minimix.params import Params
from minimix.passes import fold_batchnorm
from weights_tools.mappings.layouts import to_oihw

OPSET = 13
"""The first with ``Split`` sizes as an input; ONNX Runtime and OpenVINO have read it since 2020."""

IR_VERSION = 7
"""Of opset 13's release, ONNX 1.8."""

INPUT = "image"
"""Name of the exported input, (N, 3, H, W)."""


def onnx_package() -> Any:
    """The onnx package, imported when it is needed.

    Raises:
        UsageError: it is not installed.
    """
    try:
        import onnx
        import onnx.helper
        import onnx.numpy_helper
    except ImportError as error:
        raise UsageError(
            f"writing ONNX needs the onnx package ({error}): pip install 'minimix[onnx]'"
        ) from error
    return onnx


class _Writer:
    """Nodes and constants of the exported graph, as they are added.

    A result bears the name of our node that it comes from, so that both can be compared.
    """

    def __init__(self, graph: Graph, params: Params, height: int, width: int) -> None:
        self.onnx = onnx_package()
        self.graph, self.params = graph, params
        self.specs = graph.infer(1, height, width)
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, name: str, array: Any) -> str:
        self.constants.append(self.onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def param(self, name: str) -> Array:
        return np.asarray(self.params[name], np.float32)

    def add(self, kind: str, inputs: Sequence[str], outputs: Sequence[str], **fields: Any) -> str:
        """Append a node named after its first result; return that name."""
        self.nodes.append(
            self.onnx.helper.make_node(kind, list(inputs), list(outputs), outputs[0], **fields)
        )
        return outputs[0]

    def activate(self, function: str | None, source: str, out: str) -> str:
        """``out`` = function(source); ``source`` itself without a function."""
        match function:
            case "relu":
                return self.add("Relu", [source], [out])
            case "swish":
                sigmoid = self.add("Sigmoid", [source], [f"{out}.sigmoid"])
                return self.add("Mul", [source, sigmoid], [out])
            case _:
                return source

    def split(self, node: Node, sizes: Sequence[int]) -> list[str]:
        """The input's channels in groups; nothing is added for one group."""
        if len(sizes) == 1:
            return list(node.inputs)
        parts = [f"{node.name}.{g}.in" for g in range(len(sizes))]
        names = [node.inputs[0], self.constant(f"{node.name}.split", np.array(sizes, np.int64))]
        self.add("Split", names, parts, axis=1)
        return parts

    def convolve(self, node: Node, parts: Sequence[str], fields: Sequence[dict[str, Any]]) -> None:
        """A convolution for each group of channels, put side by side, then the activation."""
        operator: Any = node.operator
        final = node.name if operator.activation is None else f"{node.name}.linear"
        names = [n for n in self.graph.param_names[node.name] if n.endswith("weight")]
        outs = [final] if len(parts) == 1 else [f"{node.name}.{g}.out" for g in range(len(parts))]
        first = 0
        for name, part, out, attributes in zip(names, parts, outs, fields, strict=True):
            weight = to_oihw(self.param(name), operator)
            inputs = [part, self.constant(name, weight)]
            if operator.bias:
                bias = self.param(f"{node.name}.bias")[first : first + len(weight)]
                inputs.append(self.constant(f"{name.removesuffix('weight')}bias", bias))
            first += len(weight)
            self.add("Conv", inputs, [out], **attributes)
        if len(outs) > 1:
            self.add("Concat", outs, [final], axis=1)
        self.activate(operator.activation, final, node.name)

    def dense(self, node: Node, layer: str) -> tuple[str, str]:
        """Weight and bias of a squeeze-excite's layer, which is a 1x1 convolution."""
        name = f"{node.name}.{layer}"
        weight = to_oihw(self.param(f"{name}.weight"), Pointwise(1))
        return self.constant(f"{name}.weight", weight), self.constant(
            f"{name}.bias", self.param(f"{name}.bias")
        )

    def squeeze_excite(self, node: Node, operator: SqueezeExcite) -> None:
        """Mean, two 1x1 convolutions, sigmoid, product."""
        (source,) = node.inputs
        local = f"{node.name}."
        mean = self.add("GlobalAveragePool", [source], [f"{local}mean"])
        squeezed = self.add("Conv", [mean, *self.dense(node, "reduce")], [f"{local}squeezed"])
        active = self.activate(operator.activation, squeezed, f"{local}active")
        excited = self.add("Conv", [active, *self.dense(node, "expand")], [f"{local}excited"])
        gates = self.add("Sigmoid", [excited], [f"{local}gates"])
        self.add("Mul", [source, gates], [node.name])

    def batch_norm(self, node: Node, operator: BatchNorm) -> None:
        """One that could not be folded."""
        names = [self.constant(n, self.param(n)) for n in self.graph.param_names[node.name]]
        self.add("BatchNormalization", [*node.inputs, *names], [node.name], epsilon=operator.eps)

    def node(self, node: Node) -> None:
        """Append what one of our nodes does."""
        shape = self.specs[node.inputs[0]].shape
        match node.operator:
            case FusedPointwise() | Gates():
                raise UsageError(
                    f"{node.name}: what a pass has fused has no ONNX form; export before fusing"
                )
            case Conv() as conv:
                fields = _geometry(shape, conv.kernel_size, conv.stride, conv.padding)
                self.convolve(node, node.inputs, [fields])
            case Pointwise() as pointwise:
                parts = self.split(node, [c for c, _ in pointwise.group_shapes(shape[-1])])
                self.convolve(node, parts, [{"kernel_shape": [1, 1]}] * len(parts))
            case MixConv() as mixconv:
                channels = mixconv.group_channels(shape[-1])
                taps = zip(channels, mixconv.kernel_sizes, mixconv.dilations, strict=True)
                groups = [
                    _geometry(shape, K, mixconv.stride, mixconv.padding, dilation) | {"group": C}
                    for C, K, dilation in taps
                ]
                self.convolve(node, self.split(node, channels), groups)
            case SqueezeExcite() as operator:
                self.squeeze_excite(node, operator)
            case BatchNorm() as operator:
                self.batch_norm(node, operator)
            case Activation() as activation:
                self.activate(activation.function, node.inputs[0], node.name)
            case Add():
                self.add("Add", node.inputs, [node.name])
            case GlobalAveragePool():
                mean = self.add("GlobalAveragePool", node.inputs, [f"{node.name}.mean"])
                self.add("Flatten", [mean], [node.name], axis=1)
            case Linear():
                names = [self.constant(n, self.param(n)) for n in self.graph.param_names[node.name]]
                self.add("Gemm", [*node.inputs, *names], [node.name])
            case _:
                raise UsageError(f"{node.name}: a {node.kind} has no ONNX form")


def _geometry(
    shape: Shape, kernel_size: int, stride: int, padding: Any, dilation: int = 1
) -> dict[str, Any]:
    """Attributes of a Conv; pads are top, left, bottom, right."""
    sides = [pad_amounts(size, kernel_size, stride, padding, dilation) for size in shape[1:3]]
    return {
        "kernel_shape": [kernel_size] * 2,
        "strides": [stride] * 2,
        "dilations": [dilation] * 2,
        "pads": [before for before, _ in sides] + [after for _, after in sides],
    }


def onnx_model(
    graph: Graph,
    params: Params,
    height: int,
    width: int,
    *,
    metadata: dict[str, str] | None = None,
) -> Any:
    """Graph, its parameters -> an ``onnx.ModelProto``, batch norm folded.

    The input is ``image``, (N, C, H, W) float32; outputs bear our nodes' names, maps (N, C, H, W).

    Args:
        graph: as the zoo builds it, or with batch norm folded.
        params: its parameters by full name.
        height: of the input, in pixels.
        width: of the input, in pixels.
        metadata: texts to store with the model.

    Raises:
        UsageError: the onnx package is missing, or a node has no ONNX form.
        GraphError: the size is too small.
    """
    graph, params = fold_batchnorm(graph, params)
    writer = _Writer(graph, params, height, width)
    helper, real = writer.onnx.helper, writer.onnx.TensorProto.FLOAT
    image = graph.nodes[0].name
    for node in graph.nodes[1:]:
        writer.node(node)
    shapes = {name: _nchw(writer.specs[name].shape) for name in (image, *graph.outputs)}
    made = helper.make_graph(
        writer.nodes,
        graph.name,
        [helper.make_tensor_value_info(image, real, shapes[image])],
        [helper.make_tensor_value_info(name, real, shapes[name]) for name in graph.outputs],
        writer.constants,
    )
    model = helper.make_model(
        made,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="minimix",
        producer_version=minimix.__version__,
    )
    helper.set_model_props(model, metadata or {})
    writer.onnx.checker.check_model(model)
    return model


def _nchw(shape: Shape) -> list[int | str]:
    """(1, H, W, C) or (1, C) -> ONNX's axes, the batch free."""
    _, *space, C = shape
    return ["N", C, *space]


def export(path: Path, out: Path, *, size: int | None = None, force: bool = False) -> Any:
    """Write a model file's network as ONNX; return the ``onnx.ModelProto``.

    Labels, dialect and pipeline are stored in the metadata, as JSON.

    Args:
        path: a minimix model file.
        out: the ONNX file to write.
        size: the input's side in pixels, in place of the file's own.
        force: replace ``out`` if it exists.

    Raises:
        UsageError: ``out`` exists, the size cannot be used, or the onnx package is missing.
        WeightsError: the model file cannot be read.
        OutputError: ``out`` cannot be written.
    """
    check_free(out, force=force)
    check_apart(out, path)
    onnx_package()
    file = weights.load(path)
    pipeline = file.pipeline if size is None else file.pipeline.with_size(size)
    metadata = {
        "labels": json.dumps(file.labels, ensure_ascii=False),
        "dialect": json.dumps(file.dialect.folded().to_json()),
        "pipeline": json.dumps(pipeline.to_json()),
        "license": str(file.provenance.get("license", "")),
    }
    model = onnx_model(file.graph, file.params, pipeline.size, pipeline.size, metadata=metadata)
    with replacing(out, force=force) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return model
