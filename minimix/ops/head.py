"""Operators that look at the whole picture or end the network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minimix.arrays import Array
from minimix.ops.pointwise import sigmoid


def global_average_pool(x: Array) -> Array:
    """(N, H, W, C) -> (N, C).  The mean over all pixels.

    >>> global_average_pool(np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1))
    array([[1.5]], dtype=float32)
    """
    mean: Array = x.mean(axis=(1, 2))
    return mean


def squeeze_excite_gates(
    x: Array,
    reduce_weight: Array,
    reduce_bias: Array,
    expand_weight: Array,
    expand_bias: Array,
    *,
    activation: Callable[[Array], Array],
) -> Array:
    """(N, H, W, C), (C, R), (R,), (R, C), (C,) -> (N, C).  One number in 0..1 per channel.

    ``gates = sigmoid(activation(mean(x) @ reduce + reduce_bias) @ expand + expand_bias)``
    Source: Hu et al., "Squeeze-and-Excitation Networks", CVPR 2018, section 3.
    """
    squeezed = activation(global_average_pool(x) @ reduce_weight + reduce_bias)
    return sigmoid(squeezed @ expand_weight + expand_bias)


def squeeze_excite(
    x: Array,
    reduce_weight: Array,
    reduce_bias: Array,
    expand_weight: Array,
    expand_bias: Array,
    *,
    activation: Callable[[Array], Array],
) -> Array:
    """(N, H, W, C), (C, R), (R,), (R, C), (C,) -> (N, H, W, C).  Each channel times its gate.

    >>> x, zero = np.ones((1, 2, 2, 1), np.float32), np.zeros((1, 1), np.float32)
    >>> squeeze_excite(x, zero, zero[0], zero, zero[0], activation=sigmoid)[0, 0, 0]
    array([0.5], dtype=float32)
    """
    gates = squeeze_excite_gates(
        x, reduce_weight, reduce_bias, expand_weight, expand_bias, activation=activation
    )
    return x * gates[:, None, None, :]


def linear(x: Array, weight: Array, bias: Array) -> Array:
    """(N, Cin), (Cin, Cout), (Cout,) -> (N, Cout).  A matrix product and a bias.

    >>> linear(np.ones((1, 2), np.float32), np.ones((2, 1), np.float32), np.ones(1, np.float32))
    array([[3.]], dtype=float32)
    """
    y: Array = x @ weight + bias
    return y


def softmax(logits: Array) -> Array:
    """(N, classes) -> (N, classes).  Probabilities: ``exp(x) / sum(exp(x))``, without overflow.

    >>> softmax(np.array([[1000.0, 1000.0]], np.float32))
    array([[0.5, 0.5]], dtype=float32)
    """
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Array = e / e.sum(axis=-1, keepdims=True)
    return probabilities
