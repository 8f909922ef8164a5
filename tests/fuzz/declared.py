"""What a file declares, told from its bytes alone: the oracle of the fuzzing.

Nothing here or in the oracles knows ``weights_tools``: they use the standard library's own
unpickler, zipfile, json and XML, and plain loops.  They only see files that a reader accepted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product
from math import prod

Files = dict[str, bytes]

ITEM_BYTES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint8": 1,
    "bool": 1,
}


class DamagedError(Exception):
    """The file breaks a rule of its container: no reader may accept it."""


class UndecidedError(Exception):
    """This oracle does not know what the file declares."""


@dataclass(frozen=True)
class Stored:
    """One tensor as it lies in a file: ``bits`` in C order, little-endian."""

    dtype: str
    shape: tuple[int, ...]
    bits: bytes

    def __post_init__(self) -> None:
        require(
            len(self.bits) == prod(self.shape) * ITEM_BYTES[self.dtype],
            f"{len(self.bits)} bytes for {self.dtype} {self.shape}",
        )

    def as_array(self) -> tuple[str, tuple[int, ...], bytes]:
        """Element type, shape and bytes of the NumPy array that holds these values."""
        if self.dtype == "bfloat16":
            pairs = zip(self.bits[::2], self.bits[1::2], strict=True)
            return "float32", self.shape, b"".join(bytes((0, 0, *pair)) for pair in pairs)
        if self.dtype == "bool":
            return "bool", self.shape, bytes(bit != 0 for bit in self.bits)
        return self.dtype, self.shape, self.bits


Declared = dict[str, Stored]
Oracle = Callable[[Files], Declared]


def require(holds: bool, problem: str) -> None:
    """Raise ``DamagedError`` unless a rule of the container holds."""
    if not holds:
        raise DamagedError(problem)


def inside(data: bytes, start: int, size: int, what: str) -> bytes:
    """Return ``size`` bytes from ``start``, all of which must be there."""
    require(0 <= start and 0 <= size and start + size <= len(data), f"{what} leaves the file")
    return data[start : start + size]


def gathered(
    data: bytes, item: int, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
) -> bytes:
    """Elements of ``item`` bytes, one by one in C order; offset and strides in elements."""
    found = []
    for index in product(*map(range, shape)):
        at = offset + sum(i * stride for i, stride in zip(index, strides, strict=True))
        found.append(inside(data, at * item, item, "an element"))
    return b"".join(found)


def byteswapped(bits: bytes, item: int) -> bytes:
    """Each run of ``item`` bytes turned around."""
    return b"".join(bits[at : at + item][::-1] for at in range(0, len(bits), item))
