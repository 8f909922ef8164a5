"""What is shown of a node's output: its liveliest channels, its histogram."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minimix.arrays import Array
from minimix.explorer.buffers import Buffers
from minimix.explorer.format import BINS
from minimix.outputs import brief


def energies(outputs: Sequence[Array]) -> Array:
    """Outputs (1, ..., C), one per picture -> (C,): the mean of squares over all pictures."""
    squares = [
        np.square(y, dtype=np.float64).reshape(-1, y.shape[-1]).mean(axis=0) for y in outputs
    ]
    mean: Array = np.mean(squares, axis=0)
    return mean


def by_energy(energy: Array, groups: Sequence[tuple[int, int]]) -> list[list[int]]:
    """(C,), (first channel, channels) of each group -> its channels, the liveliest first."""
    return [
        [first + int(c) for c in np.argsort(-energy[first : first + channels], kind="stable")]
        for first, channels in groups
    ]


def take_turns(ranked: Sequence[Sequence[int]], count: int) -> list[int]:
    """Ranked channels of each group -> the first ``count``, the groups in turns.

    >>> take_turns([[4, 2, 3], [7, 6]], 4)
    [4, 7, 2, 6]
    """
    longest = max(map(len, ranked))
    turns = [group[rank] for rank in range(longest) for group in ranked if rank < len(group)]
    return turns[:count]


@dataclass(frozen=True)
class MapsOf:
    """A node's outputs, (1, H, W, C) per picture, and its channels in the order of showing."""

    outputs: tuple[Array, ...]
    energy: Array
    ranked: tuple[tuple[int, ...], ...]

    @property
    def pixels(self) -> int:
        """Pixels of a map."""
        _, H, W, _ = self.outputs[0].shape
        return int(H * W)

    @property
    def pictures(self) -> int:
        """How many there are of each map."""
        return len(self.outputs)

    def count(self, row_bytes: int, cap: int) -> int:
        """How many maps of a picture are shown if a row of all may take so many bytes.

        A row rather than the whole map: large maps get fewer channels than small ones, and more
        room.
        """
        return min(cap, len(self.energy), row_bytes // math.isqrt(self.pixels))

    def put(self, buffers: Buffers, count: int) -> dict[str, Any]:
        """Quantise the first maps, each channel over the range that it has in all pictures."""
        channels = take_turns(self.ranked, count)
        stacked = np.stack([y[0][..., channels] for y in self.outputs]).astype(np.float64)
        low = stacked.min(axis=(0, 1, 2)).astype(np.float32)
        high = stacked.max(axis=(0, 1, 2)).astype(np.float32)
        span = np.where(high > low, high.astype(np.float64) - low, 1.0)
        steps = np.rint((stacked - low) * (255 / span)).astype(np.uint8)
        return {
            "channels": channels,
            "energies": [brief(value) for value in self.energy[channels]],
            "low": [brief(value) for value in low],
            "high": [brief(value) for value in high],
            "values": [buffers.put("maps", np.moveaxis(picture, -1, 0)) for picture in steps],
        }


def histogram(outputs: Sequence[Array]) -> dict[str, Any]:
    """Outputs, one per picture -> how many values lie in each bin; the bins are shared."""
    low = float(min(y.min() for y in outputs))
    high = float(max(y.max() for y in outputs))
    if high == low:
        high = float(np.nextafter(np.float32(low), np.float32(np.inf)))
    scale = BINS / (high - low)
    counts = [
        np.bincount(
            np.minimum(((y.ravel().astype(np.float64) - low) * scale).astype(np.int64), BINS - 1),
            minlength=BINS,
        )
        for y in outputs
    ]
    return {"low": low, "high": high, "counts": [found.tolist() for found in counts]}
