"""MindSpore checkpoints: one protocol buffers message, an entry per parameter.

The message repeats field 1: {1: name, 2: tensor}; a tensor is {1: sizes, 2: element type,
3: bytes}, little-endian in C order.  A parameter above half a gigabyte lies in several entries,
one behind the other, each with the whole one's name, type and sizes, and a part of its bytes.  A
file may end in ``crc_num`` and the CRC-32 of everything before that, in ten big-endian bytes.
Source: MindSpore, ``checkpoint.proto`` and ``train/serialization.py``.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from minimix.limits import in_force
from weights_tools.readers.checkpoint import (
    MAX_DIMENSIONS,
    Array,
    Contents,
    Tensors,
    checked_name,
    checked_sizes,
    element_count,
    shown,
)
from weights_tools.readers.protobuf import (
    BYTES,
    Field,
    bytes_value,
    fields,
    int_value,
    read_varint,
    signed64,
)
from weights_tools.readers.scalars import SCALARS, owned
from weights_tools.readers.source import Source

MAX_ENTRIES = 25_000
"""The most entries accepted; a mixnet-m has about 400, three times that with its optimizer."""

MAX_PACKED_BYTES = 10 * MAX_DIMENSIONS
"""The longest run of packed sizes: a varint has up to ten bytes."""

DTYPES = {
    "Float64": "float64",
    "Float32": "float32",
    "Float16": "float16",
    "BFloat16": "bfloat16",
    "Int64": "int64",
    "Int32": "int32",
    "Int16": "int16",
    "Int8": "int8",
    "UInt8": "uint8",
    "Bool": "bool",
}
"""The format's name of each element type -> ours."""

_HEAD_BYTES = 1100
# An entry's tag and length, its name, and the start of its tensor: sizes or element type.
_HEAD = re.compile(
    rb"\n[\x80-\xff]{0,9}[\0-\x7f]\n[\x80-\xff]?[\0-\x7f][^\0-\x1f\x7f]{1,1024}"
    rb"\x12[\x80-\xff]{0,9}[\0-\x7f][\x08\n\x12]"
)
_CRC_MARK, _CRC_BYTES = b"crc_num", 10
_ADVICE = "If the file is damaged, download it again and compare its sha256"


@dataclass(frozen=True)
class _Entry:
    """One entry: a parameter, or a part of its bytes."""

    name: str
    scalar: str
    sizes: tuple[int, ...]
    content: memoryview


def is_mindspore(source: Source) -> bool:
    """Whether the file starts with a named entry that has the beginning of a tensor."""
    return _HEAD.match(source.data[:_HEAD_BYTES]) is not None


def read_mindspore(source: Source) -> Contents:
    """Open MindSpore checkpoint -> tensors in the file's order.

    Raises:
        WeightsError: the message or a tensor is damaged, of an element type that NumPy has not,
            or the checksum is not that of the file.
    """
    try:
        body, metadata = _checked_body(source)
        entries = _entries(body, metadata)
        groups = [list(group) for _, group in groupby(entries, key=lambda entry: entry.name)]
        tensors: Tensors = {}
        for group in groups:
            name = group[0].name
            if name in tensors:
                raise ValueError(f"the parameter {shown(name)} comes twice")
            tensors[name] = _array(group)
        return Contents(tensors, metadata)
    except ValueError as error:
        raise source.fail(f"mindspore: {error}. {_ADVICE}") from error


def _checked_body(source: Source) -> tuple[memoryview, dict[str, str]]:
    """The message, without the checksum behind it, which is that of the message."""
    body = memoryview(source.data)
    tail = len(body) - len(_CRC_MARK) - _CRC_BYTES
    if tail < 0 or body[tail : tail + len(_CRC_MARK)] != _CRC_MARK:
        return body, {}
    stated = int.from_bytes(body[-_CRC_BYTES:], "big")
    body = body[:tail]
    found = zlib.crc32(body)
    if found != stated:
        raise ValueError(f"its CRC-32 is {found:08x}, but the file states {stated:08x}")
    return body, {"crc32": f"{found:08x}, as the file states"}


