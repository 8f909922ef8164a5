"""TensorFlow bundles as bytes, written without TensorFlow: what the readers' tests read back.

Everything down to the checksum is written here again, by the formats' descriptions, so that no
test compares a reader with itself.
"""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = bytes.fromhex("57fb808b247547db")
DATA_TYPES = {
    "float32": 1,
    "float64": 2,
    "int32": 3,
    "uint8": 4,
    "int16": 5,
    "int8": 6,
    "string": 7,
    "complex64": 8,
    "int64": 9,
    "bool": 10,
    "bfloat16": 14,
    "float16": 19,
}
Compress = Callable[[bytes], bytes]
Table = list[tuple[bytes, bytes]]


def _crc_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ CRC_TABLE[(crc ^ byte) & 255]
    return crc ^ 0xFFFFFFFF


def masked_crc(data: bytes) -> bytes:
    crc = crc32c(data)
    turned = (crc >> 15) + (crc % 2**15) * 2**17
    return struct.pack("<I", (turned + 0xA282EAD8) % 2**32)


def varint(value: int) -> bytes:
    value %= 2**64
    out = bytearray()
    while value > 127:
        out.append(value % 128 + 128)
        value //= 128
    return bytes(out) + bytes([value])


def number(key: int, value: int) -> bytes:
    """A varint field; like every writer of version 3, none where the value is zero."""
    return varint(key * 8) + varint(value) if value else b""


def message(key: int, content: bytes) -> bytes:
    return varint(key * 8 + 2) + varint(len(content)) + content


def fixed32(key: int, content: bytes) -> bytes:
    return varint(key * 8 + 5) + content


def snappy(data: bytes) -> bytes:
    """Compress by the longest match of the last places where four bytes stood."""
    out, at, literal_at = bytearray(varint(len(data))), 0, 0
    seen: dict[bytes, int] = {}
    while at < len(data):
        before = seen.get(data[at : at + 4])
        seen[data[at : at + 4]] = at
        if before is None or at + 4 > len(data):
            at += 1
            continue
        size = 4
        while size < 64 and at + size < len(data) and data[before + size] == data[at + size]:
            size += 1
        out += snappy_literal(data[literal_at:at]) + snappy_copy(size, at - before)
        at = literal_at = at + size
    return bytes(out + snappy_literal(data[literal_at:]))


def snappy_literal(data: bytes) -> bytes:
    if not data:
        return b""
    size = len(data) - 1
    if size < 60:
        return bytes([size * 4]) + data
    extra = (size.bit_length() + 7) // 8
    return bytes([(59 + extra) * 4]) + size.to_bytes(extra, "little") + data


