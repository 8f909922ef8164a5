"""Sums, products and functions of values: on numbers they are worked out, on features they mean
a scale, a shift, an activation, gates or a residual connection.

Exports of TensorFlow-like padding compute their pads from the features' height and width.  With
the size of the picture known these are numbers like any others, and are then held against the
padding that they must be.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import prod

import numpy as np

from weights_tools.mappings.graphs.combine import activated, product, stepped, total
from weights_tools.mappings.graphs.reading import Call, Handler
from weights_tools.mappings.graphs.values import Action, Constant, Features, Sigmoid, Value
from weights_tools.readers.checkpoint import Array, shown

MAX_ELEMENTS = 64
"""The most elements that are worked out: those of sizes and axes, never those of weights."""

Function = Callable[..., Array]


def _small(call: Call) -> list[Array] | None:
    """The inputs of arithmetic on numbers; None where features are among them."""
    arrays = call.arrays()
    if arrays is not None and sum(array.size for array in arrays) > MAX_ELEMENTS:
        raise ValueError("arithmetic on large constants; fold constants on export")
    return arrays


def _worked_out(call: Call, function: Function, count: int) -> list[Value] | None:
    arrays = _small(call)
    if arrays is None:
        return None
    if len(arrays) != count:
        raise ValueError(f"has {len(arrays)} inputs, expected {count}")
    with np.errstate(all="ignore"):
        return [call.made(np.asarray(function(*arrays)))]


def numbers_only(function: Function, count: int) -> Handler:
    """Function of ``count`` arrays -> the handler of an operation on numbers."""

    def handler(call: Call) -> list[Value]:
        made = _worked_out(call, function, count)
        if made is None:
            raise ValueError("is applied to features; a MixNet applies it to sizes only")
        return made

    return handler


def multiply(call: Call) -> list[Value]:
    """A product of numbers, a scale, a swish, or the gates of squeeze-excite."""
    return _worked_out(call, np.multiply, 2) or [product(call.value(0), call.value(1))]


def add(call: Call) -> list[Value]:
    """A sum of numbers, a shift, or a residual connection."""
    return _worked_out(call, np.add, 2) or [total(call.value(0), call.value(1))]


def _by_constant(call: Call, action: Action) -> list[Value]:
    return [stepped(call.features(), action, call.constant(1, f"what it {action}s by"))]


def subtract(call: Call) -> list[Value]:
    """A difference of numbers, or a shift."""
    return _worked_out(call, np.subtract, 2) or _by_constant(call, "subtract")


def _whole_or_not(left: Array, right: Array) -> Array:
    if left.dtype.kind not in "iu":
        return np.asarray(left / right)
    if not np.all(right):
        raise ValueError("divides a whole number by zero")
    # Rounds down, as OpenVINO does; ONNX rounds towards zero, alike for sizes.
    return np.asarray(left // right)


def divide(call: Call) -> list[Value]:
    """A quotient of numbers, or a scale."""
    return _worked_out(call, _whole_or_not, 2) or _by_constant(call, "divide")


def clip(call: Call) -> list[Value]:
    """Clip: number, lowest, highest, or attributes in older files; Clamp: attributes."""
    bounds = [
        call.constant(position, name).array if call.has(position) else call.real(name, edge)
        for position, name, edge in ((1, "min", -1e38), (2, "max", 1e38))
    ]
    array = call.constant(0, "what is clipped").array
    if array.size > MAX_ELEMENTS or any(np.size(bound) != 1 for bound in bounds):
        raise ValueError(f"clips shape {array.shape}; expected sizes, and one number as each bound")
    low, high = (float(np.reshape(bound, ())) for bound in bounds)
    with np.errstate(all="ignore"):
        return [call.made(np.clip(array, low, high).astype(array.dtype))]


def filled(call: Call) -> list[Value]:
    """ConstantOfShape: a shape; its value is a tensor of one element, zero without it."""
    sizes = call.numbers(0, "the shape")
    value = call.tensor("value")
    if not _is_small(sizes):
        raise ValueError(f"fills shape {tuple(sizes[:8])}; expected a few numbers")
    if value is None:
        return [call.made(np.zeros(sizes, np.float32))]
    if value.array.size != 1:
        raise ValueError(f"fills with shape {value.array.shape}; expected one number")
    return [call.made(np.full(sizes, value.array.reshape(()), value.array.dtype))]


def repeated(call: Call) -> list[Value]:
    """Broadcast: numbers, and the sizes that they are repeated to."""
    array, sizes = call.constant(0, "what is repeated").array, call.numbers(1, "the shape")
    if not _is_small(sizes) or call.text("mode", "numpy") != "numpy":
        raise ValueError(
            f"repeats to shape {tuple(sizes[:8])}, mode {shown(call.text('mode', 'numpy'))}; "
            "expected a few numbers, mode 'numpy'"
        )
    return [call.made(np.broadcast_to(array, sizes))]


def _is_small(sizes: Sequence[int]) -> bool:
    return all(size >= 0 for size in sizes) and prod(sizes) <= MAX_ELEMENTS


def counted(call: Call) -> list[Value]:
    """Range: the whole numbers from the first to before the last, in steps; axes of a mean."""
    first, last, step = (call.number(n, what) for n, what in enumerate(("start", "stop", "step")))
    # Axes are small; a range of any numbers can be too long for Python to measure.
    if not step or max(abs(first), abs(last)) > MAX_ELEMENTS:
        raise ValueError(f"counts from {first} to {last} by {step}; expected a few numbers")
    return [call.made(np.arange(first, last, step, dtype=np.int64))]


def relu(call: Call) -> list[Value]:
    """ReLU of a convolution."""
    return [activated(call.features(), "relu")]


def sigmoid(call: Call) -> list[Value]:
    """The logistic function."""
    features = call.features()
    return [Features(Sigmoid(features.of), features.shape, features.axis)]


def swish(call: Call) -> list[Value]:
    """Swish of a convolution; its beta, as ONNX's alpha, is 1."""
    beta = call.constant(1, "beta").array if call.has(1) else np.array(call.real("alpha", 1.0))
    if beta.size != 1 or float(beta.reshape(())) != 1.0:
        raise ValueError("is a swish with another beta than 1")
    return [activated(call.features(), "swish")]


