"""The NumPy reference operators: the specification that every other engine is held against.

Plain functions on arrays, usable on their own: ``minimix.ops.mixconv(x, [w3, w5])``.  The table
``OPS`` says which function computes which operator of a graph.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from minimix.arrays import Array
from minimix.fused import FusedPointwise, Gates
from minimix.operators import (
    Activation,
    Add,
    BatchNorm,
    Conv,
    GlobalAveragePool,
    Linear,
    MixConv,
    Operator,
    Pointwise,
    SqueezeExcite,
)
from minimix.ops.conv import conv2d, depthwise, mixconv, pad2d
from minimix.ops.head import (
    global_average_pool,
    linear,
    softmax,
    squeeze_excite,
    squeeze_excite_gates,
)
from minimix.ops.pointwise import batch_norm, pointwise, relu, sigmoid, swish

__all__ = [
    "ACTIVATIONS",
    "OPS",
    "Array",
    "batch_norm",
    "conv2d",
    "depthwise",
    "global_average_pool",
    "linear",
    "mixconv",
    "pad2d",
    "pointwise",
    "relu",
    "run_operator",
    "sigmoid",
    "softmax",
    "squeeze_excite",
    "squeeze_excite_gates",
    "swish",
]

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {"relu": relu, "swish": swish}
"""The activation functions by the name that graphs use."""

Arrays = Sequence[Array]


def _finished(y: Array, op: Conv | MixConv | Pointwise, bias: Arrays) -> Array:
    y = y + bias[0] if bias else y
    return ACTIVATIONS[op.activation](y) if op.activation else y


def _conv(op: Conv, params: Arrays, x: Array) -> Array:
    weight, *bias = params
    return _finished(conv2d(x, weight, stride=op.stride, padding=op.padding), op, bias)


def _pointwise(op: Pointwise, params: Arrays, x: Array) -> Array:
    return _finished(pointwise(x, params[: op.groups]), op, params[op.groups :])


def _mixconv(op: MixConv, params: Arrays, x: Array) -> Array:
    groups = len(op.kernel_sizes)
    y = mixconv(x, params[:groups], stride=op.stride, padding=op.padding, dilations=op.dilations)
    return _finished(y, op, params[groups:])


def _gates(op: SqueezeExcite, params: Arrays, x: Array) -> Array:
    return squeeze_excite_gates(x, *params, activation=ACTIVATIONS[op.activation])


def _squeeze_excite(op: SqueezeExcite, params: Arrays, x: Array) -> Array:
    return squeeze_excite(x, *params, activation=ACTIVATIONS[op.activation])


def _fused_pointwise(op: FusedPointwise, params: Arrays, x: Array, *more: Array) -> Array:
    others = list(more)
    y = _pointwise(op, params, x * others.pop(0)[:, None, None, :] if op.gated else x)
    y = y + others.pop(0) if op.residual else y
    return global_average_pool(y) if op.pool else y


OPS: dict[type[Operator], Callable[..., Array]] = {
    Conv: _conv,
    Pointwise: _pointwise,
    FusedPointwise: _fused_pointwise,
    MixConv: _mixconv,
    BatchNorm: lambda op, params, x: batch_norm(x, *params, eps=op.eps),
    Activation: lambda op, params, x: ACTIVATIONS[op.function](x),
    SqueezeExcite: _squeeze_excite,
    Gates: _gates,
    Add: lambda op, params, x, y: x + y,
    GlobalAveragePool: lambda op, params, x: global_average_pool(x),
    Linear: lambda op, params, x: linear(x, *params),
}
"""Operator -> function of (operator, its parameters in the order of ``param_shapes``, inputs)."""


def run_operator(op: Operator, params: Arrays, *inputs: Array) -> Array:
    """Compute one operator of a graph.

    >>> import numpy as np
    >>> run_operator(Activation("relu"), (), np.array([-1.0, 1.0], np.float32))
    array([0., 1.], dtype=float32)
    """
    return OPS[type(op)](op, params, *inputs)
