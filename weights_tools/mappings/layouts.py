"""Array layouts of other frameworks, turned into ours and back.

Ours: convolutions (K, K, Cin, Cout), depthwise (K, K, C), pointwise and linear (Cin, Cout).
"""

from __future__ import annotations

import numpy as np

from minimix.arrays import Array
from minimix.operators import Conv, Linear, MixConv, Operator, Pointwise


def from_oihw(weight: Array, operator: Operator) -> Array:
    """PyTorch's and MindSpore's layout -> ours, contiguous.

    (Cout, Cin, K, K) for convolutions, (C, 1, K, K) depthwise, (Cout, Cin, 1, 1) pointwise,
    (Cout, Cin) linear.  Arrays of other operators, and of other shapes than these, are returned
    as they are, for the caller to compare.

    >>> from_oihw(np.zeros((6, 1, 5, 5)), MixConv((5,))).shape
    (5, 5, 6)
    """
    match operator:
        case MixConv() if weight.ndim == 4 and weight.shape[1] == 1:
            weight = weight[:, 0].transpose(1, 2, 0)
        case Conv() if weight.ndim == 4:
            weight = weight.transpose(2, 3, 1, 0)
        case Pointwise() if weight.ndim == 4 and weight.shape[2:] == (1, 1):
            weight = weight[:, :, 0, 0].T
        case Linear():
            weight = weight.T
    return np.ascontiguousarray(weight)


def to_oihw(weight: Array, operator: Operator) -> Array:
    """Ours -> PyTorch's layout, contiguous: the inverse of ``from_oihw``.

    >>> to_oihw(np.zeros((5, 5, 6)), MixConv((5,))).shape
    (6, 1, 5, 5)
    """
    match operator:
        case MixConv():
            weight = weight.transpose(2, 0, 1)[:, None]
        case Conv():
            weight = weight.transpose(3, 2, 0, 1)
        case Pointwise():
            weight = weight.T[:, :, None, None]
        case Linear():
            weight = weight.T
    return np.ascontiguousarray(weight)