def _batch_norm(call: Call, features: Features, first: int, eps: float) -> list[Value]:
    """Gamma, beta, mean and variance from input ``first`` on."""
    gamma, beta, mean, variance = (
        _beside(call.constant(first + n, name), features)
        for n, name in enumerate(("gamma", "beta", "the mean", "the variance"))
    )
    made = stepped(features, "subtract", mean)
    made = stepped(made, "standardise", variance, eps)
    return [stepped(stepped(made, "multiply", gamma), "add", beta)]


def _beside(constant: Constant, features: Features) -> Constant:
    """Constant (C,) -> the same as it broadcasts beside features."""
    if constant.array.ndim != 1:
        raise ValueError(f"has a constant of shape {constant.array.shape}; expected one axis")
    shape = [1] * len(features.shape)
    shape[features.axis] = constant.array.size
    return Constant(constant.array.reshape(shape), constant.names)


def onnx_batch_norm(call: Call) -> list[Value]:
    """BatchNormalization: features, gamma, beta, mean, variance."""
    if call.is_true("training_mode") or len(list(filter(None, call.operation.outputs))) > 1:
        raise ValueError("batch norm that trains; export the network for evaluation")
    return _batch_norm(call, call.features(), 1, call.real("epsilon", 1e-5))


def openvino_batch_norm(call: Call) -> list[Value]:
    """BatchNormInference: features, gamma, beta, mean, variance; opset 1 has features third."""
    eps = call.real("epsilon")
    if isinstance(call.value(0), Features):
        return _batch_norm(call, call.features(), 1, eps)
    moved = replace(call, inputs=(*call.inputs[2:3], *call.inputs[:2], *call.inputs[3:]))
    return _batch_norm(moved, moved.features(), 1, eps)
