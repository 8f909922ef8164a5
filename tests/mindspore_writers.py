"""MindSpore checkpoints as bytes, written field by field: what the reader's tests read back."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES = {
    "float64": "Float64",
    "float32": "Float32",
    "float16": "Float16",
    "int64": "Int64",
    "int32": "Int32",
    "int16": "Int16",
    "int8": "Int8",
    "uint8": "UInt8",
    "bool": "Bool",
}


def varint(value: int) -> bytes:
    """Whole number -> seven bits a byte, the lowest first."""
    value %= 2**64
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])


def field(number: int, value: int | bytes) -> bytes:
    """One field: a varint, or bytes after their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def tensor(shape: tuple[int, ...], scalar: str, content: bytes, *, packed: bool = False) -> bytes:
    """Sizes, element type and bytes -> the message of a tensor, whatever they say."""
    sizes = [field(1, size) for size in shape]
    if packed:
        sizes = [field(1, b"".join(map(varint, shape)))]
    return b"".join(sizes) + field(2, scalar.encode()) + field(3, content)


def entry(name: str, *tensor_message: bytes) -> bytes:
    """Name and the message of a tensor -> an entry of the checkpoint."""
    return field(1, field(1, name.encode()) + b"".join(field(2, m) for m in tensor_message))


def mindspore_bytes(
    arrays: Mapping[str, NDArray[Any]],
    *,
    packed: bool = False,
    parts: int = 1,
    crc: bool = False,
) -> bytes:
    """Arrays -> a checkpoint, each parameter in one entry or in several, as ``save_checkpoint``.

    A scalar has the sizes [0]; ``crc`` is that function's ``crc_check``.
    """
    data = b""
    for name, array in arrays.items():
        shape, scalar = array.shape or (0,), DTYPES[array.dtype.name]
        values = array.astype(array.dtype.newbyteorder("<")).reshape(-1)
        for piece in np.array_split(values, min(parts, max(1, values.size))):
            data += entry(name, tensor(shape, scalar, piece.tobytes(), packed=packed))
    if crc:
        data += b"crc_num" + zlib.crc32(data).to_bytes(10, "big")
    return data
