"""The wire format of protocol buffers: a message as its numbered fields, without a schema.

A message is a run of fields; each is a tag (number << 3 | wire type, a varint) and a value.
What a number means is the caller's to know.  Stricter than the libraries, because no writer of
checkpoints needs what is refused here: groups, and tags or lengths that reach past the message.
Source: "Encoding" in the documentation of protocol buffers.
"""

from __future__ import annotations

from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
"""The wire types: what follows a tag."""

MAX_FIELD_NUMBER = 2**29 - 1

Bytes = bytes | memoryview
Value = int | memoryview
Field = tuple[int, int, Value]

_FIXED_SIZES = {FIXED64: 8, FIXED32: 4}
_GROUPS = (3, 4)


def fields(data: Bytes) -> Iterator[Field]:
    r"""Message -> its fields in order: number, wire type, and value, copying nothing.

    The value of a varint or a fixed field is an unsigned int, see ``signed64``; that of a
    ``BYTES`` field (text, packed numbers, a message within) is a view of ``data``.

    >>> [(number, wire, value) for number, wire, value in fields(b"\x08\x96\x01")]
    [(1, 0, 150)]
    >>> bytes(next(fields(b"\x12\x02hi"))[2])
    b'hi'

    Raises:
        ValueError: the message is cut off, a varint is too long, a tag has the number 0 or a
            wire type that is a group or unknown.
    """
    view = memoryview(data)
    position = 0
    while position < len(view):
        start = position
        tag, position = read_varint(view, position, bits=32)
        number, wire = tag >> 3, tag & 7
        if number == 0:
            raise ValueError(f"byte {start}: field number 0; expected 1 to {MAX_FIELD_NUMBER}")
        if wire == VARINT:
            value, position = read_varint(view, position)
            yield number, wire, value
            continue
        if wire == BYTES:
            size, position = read_varint(view, position)
        elif wire in _FIXED_SIZES:
            size = _FIXED_SIZES[wire]
        else:
            kind = "a group" if wire in _GROUPS else "unknown"
            raise ValueError(f"byte {start}: field {number} has wire type {wire}, which is {kind}")
        if size > len(view) - position:
            raise ValueError(
                f"byte {start}: field {number} has {size} bytes, the message ends after "
                f"{len(view) - position}"
            )
        piece = view[position : position + size]
        position += size
        yield number, wire, piece if wire == BYTES else int.from_bytes(piece, "little")


def int_value(field: Field, what: str, wire: int = VARINT) -> int:
    """Field -> its value, known to be the unsigned int of a ``wire`` field.

    Raises:
        ValueError: the field has another wire type; ``what`` names it in the message.
    """
    if field[1] != wire or not isinstance(field[2], int):
        raise ValueError(f"{what}: expected wire type {wire}, found {field[1]}")
    return field[2]


def bytes_value(field: Field, what: str) -> memoryview:
    """Field -> its value, known to be a view of the bytes of a ``BYTES`` field.

    Raises:
        ValueError: the field has another wire type; ``what`` names it in the message.
    """
    if not isinstance(field[2], memoryview):
        raise ValueError(f"{what}: expected wire type {BYTES}, found {field[1]}")
    return field[2]


def read_varint(data: Bytes, position: int, bits: int = 64) -> tuple[int, int]:
    r"""Bytes, position -> the unsigned int that begins there, and the position after it.

    Seven bits a byte, the lowest first; the top bit of a byte says that another follows.

    >>> read_varint(b"\x96\x01", 0)
    (150, 2)

    Raises:
        ValueError: it is cut off, or has more than ``bits`` bits.
    """
    value = shift = 0
    for at in range(position, min(position + (bits + 6) // 7, len(data))):
        byte = data[at]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> bits:
                break
            return value, at + 1
        shift += 7
    cut = position + (bits + 6) // 7 > len(data) and not value >> bits
    problem = "is cut off" if cut else f"has more than {bits} bits"
    raise ValueError(f"the varint at byte {position} {problem}")


def signed64(value: int) -> int:
    """Unsigned 64-bit int, as a varint or fixed field gives it -> the int64 of the same bits.

    >>> signed64(2**64 - 1), signed64(5)
    (-1, 5)
    """
    return value - 2**64 if value >> 63 else value
