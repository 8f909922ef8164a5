"""The Snappy block format -> bytes: the compression that blocks of a sorted table may have.

    length as a varint | elements: literals, and copies of what was written before

The two low bits of an element's tag say what it is: 0 a literal, 1, 2, 3 a copy whose distance
takes 11, 16, 32 bits.  A copy may reach into itself, and then repeats.
Source: ``format_description.txt`` of Snappy.
"""

from __future__ import annotations

from weights_tools.readers.protobuf import Bytes, read_varint

_LITERAL, _COPY_11_BITS, _COPY_16_BITS = 0, 1, 2
_LONG_LITERAL = 60


def unpack(data: Bytes, limit: int) -> bytes:
    r"""Compressed block -> its bytes, at most ``limit`` of them.

    >>> unpack(b"\x0a\x04ab\x1e\x02\x00", limit=10)
    b'ababababab'

    Raises:
        ValueError: the block is damaged, or states more than ``limit`` bytes or than its own
            bytes can make.
    """
    view = memoryview(data)
    length, position = read_varint(view, 0, bits=32)
    # The densest element is a copy of 64 bytes in 3; so a small block cannot ask for much.
    if length > limit or 3 * length > 64 * len(view):
        raise ValueError(
            f"snappy: {len(view)} bytes state that they unpack to {length}; accepted are {limit} "
            "and 64 for every 3"
        )
    out = bytearray()
    while position < len(view):
        if view[position] & 3 == _LITERAL:
            start, position = _literal(view, position)
            _check_room(len(out), position - start, length)
            out += view[start:position]
        else:
            size, distance, position = _copy(view, position)
            _check_room(len(out), size, length)
            if not 0 < distance <= len(out):
                raise ValueError(f"snappy: a copy from {distance} bytes back, after {len(out)}")
            begin = len(out) - distance
            pattern = out[begin : begin + size]
            repeats = -(-size // len(pattern))
            out += (pattern * repeats)[:size]
    if len(out) != length:
        raise ValueError(f"snappy: {length} bytes stated, {len(out)} made")
    return bytes(out)


def _check_room(made: int, size: int, length: int) -> None:
    if made + size > length:
        raise ValueError(f"snappy: more than the stated {length} bytes")


def _number(view: memoryview, position: int, size: int) -> int:
    """Return the little-endian number of ``size`` bytes."""
    if position + size > len(view):
        raise ValueError(f"snappy: cut off at byte {position}")
    return int.from_bytes(view[position : position + size], "little")


def _literal(view: memoryview, position: int) -> tuple[int, int]:
    """Return the first byte and the end of the literal whose tag is at ``position``."""
    size = view[position] >> 2
    start = position + 1
    if size >= _LONG_LITERAL:
        extra = size - _LONG_LITERAL + 1
        size = _number(view, start, extra)
        start += extra
    end = start + size + 1
    if end > len(view):
        raise ValueError(f"snappy: a literal of {size + 1} bytes at byte {start} is cut off")
    return start, end


def _copy(view: memoryview, position: int) -> tuple[int, int, int]:
    """Return size and distance of the copy whose tag is at ``position``, and where it ends."""
    tag = view[position]
    start = position + 1
    if tag & 3 == _COPY_11_BITS:
        return 4 + (tag >> 2 & 7), (tag >> 5) << 8 | _number(view, start, 1), start + 1
    distance_bytes = 2 if tag & 3 == _COPY_16_BITS else 4
    return 1 + (tag >> 2), _number(view, start, distance_bytes), start + distance_bytes