def snappy_copy(size: int, distance: int) -> bytes:
    """A copy in the shortest form that can state it."""
    if 4 <= size <= 11 and distance < 2**11:
        return bytes([1 + (size - 4) * 4 + distance // 256 * 32, distance % 256])
    if distance < 2**16:
        return bytes([2 + (size - 1) * 4]) + struct.pack("<H", distance)
    return bytes([3 + (size - 1) * 4]) + struct.pack("<I", distance)


@dataclass(frozen=True)
class Blocks:
    """How a table is written."""

    block_bytes: int = 4096
    restart_interval: int = 16
    compress: Compress | None = None


def stored_block(content: bytes, compress: Compress | None) -> bytes:
    kind = b"\1" if compress else b"\0"
    body = compress(content) if compress else content
    return body + kind + masked_crc(body + kind)


def block_content(entries: Table, restart_interval: int) -> bytes:
    out, restarts, before = bytearray(), [0], b""
    for n, (key, value) in enumerate(entries):
        shared = 0
        if n % restart_interval:
            while shared < min(len(key), len(before)) and key[shared] == before[shared]:
                shared += 1
        elif n:
            restarts.append(len(out))
        out += varint(shared) + varint(len(key) - shared) + varint(len(value))
        out += key[shared:] + value
        before = key
    return bytes(out) + struct.pack(f"<{len(restarts) + 1}I", *restarts, len(restarts))


def table_bytes(entries: Table, blocks: Blocks = Blocks()) -> bytes:
    """A sorted table; a block ends when its entries fill ``block_bytes``."""
    out, index, waiting, waiting_bytes = bytearray(), [], [], 0

    def flush(content: bytes, compress: Compress | None) -> bytes:
        handle = varint(len(out))
        stored = stored_block(content, compress)
        out.extend(stored)
        return handle + varint(len(stored) - 5)

    for n, entry in enumerate(entries):
        waiting.append(entry)
        waiting_bytes += len(entry[0]) + len(entry[1])
        if waiting_bytes < blocks.block_bytes and n + 1 < len(entries):
            continue
        content = block_content(waiting, blocks.restart_interval)
        index.append((entry[0], flush(content, blocks.compress)))
        waiting, waiting_bytes = [], 0
    metaindex_handle = flush(block_content([], 1), blocks.compress)
    index_handle = flush(block_content(index, 1), blocks.compress)
    return bytes(out) + (metaindex_handle + index_handle).ljust(40, b"\0") + MAGIC


@dataclass(frozen=True)
class Stored:
    """A tensor as it lies in a shard; the fields of its entry can be set to lie."""

    data_type: int
    shape: tuple[int, ...]
    data: bytes
    checksum: bytes
    shard: int = 0
    offset: int | None = None
    size_bytes: int | None = None
    more: bytes = b""

    def entry(self, offset: int) -> bytes:
        dims = b"".join(message(2, number(1, size)) for size in self.shape)
        size = len(self.data) if self.size_bytes is None else self.size_bytes
        return (
            number(1, self.data_type)
            + message(2, dims)
            + number(3, self.shard)
            + number(4, offset if self.offset is None else self.offset)
            + number(5, size)
            + fixed32(6, self.checksum)
            + self.more
        )


def stored_array(array: np.ndarray[Any, Any], scalar: str | None = None) -> Stored:
    """``scalar`` names the type of the bits: ``uint16`` arrays can be bfloat16."""
    data = array.astype(array.dtype.newbyteorder("<")).tobytes()
    return Stored(DATA_TYPES[scalar or array.dtype.name], array.shape, data, masked_crc(data))


def stored_strings(texts: list[bytes]) -> Stored:
    lengths = b"".join(struct.pack("<I", len(text)) for text in texts)
    rest = masked_crc(lengths) + b"".join(texts)
    data = b"".join(varint(len(text)) for text in texts) + rest
    return Stored(DATA_TYPES["string"], (len(texts),), data, masked_crc(lengths + rest))


HEADER_VERSION = message(3, number(1, 1))


@dataclass(frozen=True)
class Bundle:
    """A bundle to be written; ``padding`` bytes that no tensor uses come before each tensor."""

    tensors: Mapping[str | bytes, Stored]
    num_shards: int = 1
    blocks: Blocks = field(default_factory=Blocks)
    padding: int = 0
    header: bytes | None = None

    def files(self, prefix: str = "model.ckpt") -> dict[str, bytes]:
        """File name -> content, the index first."""
        shards = [bytearray() for _ in range(self.num_shards)]
        header = number(1, self.num_shards) + HEADER_VERSION if self.header is None else self.header
        entries: Table = [(b"", header)]
        for key, stored in sorted((as_key(name), t) for name, t in self.tensors.items()):
            shard = shards[stored.shard % self.num_shards]
            shard += b"\xee" * self.padding
            entries.append((key, stored.entry(len(shard))))
            shard += stored.data
        return {f"{prefix}.index": table_bytes(entries, self.blocks)} | {
            f"{prefix}.data-{n:05d}-of-{self.num_shards:05d}": bytes(shard)
            for n, shard in enumerate(shards)
        }


def as_key(name: str | bytes) -> bytes:
    return name.encode() if isinstance(name, str) else name


def bundle_of(arrays: Mapping[str, np.ndarray[Any, Any]], **options: Any) -> Bundle:
    """Arrays -> a bundle with them spread over its shards in turn."""
    num_shards = options.get("num_shards", 1)
    tensors = {
        name: replace(stored_array(array), shard=n % num_shards)
        for n, (name, array) in enumerate(arrays.items())
    }
    return Bundle(tensors, **options)


def tar_bytes(files: Iterable[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> bytes:
    """A tar archive of regular files, in the order given."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format) as archive:
        for name, content in files:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def tar_gz_bytes(files: Iterable[tuple[str, bytes]], format: int = tarfile.USTAR_FORMAT) -> bytes:
    return gzip.compress(tar_bytes(files, format), mtime=0)


def written(folder: Path, bundle: Bundle, prefix: str = "model.ckpt") -> Path:
    """Write a bundle alone into the folder; return its index."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in bundle.files(prefix).items():
        (folder / name).write_bytes(content)
    return folder / f"{prefix}.index"
