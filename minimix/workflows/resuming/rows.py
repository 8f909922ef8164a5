"""What a part holds: one row of numbers per input, and the reasons of those that failed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

LONGEST_REASON = 500
"""Characters of a reason that are kept."""

_LENGTH_BYTES = 8


@dataclass(frozen=True)
class RowType:
    """Shape and element type of one input's row."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Bytes of one row."""
        return prod(self.shape) * self.dtype.itemsize

    def empty(self, count: int) -> NDArray[Any]:
        """So many rows as they are for inputs that failed: NaN, or zero where there is none."""
        if self.dtype.kind == "f":
            return np.full((count, *self.shape), np.nan, self.dtype)
        return np.zeros((count, *self.shape), self.dtype)


@dataclass(frozen=True)
class Rows:
    """Rows of several inputs in order.

    Attributes:
        values: (N, ...), rows of failed inputs included.
        failed: position -> why there is no result.
    """

    values: NDArray[Any]
    failed: Mapping[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    @property
    def ok(self) -> NDArray[np.bool_]:
        """(N,): which inputs have a result."""
        ok = np.ones(len(self.values), np.bool_)
        ok[list(self.failed)] = False
        return ok

    @property
    def errors(self) -> list[str]:
        """A text per input, empty where it has a result."""
        return [self.failed.get(n, "") for n in range(len(self.values))]


def encode(rows: Rows) -> bytes:
    """Rows -> bytes for ``decode``: the reasons as JSON, then the numbers as they are."""
    reasons = {str(n): reason[:LONGEST_REASON] for n, reason in rows.failed.items()}
    head = json.dumps(reasons).encode()
    return len(head).to_bytes(_LENGTH_BYTES, "little") + head + rows.values.tobytes()


def decode(content: bytes, kind: RowType, count: int) -> Rows:
    """Bytes of ``encode`` -> so many rows of a known kind.

    >>> kind = RowType(np.dtype("<f4"), (2,))
    >>> decode(encode(Rows(np.ones((3, 2), "<f4"), {1: "gone"})), kind, 3).errors
    ['', 'gone', '']

    Raises:
        ValueError: they are not.
    """
    end = _LENGTH_BYTES + int.from_bytes(content[:_LENGTH_BYTES], "little")
    if len(content) != end + count * kind.size_bytes:
        raise ValueError(f"expected {count} rows of {kind.size_bytes} bytes")
    reasons = json.loads(content[_LENGTH_BYTES:end])
    if not isinstance(reasons, dict) or not all(isinstance(r, str) for r in reasons.values()):
        raise ValueError("expected a reason by position")
    failed = {int(n): reason for n, reason in reasons.items()}
    if any(not 0 <= n < count for n in failed):
        raise ValueError(f"expected positions below {count}")
    values = np.frombuffer(content, kind.dtype, offset=end).reshape(count, *kind.shape)
    return Rows(values, failed)
