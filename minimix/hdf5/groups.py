"""Groups: names, and the addresses that hard links give them.

Source: HDF5 File Format Specification 3.0, III.A, III.B, III.D (old groups), IV.A.2.g (links).
"""

from __future__ import annotations

from minimix.hdf5 import headers
from minimix.hdf5.dense import MAX_NAME_BYTES, heap_objects
from minimix.hdf5.headers import Message
from minimix.hdf5.source import UNDEFINED, Cursor, RefusedError, Source, text_of

MAX_LINKS = 10_000
"""Of one group; the largest MixNet has less than a thousand parameters."""

_MAX_DEPTH = 8
_ENTRY_BYTES = 40
_SOFT_LINK = 2
_MEANINGS = {1: "a soft", 64: "an external"}


def links(source: Source, found: list[Message], what: str) -> dict[str, int]:
    """Messages of a group's header -> address by name.

    Raises:
        RefusedError: a link is not a hard one, two have one name, there are very many, or the
            group is damaged.
    """
    pairs: list[tuple[str, int]] = []
    for message in found:
        cursor = Cursor(message.body, what)
        if message.type == headers.LINK:
            pairs.append(_link(cursor))
        elif message.type == headers.SYMBOL_TABLE:
            tree, heap = cursor.number(8), cursor.number(8)
            pairs += _old_links(source, tree, _names(source, heap, what), what)
        elif message.type == headers.LINK_INFO:
            pairs += _dense_links(source, cursor)
        if len(pairs) > MAX_LINKS:
            raise RefusedError(f"{what}: more than {MAX_LINKS} members")
    result = dict(pairs)
    if len(result) != len(pairs):
        raise RefusedError(f"{what}: two members have one name")
    return result


def _link(cursor: Cursor) -> tuple[str, int]:
    cursor.expect(b"\x01", "version of a link")
    flags = cursor.number(1)
    kind = cursor.number(1) if flags & 0x08 else 0
    cursor.take(8 * bool(flags & 0x04) + bool(flags & 0x10))
    name = text_of(cursor.take(cursor.number(1 << (flags & 3))))
    if kind != 0:
        raise RefusedError(f"{name}: {_MEANINGS.get(kind, 'a strange')} link; expected a hard one")
    return name, cursor.number(8)


def _dense_links(source: Source, cursor: Cursor) -> list[tuple[str, int]]:
    cursor.expect(b"\0", "version of link information")
    cursor.take(8 * (cursor.number(1) & 1))
    heap, index = cursor.number(8), cursor.number(8)
    if heap == UNDEFINED:
        return []
    return [_link(found) for found in heap_objects(source, heap, index, MAX_LINKS, cursor.what)]


def _names(source: Source, address: int, what: str) -> bytes:
    """All names of an old group, each ended by a zero."""
    cursor = source.once(address, 32, f"{what}: heap")
    cursor.expect(b"HEAP\0\0\0\0", "signature")
    size, _, start = (cursor.number(8) for _ in range(3))
    return source.read(start, size, cursor.what)


def _old_links(
    source: Source, address: int, names: bytes, what: str, depth: int = 0
) -> list[tuple[str, int]]:
    if depth > _MAX_DEPTH:
        raise RefusedError(f"{what}: nested too deeply")
    cursor = source.once(address, 24, f"{what}: tree")
    cursor.expect(b"TREE\0", "signature")
    level, count = cursor.number(1), cursor.number(2)
    cursor = Cursor(source.read(address + 24, 16 * count, what), what)
    found: list[tuple[str, int]] = []
    for _ in range(count):
        cursor.take(8)
        child = cursor.number(8)
        if level:
            found += _old_links(source, child, names, what, depth + 1)
        else:
            found += _entries(source, child, names, what)
        if len(found) > MAX_LINKS:
            raise RefusedError(f"{what}: more than {MAX_LINKS} members")
    return found


def _entries(source: Source, address: int, names: bytes, what: str) -> list[tuple[str, int]]:
    cursor = source.once(address, 8, f"{what}: symbols")
    cursor.expect(b"SNOD\x01\0", "signature")
    count = cursor.number(2)
    cursor = Cursor(source.read(address + 8, _ENTRY_BYTES * count, what), what)
    found = []
    for _ in range(count):
        start, header, kind = cursor.number(8), cursor.number(8), cursor.number(4)
        cursor.take(20)
        end = names.find(b"\0", start, start + MAX_NAME_BYTES)
        if not 0 <= start < end:
            raise RefusedError(f"{what}: a name is missing, or too long")
        name = text_of(names[start:end])
        if kind == _SOFT_LINK:
            raise RefusedError(f"{name}: a soft link; expected a hard one")
        found.append((name, header))
    return found
