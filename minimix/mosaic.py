"""Feature maps as small pictures: another size, side by side, which ones first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from minimix.arrays import Array


def resized(plane: NDArray[Any], height: int, width: int) -> NDArray[np.float64]:
    """(H, W, ...) -> (height, width, ...): means where it shrinks, copies where it grows.

    >>> resized(np.array([[1.0, 3.0], [5.0, 7.0]]), 1, 4).tolist()
    [[3.0, 3.0, 5.0, 5.0]]
    """
    return _along(_along(np.asarray(plane, np.float64), height, 0), width, 1)


def _along(plane: NDArray[np.float64], size: int, axis: int) -> NDArray[np.float64]:
    found = plane.shape[axis]
    if size >= found:
        copies: NDArray[np.float64] = plane.take(np.arange(size) * found // size, axis)
        return copies
    # Whole pixels to each mean, so that no value is counted twice.
    edges = np.arange(size + 1) * found // size
    sums = np.add.reduceat(plane, edges[:-1], axis)
    counts = np.diff(edges).reshape([-1 if n == axis else 1 for n in range(plane.ndim)])
    means: NDArray[np.float64] = sums / counts
    return means


def fitted(height: int, width: int, side: int) -> tuple[int, int]:
    """Height and width of a map -> those of its picture: ``side`` along the longer one.

    >>> fitted(12, 24, 16)
    (8, 16)
    """
    longest = max(height, width)
    return max(1, round(height * side / longest)), max(1, round(width * side / longest))


def liveliest(output: Array, count: int) -> list[int]:
    """(1, H, W, C) -> the channels of the most energy, the mean of squares; the first on a tie.

    >>> liveliest(np.array([[[[1.0, -3.0, 2.0]]]], np.float32), 2)
    [1, 2]
    """
    energy = np.square(output, dtype=np.float64).reshape(-1, output.shape[-1]).mean(axis=0)
    return [int(c) for c in np.argsort(-energy, kind="stable")[:count]]


def side_by_side(planes: Sequence[NDArray[Any]], side: int, gap: int = 1) -> NDArray[np.float64]:
    """(H, W) each -> one row of them, ``side`` pixels high; NaN in the gaps between."""
    H, W = planes[0].shape
    height, width = fitted(H, W, side)
    between = np.full((height, gap), np.nan)
    parts: list[NDArray[np.float64]] = []
    for plane in planes:
        parts += [between] if parts else []
        parts.append(resized(plane, height, width))
    return np.concatenate(parts, axis=1)
