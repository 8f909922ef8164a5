"""The mean over height and width, and what comes after it: matrix products."""

from __future__ import annotations

from weights_tools.mappings.graphs.combine import stepped
from weights_tools.mappings.graphs.reading import Call
from weights_tools.mappings.graphs.values import (
    Affine,
    Branch,
    Constant,
    Features,
    Mean,
    Value,
    word,
)


def _mean(features: Features, *, keep: bool) -> list[Value]:
    if len(features.shape) != 4:
        raise ValueError(f"a mean over shape {features.shape}, expected height and width")
    N, C = features.shape[0], features.channels
    shape = [N, 1, 1, 1]
    shape[features.axis] = C
    return [Features(Mean(features.of), *((tuple(shape), features.axis) if keep else ((N, C), 1)))]


def _spatial_mean(call: Call, *, keep: bool) -> list[Value]:
    features, axes = call.features(), call.numbers_of(1, "axes") or ()
    rank = len(features.shape)
    space = sorted(axis for axis in range(rank) if axis not in (0, features.axis))
    if sorted(axis + rank if axis < 0 else axis for axis in axes) != space:
        raise ValueError(f"a mean over the axes {tuple(axes)[:8]}, expected {tuple(space)}")
    return _mean(features, keep=keep)


def openvino_mean(call: Call) -> list[Value]:
    """ReduceMean: features, axes."""
    return _spatial_mean(call, keep=call.is_true("keep_dims"))


def onnx_mean(call: Call) -> list[Value]:
    """ReduceMean: features, axes; they were an attribute once."""
    return _spatial_mean(call, keep=call.is_true("keepdims", default=True))


def global_mean(call: Call) -> list[Value]:
    """GlobalAveragePool."""
    return _mean(call.features(), keep=True)


def adaptive_mean(call: Call) -> list[Value]:
    """AdaptiveAvgPool to one pixel."""
    if call.numbers(1, "the size") != [1, 1]:
        raise ValueError("a mean that leaves more than one pixel")
    return _mean(call.features(), keep=True)


def average_pool(call: Call) -> list[Value]:
    """AveragePool, AvgPool: a mean where its window is the whole picture."""
    features = call.features()
    kernel = call.integers("kernel_shape", call.integers("kernel"))
    pads = [*call.integers("pads"), *call.integers("pads_begin"), *call.integers("pads_end")]
    if features.axis != 1 or kernel != features.space or any(pads):
        raise ValueError(
            f"a mean over windows of {kernel[:8]}, padded by {pads[:8]}; expected all pixels, "
            f"{features.space}"
        )
    return _mean(features, keep=True)


def _matrix(features: Features, weight: Constant, *, transposed: bool) -> Features:
    """Pooled features times (Cin, Cout), or (Cout, Cin) if transposed."""
    array = weight.array if transposed else weight.array.T
    if array.ndim != 2 or 0 in array.shape or array.dtype.kind != "f":
        raise ValueError(f"a matrix of shape {array.shape} and type {array.dtype.name}")
    last = len(features.shape) - 1
    if not features.is_pooled or features.axis != last or array.shape[1] != features.channels:
        raise ValueError(
            f"{word(features)} of shape {features.shape} times a matrix for {array.shape[1]} "
            "channels; expected pooled features, channels last"
        )
    branch = Branch(features.of, array[:, :, None, None], False, 1, (0, 0, 0, 0), 1, weight.names)
    return Features(Affine((branch,)), (*features.shape[:last], array.shape[0]), last)


def openvino_matmul(call: Call) -> list[Value]:
    """MatMul of pooled features: the classifier."""
    if call.is_true("transpose_a"):
        raise ValueError("a transposed first matrix")
    weight = call.constant(1, "the weight")
    return [_matrix(call.features(), weight, transposed=call.is_true("transpose_b"))]


def onnx_matmul(call: Call) -> list[Value]:
    """MatMul of pooled features: the classifier."""
    return [_matrix(call.features(), call.constant(1, "the weight"), transposed=False)]


def onnx_gemm(call: Call) -> list[Value]:
    """Gemm: pooled features, weight, and a bias or none."""
    if call.is_true("transA") or call.real("alpha", 1.0) != 1.0 or call.real("beta", 1.0) != 1.0:
        raise ValueError("a product with transA, alpha or beta")
    weight = call.constant(1, "the weight")
    made = _matrix(call.features(), weight, transposed=call.is_true("transB"))
    if call.has(2):
        made = stepped(made, "add", call.constant(2, "the bias"))
    return [made]
