"""What can be said of a node's output in a few numbers: its statistics, its dead channels."""

from __future__ import annotations

import numpy as np

from minimix.arrays import Array


def brief(number: float) -> float:
    """A number with the seven digits that float32 has, for JSON."""
    return float(f"{number:.7g}")


def statistics(y: Array) -> dict[str, float]:
    """A whole output -> its smallest and largest value, mean, deviation and share of zeros.

    >>> statistics(np.array([[0.0, 1.0, 2.0, 0.0]], np.float32))["zeros"]
    0.5
    """
    return {
        "low": brief(y.min()),
        "high": brief(y.max()),
        "mean": brief(y.mean(dtype=np.float64)),
        "std": brief(y.std(dtype=np.float64)),
        "zeros": brief(1 - np.count_nonzero(y) / y.size),
    }


def dead_channels(y: Array, activation: str | None) -> list[int]:
    """(1, H, W, C) or (1, C) -> channels that say nothing about this picture.

    After ReLU: zero at every pixel.  After anything else: the same value at every pixel, where a
    map has more than one.
    """
    flat = y.reshape(-1, y.shape[-1])
    if activation == "relu":
        dead = ~flat.any(axis=0)
    elif len(flat) > 1:
        dead = (flat == flat[0]).all(axis=0)
    else:
        return []
    return [int(c) for c in np.flatnonzero(dead)]
