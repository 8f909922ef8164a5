"""How much a page may hold, and what is left out so that it does.

Inputs, kernels and samples have budgets of their own, counted as if they could not be packed;
feature maps get what these leave, once they are packed.  A page of noise stays within it too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

BASE64 = 4 / 3
"""Bytes of text for a byte of data."""

RESERVED_BYTES = 700_000
"""Of a page: its style, script and document; documents of the released networks take 300 kB."""


@dataclass(frozen=True)
class Limits:
    """What a page may hold.

    Attributes:
        page_bytes: of the whole file.
        inputs_bytes: of the exact inputs of all pictures.
        maps: feature maps of a node, at most.
        kernels: kernels of a group, at most.
        kernels_bytes: of all kernels.
        samples: of a group, for the magnifier.
        samples_bytes: of all samples.
    """

    page_bytes: int
    inputs_bytes: int
    maps: int
    kernels: int
    kernels_bytes: int
    samples: int
    samples_bytes: int

    def packed_maps_bytes(self, others_bytes: int, texts_bytes: int) -> int:
        """What is left for feature maps, beside packed buffers and data that is text already."""
        left = self.page_bytes - RESERVED_BYTES - texts_bytes
        return max(0, int(left / BASE64) - others_bytes)


DEFAULT = Limits(
    page_bytes=3_000_000,
    inputs_bytes=640_000,
    maps=24,
    kernels=24,
    kernels_bytes=150_000,
    samples=1,
    samples_bytes=450_000,
)
FULL = Limits(
    page_bytes=10_000_000,
    inputs_bytes=2_000_000,
    maps=96,
    kernels=10_000,
    kernels_bytes=1_200_000,
    samples=4,
    samples_bytes=1_800_000,
)


def largest(cap: int, budget: int, cost: Callable[[int], int]) -> int:
    """The largest n from 0 to ``cap`` whose cost, which grows with n, is within the budget.

    >>> largest(10, 50, lambda n: n * n)
    7
    """
    low, high = 0, cap
    while low < high:
        middle = (low + high + 1) // 2
        if cost(middle) <= budget:
            low = middle
        else:
            high = middle - 1
    return low
