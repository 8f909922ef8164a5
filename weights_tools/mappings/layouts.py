"""Array layouts of other frameworks, turned into ours and back.

Ours: convolutions (K, K, Cin, Cout), depthwise (K, K, C), pointwise and linear (Cin, Cout).
The two layers of a squeeze-excite are 1x1 convolutions to other frameworks.  Arrays of other
operators, and of other shapes than are named here, are returned as they are, for the caller to
compare.
"""

from __future__ import annotations

import numpy as np

from minimix.arrays import Array
from minimix.operators import Conv, Linear, MixConv, Operator, Pointwise, SqueezeExcite


def from_oihw(weight: Array, operator: Operator) -> Array:
    """PyTorch's and MindSpore's layout -> ours, contiguous.

    (Cout, Cin, K, K) for convolutions, (C, 1, K, K) depthwise, (Cout, Cin, 1, 1) pointwise,
    (Cout, Cin) linear.

    >>> from_oihw(np.zeros((6, 1, 5, 5)), MixConv((5,))).shape
    (5, 5, 6)
    """
    match operator:
        case MixConv() if weight.ndim == 4 and weight.shape[1] == 1:
            weight = weight[:, 0].transpose(1, 2, 0)
        case Conv() if weight.ndim == 4:
            weight = weight.transpose(2, 3, 1, 0)
        case Pointwise() | SqueezeExcite() if weight.ndim == 4 and weight.shape[2:] == (1, 1):
            weight = weight[:, :, 0, 0].T
        case Linear():
            weight = weight.T
    return np.asarray(weight, order="C")


def to_oihw(weight: Array, operator: Operator) -> Array:
    """Ours -> PyTorch's layout, contiguous: the inverse of ``from_oihw``.

    >>> to_oihw(np.zeros((5, 5, 6)), MixConv((5,))).shape
    (6, 1, 5, 5)
    """
    match operator:
        case MixConv() if weight.ndim == 3:
            weight = weight.transpose(2, 0, 1)[:, None]
        case Conv() if weight.ndim == 4:
            weight = weight.transpose(3, 2, 0, 1)
        case Pointwise() | SqueezeExcite() if weight.ndim == 2:
            weight = weight.T[:, :, None, None]
        case Linear():
            weight = weight.T
    return np.asarray(weight, order="C")


def from_hwio(weight: Array, operator: Operator) -> Array:
    """TensorFlow's layout -> ours, contiguous; convolutions and linear layers are alike.

    (K, K, C, 1) depthwise, (1, 1, Cin, Cout) pointwise.

    >>> from_hwio(np.zeros((5, 5, 6, 1)), MixConv((5,))).shape
    (5, 5, 6)
    """
    match operator:
        case MixConv() if weight.ndim == 4 and weight.shape[3] == 1:
            weight = weight[..., 0]
        case Pointwise() | SqueezeExcite() if weight.ndim == 4 and weight.shape[:2] == (1, 1):
            weight = weight[0, 0]
    return np.asarray(weight, order="C")
