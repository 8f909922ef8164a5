"""OpenVINO's and ONNX's operations -> the values of a MixNet.

A handler takes an operation with the values it reads and gives the values it makes.  An operation
without a handler, or one used as no MixNet uses it, is an error that names it.
Sources: OpenVINO's operation set specifications; ONNX's operator schemas.
"""

from __future__ import annotations

import numpy as np

from weights_tools.mappings.graphs import arithmetic, channels, convolutions, pooled, shapes
from weights_tools.mappings.graphs.reading import Call, Handler
from weights_tools.mappings.graphs.values import Value
from weights_tools.readers.checkpoint import shown

_BOTH: dict[str, Handler] = {
    "Add": arithmetic.add,
    "Sigmoid": arithmetic.sigmoid,
    "Swish": arithmetic.swish,
    "Concat": channels.concatenate,
    "Gather": channels.gather,
    "Floor": arithmetic.numbers_only(np.floor, 1),
    "Transpose": shapes.transpose,
    "Reshape": shapes.reshape,
    "Squeeze": shapes.squeeze,
    "Unsqueeze": shapes.unsqueeze,
}

OPENVINO: dict[str, Handler] = _BOTH | {
    "Convolution": convolutions.openvino_convolution,
    "GroupConvolution": convolutions.openvino_convolution,
    "Pad": convolutions.openvino_pad,
    "MatMul": pooled.openvino_matmul,
    "BatchNormInference": arithmetic.openvino_batch_norm,
    "ReduceMean": pooled.openvino_mean,
    "AdaptiveAvgPool": pooled.adaptive_mean,
    "AvgPool": pooled.average_pool,
    "Multiply": arithmetic.multiply,
    "Subtract": arithmetic.subtract,
    "Divide": arithmetic.divide,
    "Broadcast": arithmetic.repeated,
    "Maximum": arithmetic.numbers_only(np.maximum, 2),
    "Range": arithmetic.counted,
    "Ceiling": arithmetic.numbers_only(np.ceil, 1),
    "Clamp": arithmetic.clip,
    "ReLU": arithmetic.relu,
    "Split": channels.openvino_split,
    "VariadicSplit": channels.openvino_split,
    "Slice": channels.openvino_slice,
    "Convert": shapes.cast,
    "ShapeOf": shapes.shape,
}
"""OpenVINO's operation type -> its handler."""

ONNX: dict[str, Handler] = _BOTH | {
    "Conv": convolutions.onnx_convolution,
    "Pad": convolutions.onnx_pad,
    "MatMul": pooled.onnx_matmul,
    "Gemm": pooled.onnx_gemm,
    "BatchNormalization": arithmetic.onnx_batch_norm,
    "ReduceMean": pooled.onnx_mean,
    "GlobalAveragePool": pooled.global_mean,
    "AveragePool": pooled.average_pool,
    "Mul": arithmetic.multiply,
    "Sub": arithmetic.subtract,
    "Div": arithmetic.divide,
    "Max": arithmetic.numbers_only(np.maximum, 2),
    "Range": arithmetic.counted,
    "Ceil": arithmetic.numbers_only(np.ceil, 1),
    "Clip": arithmetic.clip,
    "ConstantOfShape": arithmetic.filled,
    "Relu": arithmetic.relu,
    "Split": channels.onnx_split,
    "Slice": channels.onnx_slice,
    "Flatten": shapes.flatten,
    "Identity": shapes.same,
    "Dropout": shapes.dropout,
    "Cast": shapes.cast,
    "Shape": shapes.shape,
}
"""ONNX's operator -> its handler."""

VOCABULARIES = {"openvino-ir": OPENVINO, "onnx": ONNX}
"""Container -> its vocabulary."""

_SOFTMAX = "gives probabilities; export the network up to what this reads, its logits"
_QUANTISED = "is quantised; export the network with floating-point weights"
_ADVICE = {
    **dict.fromkeys(("SoftMax", "Softmax", "LogSoftmax"), _SOFTMAX),
    **dict.fromkeys(("FakeQuantize", "QuantizeLinear", "DequantizeLinear"), _QUANTISED),
}
"""Operations that are known not to be read -> what to do."""


def values_of(call: Call, handlers: dict[str, Handler]) -> list[Value]:
    """Apply the handler of one operation.

    Raises:
        ValueError: there is none, or the operation is used as no MixNet uses it; names it.
    """
    operation = call.operation
    try:
        if operation.kind not in handlers:
            read = ", ".join(shown(name) for name in operation.inputs[:1])
            advice = _ADVICE.get(operation.kind, "occurs in no MixNet")
            raise ValueError(f"{advice}; it reads {read or 'nothing'}")
        made = handlers[operation.kind](call)
        wanted = sum(1 for name in operation.outputs if name)
        if len(made) < wanted:
            raise ValueError(f"makes {len(made)} values, the file names {wanted}")
    except (ValueError, TypeError, IndexError, OverflowError) as error:
        where = f"{shown(operation.name)}, a {shown(operation.kind)}"
        raise ValueError(f"{where}: {error}") from error
    return made
