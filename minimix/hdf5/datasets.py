"""Datasets: their type and shape, and where each piece of their data lies.

Source: HDF5 File Format Specification 3.0, IV.A.2.b, d, i and l (space, type, layout, filters).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from minimix.hdf5 import headers
from minimix.hdf5.chunks import Chunk, chunks
from minimix.hdf5.headers import Message
from minimix.hdf5.source import UNDEFINED, Cursor, RefusedError, Source
from minimix.limits import in_force

MAX_EXPANSION = 4
"""Bytes of parameters in memory, as float32, per byte of their file."""

_MAX_RANK = 8
_KINDS = {0: "int", 1: "float", 3: "texts", 4: "bits", 5: "opaque", 6: "a compound type"}
_KINDS |= {7: "references", 8: "an enumeration", 9: "variable-length data", 10: "arrays"}
_FILTERS = {1: "gzip", 2: "shuffle"}


def _float(order: int, size: int, mantissa: int, exponent: int) -> bytes:
    """The rest of a floating-point type's message, behind its class and version."""
    bits = 8 * size
    return struct.pack(
        "<BBBIHHBBBBI",
        0x20 | order, bits - 1, 0, size, 0, bits, mantissa, exponent, 0, mantissa,
        2 ** (exponent - 1) - 1,
    )  # fmt: skip


_TYPES: dict[tuple[int, bytes], np.dtype[Any]] = {
    (1, _float(0, 4, 23, 8)): np.dtype("<f4"),
    (1, _float(1, 4, 23, 8)): np.dtype(">f4"),
    (1, _float(0, 2, 10, 5)): np.dtype("<f2"),
    (1, _float(1, 2, 10, 5)): np.dtype(">f2"),
    (0, struct.pack("<BBBIHH", 0, 0, 0, 1, 0, 8)): np.dtype("u1"),
}
"""(class, rest of the message) of each type that is read: IEEE's two, and bytes."""


@dataclass(frozen=True)
class Dataset:
    """An array in a file.

    Attributes:
        chunks: cover it without gap; one of the whole shape where it is contiguous.
        filters: in the order in which the writer applied them.
    """

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]
    chunk_shape: tuple[int, ...]
    filters: tuple[str, ...]


def described(source: Source, address: int, name: str) -> Dataset:
    """Address of a dataset's header -> what it is; nothing of its data is read.

    Raises:
        RefusedError: it is no dataset, of a type that no model file has, resizable, virtual,
            compact, not wholly in the file, or filtered by other than shuffle and gzip.
    """
    allowed = {headers.SPACE, headers.TYPE, headers.LAYOUT, headers.FILTERS}
    found: dict[int, Message] = {}
    for message in headers.messages(source, address, name, allowed):
        if found.setdefault(message.type, message) is not message:
            raise RefusedError(f"{name}: two messages of type {message.type:#x}")
    for needed in (headers.SPACE, headers.TYPE, headers.LAYOUT):
        if needed not in found:
            raise RefusedError(f"{name}: no message of type {needed:#x}: expected a dataset")
    dtype = _element(name, found[headers.TYPE].body)
    shape = _shape(Cursor(found[headers.SPACE].body, f"{name}: shape"))
    filters = _filters(found.get(headers.FILTERS), name)
    return _laid_out(source, Cursor(found[headers.LAYOUT].body, name), dtype, shape, filters)


def _element(name: str, body: bytes) -> np.dtype[Any]:
    class_ = body[0] & 15 if body else -1
    for (known, rest), dtype in _TYPES.items():
        if class_ == known and body[1:].startswith(rest):
            return dtype
    size = 8 * int.from_bytes(body[4:8], "little") if class_ in (0, 1) else ""
    found = f"{_KINDS.get(class_, 'another type')}{size}"
    raise RefusedError(f"{name}: expected float32 or float16, found {found}")


def _shape(cursor: Cursor) -> tuple[int, ...]:
    version, rank, flags = (cursor.number(1) for _ in range(3))
    if version not in (1, 2) or flags > 1 or rank > _MAX_RANK:
        raise RefusedError(f"{cursor.what}: version {version}, {rank} axes, flags {flags}")
    kind = cursor.take(5)[0] if version == 1 else cursor.number(1)
    if rank == 0 or (version == 2 and kind != 1):
        raise RefusedError(f"{cursor.what}: expected an array")
    shape = tuple(cursor.number(8) for _ in range(rank))
    if flags and shape != tuple(cursor.number(8) for _ in range(rank)):
        raise RefusedError(f"{cursor.what}: can be resized; expected a fixed one")
    return shape


def _filters(message: Message | None, name: str) -> tuple[str, ...]:
    if message is None:
        return ()
    cursor = Cursor(message.body, f"{name}: filters")
    version, count = cursor.number(1), cursor.number(1)
    if version not in (1, 2) or count > len(_FILTERS):
        raise RefusedError(f"{cursor.what}: {count} of version {version}")
    cursor.take(6 if version == 1 else 0)
    found = []
    for _ in range(count):
        number = cursor.number(2)
        if number not in _FILTERS:
            known = " and ".join(_FILTERS.values())
            raise RefusedError(f"{name}: filter {number}; expected none but {known}")
        length = cursor.number(2) if version == 1 else 0
        cursor.take(2)
        values = cursor.number(2)
        cursor.take(length + 4 * values + 4 * (values % 2 if version == 1 else 0))
        found.append(_FILTERS[number])
    if len(set(found)) != len(found):
        raise RefusedError(f"{name}: the same filter twice")
    return tuple(found)


def _laid_out(
    source: Source, cursor: Cursor, dtype: np.dtype[Any], shape: tuple[int, ...], filters: Any
) -> Dataset:
    name, nbytes = cursor.what, prod(shape) * dtype.itemsize
    version, class_ = cursor.number(1), cursor.number(1)
    if version not in (3, 4, 5) or class_ not in (1, 2):
        kind = {0: "compact", 3: "virtual"}.get(class_, "old or new")
        raise RefusedError(f"{name}: expected an ordinary dataset; its layout is {kind}")
    if class_ == 2:
        sizes, pieces = chunks(source, cursor, version, shape, dtype.itemsize, bool(filters))
        return Dataset(name, dtype, shape, pieces, sizes, filters)
    address, size = cursor.number(8), cursor.number(8)
    if address == UNDEFINED or size != nbytes or address + size > source.size_bytes or filters:
        raise RefusedError(f"{name}: its {nbytes} bytes are not in the file")
    return Dataset(name, dtype, shape, (Chunk((0,) * len(shape), address, size, 0),), shape, ())


def check_bounds(datasets: list[Dataset], source: Source) -> None:
    """Check that what a file declares is in proportion to its size, before any of it is read.

    Raises:
        RefusedError: pieces are used several times, or there are more than ``MAX_EXPANSION`` bytes
            of float32 per byte of the file.
    """
    stored = declared = 0
    for dataset in datasets:
        stored += sum(chunk.size_bytes for chunk in dataset.chunks)
        declared += prod(dataset.shape) * max(dataset.dtype.itemsize, 4)
    if stored > source.size_bytes:
        raise RefusedError(f"{stored} bytes of data in a file of {source.size_bytes}")
    most = in_force("MINIMIX_MAX_EXPANSION", MAX_EXPANSION)
    if declared > most * source.size_bytes:
        raise RefusedError(
            f"{declared} bytes of data in a file of {source.size_bytes}; at most {most} per byte "
            "of the file are read. If you trust it, raise MINIMIX_MAX_EXPANSION"
        )
