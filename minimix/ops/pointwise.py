"""Operators that look at one pixel at a time: 1x1 convolutions, batch norm, activations."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from minimix.arrays import Array
from minimix.errors import GraphError


def pointwise(x: Array, weights: Sequence[Array]) -> Array:
    """(N, H, W, Cin), one (Cin_g, Cout_g) per group -> (N, H, W, Cout).  A matrix product each.

    A 1x1 convolution is a matrix product over the channels; a grouped one is one per group.

    Raises:
        GraphError: the groups' input channels do not add up to Cin.

    >>> x = np.ones((1, 1, 1, 3), np.float32)
    >>> pointwise(x, [np.full((2, 1), 5, np.float32), np.full((1, 2), 7, np.float32)])[0, 0, 0]
    array([10.,  7.,  7.], dtype=float32)
    """
    channels = [weight.shape[0] for weight in weights]
    if sum(channels) != x.shape[-1]:
        raise GraphError(f"pointwise: groups of {channels} channels, the picture has {x.shape[-1]}")
    N, H, W, Cin = x.shape
    slices = np.split(x.reshape(N * H * W, Cin), np.cumsum(channels)[:-1], axis=-1)
    products = [part @ weight for part, weight in zip(slices, weights, strict=True)]
    return np.concatenate(products, axis=-1).reshape(N, H, W, -1)


def batch_norm(
    x: Array, gamma: Array, beta: Array, mean: Array, variance: Array, *, eps: float
) -> Array:
    """(..., C), four times (C,) -> (..., C).  Normalise with stored statistics, scale, shift.

    ``y = gamma * (x - mean) / sqrt(variance + eps) + beta``

    >>> one = np.ones(1, np.float32)
    >>> batch_norm(np.array([[3.0]], np.float32), 2 * one, one, one, 4 * one, eps=0.0)
    array([[3.]], dtype=float32)
    """
    scale = gamma / np.sqrt(variance + x.dtype.type(eps))
    return (x - mean) * scale + beta


def relu(x: Array) -> Array:
    """(...) -> (...).  ``max(x, 0)``; a NaN stays a NaN.

    >>> relu(np.array([-1.0, 2.0], np.float32))
    array([0., 2.], dtype=float32)
    """
    return np.maximum(x, x.dtype.type(0))


def sigmoid(x: Array) -> Array:
    """(...) -> (...).  ``1 / (1 + exp(-x))``, without overflow at either end.

    >>> sigmoid(np.array([-1000.0, 0.0, 1000.0], np.float32))
    array([0. , 0.5, 1. ], dtype=float32)
    """
    # exp of a non-positive number never overflows; the two halves share it.
    e = np.exp(-np.abs(x))
    one = x.dtype.type(1)
    return np.where(x >= 0, one, e) / (one + e)


def swish(x: Array) -> Array:
    """(...) -> (...).  ``x * sigmoid(x)``, also called SiLU (Ramachandran et al. 2017).

    >>> swish(np.array([0.0, 1.0], np.float32)).round(4)
    array([0.    , 0.7311], dtype=float32)
    """
    # Minus infinity times zero is no number; its limit is zero.
    y: Array = np.maximum(x, -np.finfo(x.dtype).max) * sigmoid(x)
    return y