def _entries(body: memoryview, metadata: dict[str, str]) -> list[_Entry]:
    """All entries; fields that are not entries are left out, and ``metadata`` says so."""
    entries: list[_Entry] = []
    skipped: set[int] = set()
    most = in_force("MINIMIX_MAX_TENSORS", MAX_ENTRIES)
    for field in fields(body):
        if field[0] != 1:
            skipped.add(field[0])
            continue
        if len(entries) == most:
            raise ValueError(f"more than {most} entries (MINIMIX_MAX_TENSORS)")
        where = f"entry {len(entries)}"
        entries.append(_entry(bytes_value(field, where), where))
    if skipped:
        numbers = sorted(skipped)
        more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
        metadata["fields left out"] = ", ".join(map(str, numbers[:5])) + more
    return entries


def _entry(message: memoryview, where: str) -> _Entry:
    found, _ = _message(message, where)
    if 1 not in found:
        raise ValueError(f"{where}: has no name")
    name = checked_name(str(bytes_value(found[1], f"{where}: name"), "utf-8"))
    where = shown(name)
    if 3 in found:
        raise ValueError(f"{where}: is a hash table, which no MixNet has")
    if 2 not in found:
        raise ValueError(f"{where}: has no tensor")
    tensor, sizes = _message(bytes_value(found[2], f"{where}: tensor"), where, repeated=1)
    if 2 not in tensor or 3 not in tensor:
        raise ValueError(f"{where}: its tensor has no {'content' if 2 in tensor else 'type'}")
    scalar = str(bytes_value(tensor[2], f"{where}: element type"), "utf-8")
    if scalar not in DTYPES:
        raise ValueError(f"{where}: element type {shown(scalar)}; known: {', '.join(DTYPES)}")
    return _Entry(
        name,
        DTYPES[scalar],
        checked_sizes([size for field in sizes for size in _integers(field, where)], where),
        bytes_value(tensor[3], f"{where}: content"),
    )


def _message(
    message: memoryview, where: str, repeated: int | None = None
) -> tuple[dict[int, Field], list[Field]]:
    """Fields by number, each of which comes once; and those of the one that may be repeated."""
    once: dict[int, Field] = {}
    several: list[Field] = []
    for field in fields(message):
        if field[0] == repeated:
            several.append(field)
            if len(several) > MAX_DIMENSIONS:
                raise ValueError(f"{where}: more than {MAX_DIMENSIONS} sizes")
        elif field[0] in once:
            raise ValueError(f"{where}: field {field[0]} comes twice")
        else:
            once[field[0]] = field
    return once, several


def _integers(field: Field, where: str) -> Iterator[int]:
    """A size, or several that are packed into the bytes of one field."""
    if field[1] != BYTES:
        yield signed64(int_value(field, f"{where}: sizes"))
        return
    packed = bytes_value(field, f"{where}: sizes")
    if len(packed) > MAX_PACKED_BYTES:
        raise ValueError(f"{where}: more than {MAX_DIMENSIONS} sizes")
    position = 0
    while position < len(packed):
        value, position = read_varint(packed, position)
        yield signed64(value)


def _array(entries: list[_Entry]) -> Array:
    """The array of one parameter, from the entry or the parts that it lies in."""
    first = entries[0]
    where, dtype, sizes = shown(first.name), SCALARS[first.scalar], first.sizes
    if any((entry.scalar, entry.sizes) != (first.scalar, sizes) for entry in entries):
        raise ValueError(f"{where}: comes twice, with different types or sizes")
    parts = [entry.content for entry in entries]
    found = sum(map(len, parts))
    if sizes == (0,) and found == dtype.itemsize:
        sizes = ()  # MindSpore's own spelling of a scalar
    count = element_count(sizes)
    if found != count * dtype.itemsize or (len(parts) > 1 and not all(parts)):
        raise ValueError(
            f"{where} of shape {sizes} needs {count * dtype.itemsize} bytes, found "
            f"{' + '.join(str(len(part)) for part in parts[:5])}"
        )
    content = parts[0] if len(parts) == 1 else b"".join(parts)
    bits = np.frombuffer(content, dtype) if count else np.zeros(0, dtype)
    return owned(bits.reshape(sizes), first.scalar)
