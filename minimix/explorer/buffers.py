"""Arrays in a few long buffers, and references that find them there."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

ALIGNMENT = 4
"""Every array begins at a multiple of its largest element, so that the page can view it."""

COMPRESSION = 6
"""Of zlib; 9 takes three times as long for 1 % less."""

_ITEM_BYTES = {"u1": 1, "i4": 4, "f4": 4}


class Buffers:
    """Buffers that grow by the arrays that are put into them."""

    def __init__(self) -> None:
        self._parts: dict[str, list[bytes]] = {}
        self._sizes: dict[str, int] = {}

    def put(self, buffer: str, array: NDArray[Any]) -> dict[str, Any]:
        """Append an array of uint8, int32 or float32; the reference to it."""
        plain = np.ascontiguousarray(array)
        dtype = plain.dtype.newbyteorder("<").str[1:]
        offset = self._sizes.get(buffer, 0)
        content = plain.astype(f"<{dtype}", copy=False).tobytes()
        content += bytes(-len(content) % ALIGNMENT)
        self._parts.setdefault(buffer, []).append(content)
        self._sizes[buffer] = offset + len(content)
        return {"buffer": buffer, "offset": offset, "dtype": dtype, "shape": list(array.shape)}

    def packed_bytes(self) -> int:
        """Bytes of all buffers together, as the page packs them."""
        return sum(len(packed(content)) for content in self.finished().values())

    def finished(self) -> dict[str, bytes]:
        """Every buffer's bytes by name."""
        return {name: b"".join(parts) for name, parts in self._parts.items()}


def packed(content: bytes) -> bytes:
    """A buffer as its page keeps it."""
    return zlib.compress(content, COMPRESSION)


def fits(ref: Mapping[str, Any], buffers: Mapping[str, bytes]) -> bool:
    """Whether what a reference names is in the buffers."""
    content = buffers.get(ref["buffer"], b"")
    size: int = prod(ref["shape"]) * _ITEM_BYTES[ref["dtype"]]
    offset: int = ref["offset"]
    return offset % ALIGNMENT == 0 and offset + size <= len(content)


def resolve(ref: Mapping[str, Any], buffers: Mapping[str, bytes]) -> NDArray[Any]:
    """Return the array that a reference names."""
    flat = np.frombuffer(
        buffers[ref["buffer"]], f"<{ref['dtype']}", prod(ref["shape"]), ref["offset"]
    )
    return flat.reshape(ref["shape"])
