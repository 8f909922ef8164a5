"""A sorted table: keys in ascending order and their values, in blocks with checksums.

    data blocks | metaindex block | index block | footer of 48 bytes

The footer says where the metaindex and the index block are and ends with the magic number; an
entry of the index is a data block's place, under a key not below the block's last.  A block is

    entries | restarts as uint32 | their number || type byte | masked CRC-32C of all before it

and an entry states how much of its key repeats the one before; at a restart, nothing does.
Source: ``doc/table_format.md`` of leveldb, ``tensorflow/core/lib/io/table_format.txt``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from weights_tools.readers.checkpoint import shown
from weights_tools.readers.crc32c import crc32c, masked
from weights_tools.readers.protobuf import Bytes, read_varint
from weights_tools.readers.snappy import unpack

MAX_BLOCK_BYTES = 4 * 2**20
"""The largest block accepted, unpacked; TensorFlow begins a new one after 256 KiB."""

MAX_TABLE_BYTES = 16 * 2**20
"""The most bytes of keys and values accepted, unpacked; those of mixnet-l have about 100 KB."""

MAX_KEY_BYTES = 4096
"""The longest key accepted: a tensor's name of 1024 characters, of 4 bytes each."""

MAGIC = bytes.fromhex("57fb808b247547db")
FOOTER_BYTES = 48

_TRAILER = struct.Struct("<BI")
_RESTART = struct.Struct("<I")
_PLAIN, _SNAPPY = 0, 1

Entry = tuple[bytes, memoryview]
Handle = tuple[int, int]


def ends_a_table(tail: bytes) -> bool:
    """Last bytes of a file, 8 or more -> whether a sorted table ends with them."""
    return tail.endswith(MAGIC)


def read_table(data: Bytes) -> Iterator[Entry]:
    """Table -> its keys and values, in order; every block's checksum is compared.

    Raises:
        ValueError: the table is damaged, too large, or compressed otherwise than by Snappy.
    """
    view = memoryview(data)
    metaindex, index = _footer(view)
    _block(view, metaindex)
    end_of_last_block = total_bytes = 0
    last_key: bytes | None = None
    for separator, value in _entries(_block(view, index)):
        handle, end = _handle(value, 0)
        if end != len(value) or handle[0] < end_of_last_block:
            raise ValueError(
                f"the index places a block at byte {handle[0]}; expected it behind the one before, "
                f"which ends at {end_of_last_block}"
            )
        end_of_last_block = handle[0] + handle[1] + _TRAILER.size
        for key, value in _entries(_block(view, handle)):
            total_bytes += len(key) + len(value)
            if total_bytes > MAX_TABLE_BYTES:
                raise ValueError(f"more than {MAX_TABLE_BYTES} bytes of keys and values")
            if last_key is not None and key <= last_key:
                raise ValueError(f"key {_text(key)} follows {_text(last_key)}; expected ascending")
            last_key = key
            yield key, value
        if last_key is not None and last_key > separator:
            raise ValueError(f"key {_text(last_key)} in a block that ends at {_text(separator)}")


def _text(key: bytes) -> str:
    return shown(key.decode("utf-8", "backslashreplace"))


def _footer(view: memoryview) -> tuple[Handle, Handle]:
    """Return the places of the metaindex and the index block."""
    if len(view) < FOOTER_BYTES or not ends_a_table(bytes(view[-len(MAGIC) :])):
        raise ValueError(f"a sorted table ends with the 8 bytes {MAGIC.hex()}, this file does not")
    footer = view[-FOOTER_BYTES : -len(MAGIC)]
    metaindex, position = _handle(footer, 0)
    index, position = _handle(footer, position)
    if any(footer[position:]):
        raise ValueError("the footer's padding holds other bytes than zeros")
    return metaindex, index


def _handle(data: memoryview, position: int) -> tuple[Handle, int]:
    """Return a block's first byte and size, trailer not counted, and the position after them."""
    offset, position = read_varint(data, position)
    size, position = read_varint(data, position)
    return (offset, size), position


def _block(view: memoryview, handle: Handle) -> bytes:
    """Return a block's content, checked and unpacked."""
    offset, size = handle
    end = offset + size
    if end + _TRAILER.size > len(view) - FOOTER_BYTES:
        raise ValueError(f"a block of {size} bytes at byte {offset} reaches into the footer")
    if size > MAX_BLOCK_BYTES:
        raise ValueError(f"a block of {size} bytes; accepted are {MAX_BLOCK_BYTES}")
    kind, stored = _TRAILER.unpack_from(view, end)
    found = masked(crc32c(view[offset : end + 1]))
    if found != stored:
        raise ValueError(
            f"the block at byte {offset} has the masked CRC-32C {found:08x}, the file says "
            f"{stored:08x}"
        )
    if kind == _PLAIN:
        return bytes(view[offset:end])
    if kind == _SNAPPY:
        return unpack(view[offset:end], MAX_BLOCK_BYTES)
    raise ValueError(f"the block at byte {offset} has compression {kind}; known: 0 none, 1 snappy")


def _entries(block: bytes) -> Iterator[Entry]:
    """Block -> its keys and values; the restarts must be places where a whole key is stored."""
    body, restarts = _split(block)
    next_restart = next(restarts, None)
    position, key = 0, b""
    if not body and next_restart == 0:
        next_restart = next(restarts, None)
    while position < len(body):
        start = position
        shared, position = read_varint(body, position, bits=32)
        unshared, position = read_varint(body, position, bits=32)
        value_bytes, position = read_varint(body, position, bits=32)
        value_at = position + unshared
        end = value_at + value_bytes
        if shared > len(key) or end > len(body):
            raise ValueError(f"the entry at byte {start} of a block reaches outside of it")
        if shared + unshared > MAX_KEY_BYTES:
            raise ValueError(f"a key of {shared + unshared} bytes; accepted are {MAX_KEY_BYTES}")
        if start == next_restart and shared == 0:
            next_restart = next(restarts, None)
        key = key[:shared] + bytes(body[position:value_at])
        yield key, body[value_at:end]
        position = end
    if next_restart is not None:
        raise ValueError(f"a restart at byte {next_restart} of a block, where no whole key is")


def _split(block: bytes) -> tuple[memoryview, Iterator[int]]:
    """Return a block's entries, and its restarts: at least one, the first at byte 0."""
    view = memoryview(block)
    count = _RESTART.unpack(view[-_RESTART.size :])[0] if len(view) >= _RESTART.size else 0
    end = len(view) - _RESTART.size * (count + 1)
    if count == 0 or end < 0 or _RESTART.unpack_from(view, end)[0] != 0:
        raise ValueError(f"a block of {len(view)} bytes with {count} restarts, or none at byte 0")
    return view[:end], (restart for (restart,) in _RESTART.iter_unpack(view[end : -_RESTART.size]))
