"""Convolutions with spatial extent: the stem's full one, and MixConv's depthwise ones.

They are written as sums over kernel offsets: shift the padded picture by (di, dj), multiply by
the weights of that offset, add up.  That is the textbook definition with the two pixel loops
turned into array arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from minimix.arrays import Array
from minimix.dialect import Padding
from minimix.errors import GraphError
from minimix.geometry import check_extents, output_size, pad_amounts, receptive_extent


def pad2d(
    x: Array, kernel_size: int, stride: int = 1, padding: Padding = "symmetric", dilation: int = 1
) -> Array:
    """(N, H, W, C) -> (N, H + top + bottom, W + left + right, C).  Put zeros around a picture.

    >>> pad2d(np.ones((1, 4, 4, 1), np.float32), 3, stride=2, padding="same").shape
    (1, 5, 5, 1)
    """
    _, H, W, _ = x.shape
    rows, columns = (pad_amounts(n, kernel_size, stride, padding, dilation) for n in (H, W))
    return x if rows == columns == (0, 0) else np.pad(x, ((0, 0), rows, columns, (0, 0)))


def _shifts(
    x: Array, kernel_size: int, stride: int, padding: Padding, dilation: int
) -> Iterator[tuple[int, int, Array]]:
    """(di, dj, view): for each kernel offset, the input pixel under every output pixel."""
    _, H, W, _ = x.shape
    Ho, Wo = (output_size(n, kernel_size, stride, padding, dilation) for n in (H, W))
    padded = pad2d(x, kernel_size, stride, padding, dilation)
    for di in range(kernel_size):
        for dj in range(kernel_size):
            i, j = di * dilation, dj * dilation
            rows = slice(i, i + stride * (Ho - 1) + 1, stride)
            columns = slice(j, j + stride * (Wo - 1) + 1, stride)
            yield di, dj, padded[:, rows, columns]


def _check_kernel(
    operator: str, x: Array, weight: Array, stride: int, padding: Padding, dilation: int = 1
) -> None:
    if x.ndim != 4 or x.dtype.kind != "f":
        raise GraphError(
            f"{operator}: expected floating point (N, H, W, C), found {x.dtype} {x.shape}"
        )
    if stride < 1 or dilation < 1:
        raise GraphError(f"{operator}: stride {stride}, dilation {dilation}; expected 1 or more")
    rows, columns = weight.shape[:2]
    if rows != columns:
        raise GraphError(f"{operator}: a kernel of {rows}x{columns}; expected a square one")
    try:
        check_extents((rows,), (receptive_extent(rows, dilation),), padding)
    except GraphError as error:
        raise GraphError(f"{operator}: {error}") from None


def conv2d(x: Array, weight: Array, *, stride: int = 1, padding: Padding = "symmetric") -> Array:
    """(N, H, W, Cin), (K, K, Cin, Cout) -> (N, Ho, Wo, Cout).  Every output sees every channel.

    ``y[n, i, j] = sum over di, dj of x[n, i * stride + di, j * stride + dj] @ weight[di, dj]``

    Raises:
        GraphError: the channels of picture and weights differ.

    >>> conv2d(np.ones((1, 4, 4, 3), np.float32), np.ones((3, 3, 3, 1), np.float32))[0, :, :, 0]
    array([[12., 18., 18., 12.],
           [18., 27., 27., 18.],
           [18., 27., 27., 18.],
           [12., 18., 18., 12.]], dtype=float32)
    """
    K, _, Cin, Cout = weight.shape
    _check_kernel("conv2d", x, weight, stride, padding)
    if x.shape[-1] != Cin:
        raise GraphError(f"conv2d: weights for {Cin} channels, the picture has {x.shape[-1]}")
    views = [view for _, _, view in _shifts(x, K, stride, padding, 1)]
    patches = np.stack(views, axis=-2)  # (N, Ho, Wo, K * K, Cin)
    N, Ho, Wo = patches.shape[:3]
    return (patches.reshape(N * Ho * Wo, K * K * Cin) @ weight.reshape(K * K * Cin, Cout)).reshape(
        N, Ho, Wo, Cout
    )


def depthwise(
    x: Array,
    weight: Array,
    *,
    stride: int = 1,
    padding: Padding = "symmetric",
    dilation: int = 1,
) -> Array:
    """(N, H, W, C), (K, K, C) -> (N, Ho, Wo, C).  Each channel is filtered by its own kernel.

    ``y[n, i, j, c] = sum over di, dj of
    x[n, i * stride + di * dilation, j * stride + dj * dilation, c] * weight[di, dj, c]``

    Raises:
        GraphError: the channels of picture and weights differ, or an even kernel meets
            symmetric padding.

    >>> x = np.arange(4, dtype=np.float32).reshape(1, 1, 4, 1)
    >>> depthwise(x, np.ones((3, 3, 1), np.float32))[0, 0, :, 0]
    array([1., 3., 6., 5.], dtype=float32)
    """
    K, _, C = weight.shape
    _check_kernel("depthwise", x, weight, stride, padding, dilation)
    if x.shape[-1] != C:
        raise GraphError(f"depthwise: weights for {C} channels, the picture has {x.shape[-1]}")
    N, H, W, _ = x.shape
    Ho, Wo = (output_size(n, K, stride, padding, dilation) for n in (H, W))
    y = np.zeros((N, Ho, Wo, C), x.dtype)
    product = np.empty_like(y)
    for di, dj, view in _shifts(x, K, stride, padding, dilation):
        np.multiply(view, weight[di, dj], out=product)
        y += product
    return y


def mixconv(
    x: Array,
    weights: Sequence[Array],
    *,
    stride: int = 1,
    padding: Padding = "symmetric",
    dilations: Sequence[int] = (),
) -> Array:
    """(N, H, W, C), one (K, K, Cg) per group -> (N, Ho, Wo, C).  Depthwise, mixed kernel sizes.

    Split the channels, filter each group with its own kernel size, concatenate.
    ``dilations`` has one number per group; without it all are 1.
    Source: Tan & Le 2019, equation 2.

    Raises:
        GraphError: the groups' channels do not add up to C, or dilations do not match groups.

    >>> x = np.ones((1, 8, 8, 5), np.float32)
    >>> weights = [np.ones((3, 3, 2), np.float32), np.ones((5, 5, 3), np.float32)]
    >>> mixconv(x, weights)[0, 4, 4]
    array([ 9.,  9., 25., 25., 25.], dtype=float32)
    """
    channels = [weight.shape[-1] for weight in weights]
    dilations = tuple(dilations) or (1,) * len(weights)
    if sum(channels) != x.shape[-1]:
        raise GraphError(f"mixconv: groups of {channels} channels, the picture has {x.shape[-1]}")
    if len(dilations) != len(weights):
        raise GraphError(f"mixconv: {len(dilations)} dilations for {len(weights)} groups")
    slices = np.split(x, np.cumsum(channels)[:-1], axis=-1)
    return np.concatenate(
        [
            depthwise(part, weight, stride=stride, padding=padding, dilation=dilation)
            for part, weight, dilation in zip(slices, weights, dilations, strict=True)
        ],
        axis=-1,
    )
