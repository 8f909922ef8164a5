"""Large groups: links in a fractal heap, found through a B-tree of version 2.

Source: HDF5 File Format Specification 3.0, III.A.2 and III.G; sizes of the numbers in a B-tree's
nodes as ``H5B2hdr.c`` computes them.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass

from minimix.hdf5.source import UNDEFINED, Cursor, RefusedError, Source

MAX_NAME_BYTES = 1024
"""Of one link."""

_LINKS_BY_NAME = 5
_RECORD_BYTES = 11
_NODE_OVERHEAD = 10
_MAX_NODE_BYTES = 2**16
_MAX_DEPTH = 4
_MAX_BLOCK_BYTES = 2**20
_IDENTIFIER_BYTES = 7


@dataclass(frozen=True)
class _Heap:
    """Blocks by where they begin in the heap's own count of bytes."""

    starts: list[int]
    blocks: list[bytes]
    offset_width: int
    length_width: int

    def object(self, identifier: bytes, what: str) -> Cursor:
        cursor = Cursor(identifier, what)
        cursor.expect(b"\0", "kind of an object in a heap")
        offset, length = cursor.number(self.offset_width), cursor.number(self.length_width)
        n = bisect_right(self.starts, offset) - 1
        if n < 0:
            raise RefusedError(f"{what}: a link is not in its heap")
        block, at = self.blocks[n], offset - self.starts[n]
        if at + length > len(block) or length > MAX_NAME_BYTES:
            raise RefusedError(f"{what}: a link is not in its heap")
        return Cursor(block[at : at + length], what)


def heap_objects(source: Source, heap: int, index: int, most: int, what: str) -> Iterator[Cursor]:
    """Addresses of a heap and of its index by name -> the objects, one by one.

    Raises:
        RefusedError: either is damaged, or of a kind that groups of a model do not need.
    """
    blocks = _heap(source, heap, what)
    for identifier in _identifiers(source, index, most, what):
        yield blocks.object(identifier, what)


def _heap(source: Source, address: int, what: str) -> _Heap:
    cursor = source.once(address, 142, f"{what}: heap")
    cursor.expect(b"FRHP\0", "signature")
    cursor.expect(bytes([_IDENTIFIER_BYTES, 0, 0, 0]), "sizes of identifiers and filters")
    cursor.take(1)
    largest = cursor.number(4)
    cursor.take(12 * 8)
    width, first, last = cursor.number(2), cursor.number(8), cursor.number(8)
    bits, _ = cursor.number(2), cursor.number(2)
    root, rows = cursor.number(8), cursor.number(2)
    offset_width = -(-bits // 8)
    length_width = max(1, -(-min(last, largest).bit_length() // 8))
    fits = 0 < width <= 64 and 0 < first <= last <= _MAX_BLOCK_BYTES
    if not fits or 1 + offset_width + length_width > _IDENTIFIER_BYTES:
        raise RefusedError(f"{what}: a heap of unknown proportions")
    sizes = [first]
    if rows:
        direct = (last // first).bit_length() + 1
        if rows > direct:
            raise RefusedError(f"{what}: a heap of {rows} rows; at most {direct} are read")
        sizes = [first << max(0, row - 1) for row in range(rows) for _ in range(width)]
        cursor = source.once(root, 13 + offset_width + 8 * len(sizes), f"{what}: heap")
        cursor.expect(b"FHIB\0", "signature")
        cursor.take(8 + offset_width)
        addresses = [cursor.number(8) for _ in sizes]
    else:
        addresses = [root]
    starts, blocks, at = [], [], 0
    for size, place in zip(sizes, addresses, strict=True):
        if place != UNDEFINED:
            block = source.once(place, size, f"{what}: heap")
            starts.append(at)
            blocks.append(block.data)
            block.expect(b"FHDB\0", "signature")
        at += size
    return _Heap(starts, blocks, offset_width, length_width)


def _encoded_width(limit: int) -> int:
    return (limit.bit_length() - 1) // 8 + 1


def _identifiers(source: Source, address: int, most: int, what: str) -> list[bytes]:
    """Identifiers in the heap of everything that an index has."""
    cursor = source.once(address, 38, f"{what}: index")
    cursor.expect(b"BTHD\0" + bytes([_LINKS_BY_NAME]), "signature")
    node_bytes, record_bytes, depth = cursor.number(4), cursor.number(2), cursor.number(2)
    cursor.take(2)
    root, count = cursor.number(8), cursor.number(2)
    if record_bytes != _RECORD_BYTES or not 64 <= node_bytes <= _MAX_NODE_BYTES:
        raise RefusedError(f"{what}: an index of unknown proportions")
    if depth > _MAX_DEPTH:
        raise RefusedError(f"{what}: an index of depth {depth}; at most {_MAX_DEPTH} are read")
    widths = _pointer_widths(node_bytes, depth)
    found: list[bytes] = []
    nodes = [(root, count, depth)] if root != UNDEFINED else []
    while nodes:
        place, count, level = nodes.pop()
        cursor = source.once(place, node_bytes, f"{what}: index", at_most=True)
        cursor.expect((b"BTIN\0" if level else b"BTLF\0") + bytes([_LINKS_BY_NAME]), "signature")
        found += [cursor.take(_RECORD_BYTES)[-_IDENTIFIER_BYTES:] for _ in range(count)]
        if len(found) > most:
            raise RefusedError(f"{what}: more than {most} members")
        for _ in range(count + 1 if level else 0):
            child, records = cursor.number(8), cursor.number(widths[0])
            cursor.take(widths[level] if level > 1 else 0)
            nodes.append((child, records, level - 1))
    return found


def _pointer_widths(node_bytes: int, depth: int) -> list[int]:
    """Widths of the numbers beside a pointer to a node: its records, and all those below."""
    room = node_bytes - _NODE_OVERHEAD
    most = total = room // _RECORD_BYTES
    widths = [_encoded_width(most), 0]
    for level in range(1, depth):
        pointer = 8 + widths[0] + (widths[level] if level > 1 else 0)
        most = (room - pointer) // (_RECORD_BYTES + pointer)
        total = (most + 1) * total + most
        widths.append(_encoded_width(max(total, 1)))
    return widths
