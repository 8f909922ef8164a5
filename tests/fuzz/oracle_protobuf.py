"""A naive walk through a protobuf message, and the oracle of MindSpore's checkpoints."""

from __future__ import annotations

import zlib

from tests.fuzz.declared import Declared, Files, Stored, inside, require

Fields = list[tuple[int, int | bytes]]

_MINDSPORE = {f"Float{bits}": f"float{bits}" for bits in (16, 32, 64)}
_MINDSPORE |= {f"Int{bits}": f"int{bits}" for bits in (8, 16, 32, 64)}
_MINDSPORE |= {"BFloat16": "bfloat16", "UInt8": "uint8", "Bool": "bool"}


def varint(data: bytes, at: int) -> tuple[int, int]:
    """The number that begins at a place, and the place behind it."""
    value = 0
    for index in range(10):
        byte = inside(data, at + index, 1, "a varint")[0]
        value += (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            require(value < 2**64, "a varint of more than 64 bits")
            return value, at + index + 1
    require(False, "a varint without an end")
    raise AssertionError


def walk(data: bytes) -> Fields:
    """Message -> (field number, value): whole numbers, or bytes; fixed fields as numbers."""
    at, found = 0, []
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = divmod(tag, 8)
        require(wire in (0, 1, 2, 5) and number > 0, f"tag {tag}")
        value: int | bytes
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 2:
            size, at = varint(data, at)
            value, at = inside(data, at, size, f"field {number}"), at + size
        else:
            size = {1: 8, 5: 4}[wire]
            value, at = int.from_bytes(inside(data, at, size, "a number"), "little"), at + size
        found.append((number, value))
    return found


def one(found: Fields, number: int, default: int | bytes | None = None) -> int | bytes:
    """The value of a field that comes once, or, with a default, not at all."""
    values = [value for field, value in found if field == number]
    require(len(values) == 1 or (not values and default is not None), f"field {number}")
    return values[0] if values else default  # type: ignore[return-value]


def content(found: Fields, number: int, default: bytes | None = None) -> bytes:
    """The same of a field of bytes."""
    value = one(found, number, default)
    require(isinstance(value, bytes), f"field {number} is no bytes")
    return value  # type: ignore[return-value]


def whole(found: Fields, number: int, default: int | None = None) -> int:
    """The same of a number, signed with 64 bits."""
    value = one(found, number, default)
    require(isinstance(value, int), f"field {number} is no number")
    return value - 2**64 if value >= 2**63 else value  # type: ignore[operator,return-value]


def whole_numbers(found: Fields, number: int) -> list[int]:
    """The values of a repeated field of numbers, packed or not."""
    values = []
    for field, value in found:
        if field == number and isinstance(value, int):
            values.append(value)
        elif field == number:
            at = 0
            while at < len(value):  # type: ignore[arg-type]
                size, at = varint(value, at)  # type: ignore[arg-type]
                values.append(size)
    return values


def messages(found: Fields, number: int) -> list[Fields]:
    """The messages of a repeated field."""
    return [walk(value) for field, value in found if field == number]  # type: ignore[arg-type]


def mindspore(files: Files) -> Declared:
    """A MindSpore checkpoint: name, sizes, type, bytes of each entry; parts follow each other."""
    (data,) = files.values()
    if data[-17:-10] == b"crc_num":
        data, stated = data[:-17], int.from_bytes(data[-10:], "big")
        require(zlib.crc32(data) == stated, "the checksum")
    parts: dict[str, list[tuple[str, tuple[int, ...], bytes]]] = {}
    last = None
    for number, value in walk(data):
        if number != 1:
            continue
        entry = walk(value)  # type: ignore[arg-type]
        name = content(entry, 1).decode()
        tensor = walk(content(entry, 2))
        dtype = _MINDSPORE[content(tensor, 2).decode()]
        require(name == last or name not in parts, "a parameter twice")
        shape = tuple(whole_numbers(tensor, 1))
        parts.setdefault(name, []).append((dtype, shape, content(tensor, 3)))
        last = name
    found: Declared = {}
    for name, pieces in parts.items():
        require(len({piece[:2] for piece in pieces}) == 1, "parts of different shapes")
        dtype, shape, first = pieces[0]
        bits = b"".join(piece[2] for piece in pieces)
        # A scalar is written as of one size, 0, with one element.
        found[name] = Stored(dtype, () if shape == (0,) and first else shape, bits)
    return found
