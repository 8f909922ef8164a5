"""Oracle of TensorFlow's bundles: a naive walk through the table of their index, every checksum."""

from __future__ import annotations

import gzip
import io
import tarfile
from math import prod

from tests.fuzz.declared import Declared, Files, Stored, UndecidedError, inside, require
from tests.fuzz.oracle_protobuf import content, one, varint, walk, whole

_DTYPES = {1: "float32", 2: "float64", 3: "int32", 4: "uint8", 5: "int16", 6: "int8", 9: "int64"}
_DTYPES |= {10: "bool", 14: "bfloat16", 19: "float16"}
_STRING = 7
_UNCHECKED = (20, 21)
"""Resources and variants: what their checksum covers is not in the file's words."""
_MAGIC = bytes.fromhex("57fb808b247547db")


def _crc_table() -> list[int]:
    table = []
    for value in range(256):
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        table.append(value)
    return table


_TABLE = _crc_table()


def masked_crc32c(data: bytes) -> int:
    """CRC-32C by the book, masked as leveldb does."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    value ^= 0xFFFFFFFF
    return (((value >> 15) | (value << 17)) + 0xA282EAD8) % 2**32


def _unsnapped(data: bytes) -> bytes:
    """Snappy's block format, one byte at a time."""
    length, at = varint(data, 0)
    out = bytearray()
    while at < len(data):
        tag, at = data[at], at + 1
        if tag & 3 == 0:
            size = tag >> 2
            if size >= 60:
                extra = size - 59
                size = int.from_bytes(inside(data, at, extra, "a literal's length"), "little")
                at += extra
            out += inside(data, at, size + 1, "a literal")
            at += size + 1
            continue
        extra = {1: 1, 2: 2, 3: 4}[tag & 3]
        back = int.from_bytes(inside(data, at, extra, "a copy"), "little")
        size = (tag >> 2) + 1
        if tag & 3 == 1:
            back, size = back + (tag >> 5 << 8), (tag >> 2 & 7) + 4
        at += extra
        require(0 < back <= len(out), "a copy from before the beginning")
        for _ in range(size):
            out.append(out[-back])
    require(len(out) == length, "the stated length")
    return bytes(out)


def _block(data: bytes, handle: bytes) -> list[tuple[bytes, bytes]]:
    """The entries of the block that a handle names; its checksum is compared."""
    offset, at = varint(handle, 0)
    size, at = varint(handle, at)
    stored = inside(data, offset, size + 5, "a block")
    require(
        int.from_bytes(stored[-4:], "little") == masked_crc32c(stored[:-4]), "a block's checksum"
    )
    require(stored[size] in (0, 1), "a block's compression")
    block = _unsnapped(stored[:size]) if stored[size] else stored[:size]
    restarts = int.from_bytes(block[-4:], "little")
    body = inside(block, 0, len(block) - 4 - 4 * restarts, "the entries")
    entries, at, key = [], 0, b""
    while at < len(body):
        shared, at = varint(body, at)
        rest, at = varint(body, at)
        size, at = varint(body, at)
        require(shared <= len(key), "a key that repeats more than there is")
        key = key[:shared] + inside(body, at, rest, "a key")
        entries.append((key, inside(body, at + rest, size, "a value")))
        at += rest + size
    return entries


def table(data: bytes) -> dict[bytes, bytes]:
    """A sorted table -> its entries."""
    require(len(data) >= 48 and data[-8:] == _MAGIC, "the footer")
    footer = data[-48:]
    _, at = varint(footer, 0)
    _, at = varint(footer, at)
    _block(data, footer)
    found: list[tuple[bytes, bytes]] = []
    for _, handle in _block(data, footer[at:]):
        found += _block(data, handle)
    keys = [key for key, _ in found]
    require(keys == sorted(set(keys)), "the order of the keys")
    return dict(found)


def bundle(files: Files) -> Declared:
    """A bundle of an index and shards: every tensor's bytes, and their checksum."""
    indexes = [name for name, data in files.items() if name.endswith(".index")]
    if len(indexes) != 1:
        raise UndecidedError(f"{len(indexes)} bundles")
    (index,) = indexes
    prefix = index.removesuffix(".index")
    entries = table(files[index])
    header = walk(entries.pop(b""))
    shards = whole(header, 1, 0)
    require(whole(header, 2, 0) == 0, "the byte order")
    found: Declared = {}
    for key, value in entries.items():
        entry = walk(value)
        if any(number == 7 for number, _ in entry):
            raise UndecidedError("a tensor in slices")
        dtype = whole(entry, 1, 0)
        shape = tuple(
            whole(walk(dim), 1, 0)  # type: ignore[arg-type]
            for number, dim in walk(content(entry, 2, b""))
            if number == 2
        )
        shard, offset, size = (whole(entry, number, 0) for number in (3, 4, 5))
        data = files[f"{prefix}.data-{shard:05}-of-{shards:05}"]
        bits = inside(data, offset, size, "a tensor")
        if dtype == _STRING:
            _check_strings(bits, prod(shape), whole(entry, 6, 0))
            continue
        if dtype not in _UNCHECKED:
            require(one(entry, 6, 0) == masked_crc32c(bits), "a tensor's checksum")
        if dtype in _DTYPES:
            found[key.decode()] = Stored(_DTYPES[dtype], shape, bits)
    return found


def _check_strings(bits: bytes, count: int, checksum: int) -> None:
    """Strings: their lengths as varints, a checksum of these as numbers of 4 bytes, the texts."""
    at, lengths = 0, []
    for _ in range(count):
        length, at = varint(bits, at)
        lengths.append(length)
    plain = b"".join(length.to_bytes(4, "little") for length in lengths)
    require(bits[at : at + 4] == masked_crc32c(plain).to_bytes(4, "little"), "lengths of strings")
    require(len(bits) == at + 4 + sum(lengths), "strings of other lengths")
    require(checksum == masked_crc32c(plain + bits[at:]), "the checksum of strings")


def archive(files: Files) -> Declared:
    """A tar, packed by gzip or not, with the files of one bundle."""
    (data,) = files.values()
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as members:
        contents = {
            member.name.removeprefix("./"): members.extractfile(member).read()  # type: ignore[union-attr]
            for member in members.getmembers()
            if member.isreg()
        }
    return bundle(contents)
