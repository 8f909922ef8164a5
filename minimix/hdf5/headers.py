"""Object headers: what an object is, as a list of messages, and which of them may be there.

Source: HDF5 File Format Specification 3.0, IV.A: object headers of versions 1 and 2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from minimix.hdf5.source import UNDEFINED, Cursor, RefusedError, Source

SPACE, LINK_INFO, TYPE, LINK, LAYOUT, FILTERS = 0x01, 0x02, 0x03, 0x06, 0x08, 0x0B
ATTRIBUTE, SYMBOL_TABLE = 0x0C, 0x11
_NOTHING, _OLD_FILL, _FILL, _GROUP_INFO = 0x00, 0x04, 0x05, 0x0A
_OLD_TIME, _CONTINUATION, _TIME, _ATTRIBUTE_INFO = 0x0E, 0x10, 0x12, 0x15

# Without meaning for a reader that needs all data to be there.
_IGNORED = {_NOTHING, _OLD_FILL, _FILL, _GROUP_INFO, _OLD_TIME, _TIME, _ATTRIBUTE_INFO}
_REFUSED = {
    LINK: "links",
    0x07: "data in other files",
    0x09: "a bogus message",
    ATTRIBUTE: "attributes",
    0x0D: "a comment",
    0x0F: "shared messages",
    SYMBOL_TABLE: "members",
    0x13: "B-tree values",
    0x14: "driver information",
    0x16: "a count of references",
    0x17: "file space information",
    0x18: "a cache image",
}

MAX_MESSAGES = 200
"""Of one object; minimix writes six or fewer."""

_MAX_PARTS = 20
_FIRST_READ = 512
_SHARED = 0x02


@dataclass(frozen=True)
class Message:
    """One fact about an object."""

    type: int
    body: bytes


def messages(source: Source, address: int, what: str, allowed: set[int]) -> list[Message]:
    """Address of an object -> the messages of its header that mean something.

    Raises:
        RefusedError: the header is damaged, or has messages that are not ``allowed``.
    """
    start = source.once(address, _FIRST_READ, what, at_most=True)
    is_new = start.data[:4] == b"OHDR"
    found = _new_messages(source, start, address) if is_new else _old(source, start, address)
    kept = []
    for message in islice(found, MAX_MESSAGES):
        if message.type in allowed:
            kept.append(message)
        elif message.type == _ATTRIBUTE_INFO:
            _check_attribute_info(message, what)
        elif message.type not in _IGNORED:
            meaning = _REFUSED.get(message.type, f"message {message.type:#x}")
            raise RefusedError(f"{what}: has {meaning}; no model file has")
    if next(found, None) is not None:
        raise RefusedError(f"{what}: more than {MAX_MESSAGES} messages")
    return kept


def _check_attribute_info(message: Message, what: str) -> None:
    cursor = Cursor(message.body, f"{what}: attributes")
    cursor.expect(b"\0", "version")
    cursor.take(2 if cursor.number(1) & 1 else 0)
    if cursor.number(8) != UNDEFINED:
        raise RefusedError(f"{what}: very many attributes")


def _first_part(source: Source, start: Cursor, address: int, size: int) -> Cursor:
    """The messages of the first part, whose prefix ``start`` has just read."""
    if size > start.left:
        body = source.read(address + start.at, size, start.what)
    else:
        body = start.take(size)
    return Cursor(body, start.what)


def _new_messages(source: Source, start: Cursor, address: int) -> Iterator[Message]:
    start.expect(b"OHDR\x02", "signature")
    flags = start.number(1)
    start.take(16 * bool(flags & 0x20) + 4 * bool(flags & 0x10))
    parts = [_first_part(source, start, address, start.number(1 << (flags & 3)))]
    prefix = 6 if flags & 4 else 4
    for part in parts:
        while part.left >= prefix:
            type_, size, flag = part.number(1), part.number(2), part.number(1)
            part.take(prefix - 4)
            message = _message(part, type_, size, flag)
            if type_ == _CONTINUATION:
                more = _continued(source, message, parts)
                more.expect(b"OCHK", "signature")
                parts.append(Cursor(more.take(max(0, more.left - 4)), more.what))
            else:
                yield message


def _old(source: Source, start: Cursor, address: int) -> Iterator[Message]:
    start.expect(b"\x01\x00", "version")
    start.take(6)
    size = start.number(4)
    start.take(4)
    parts = [_first_part(source, start, address, size)]
    for part in parts:
        while part.left >= 8:
            type_, size, flag = part.number(2), part.number(2), part.number(1)
            part.take(3)
            message = _message(part, type_, size, flag)
            if type_ == _CONTINUATION:
                parts.append(_continued(source, message, parts))
            else:
                yield message


def _message(part: Cursor, type_: int, size: int, flag: int) -> Message:
    if flag & _SHARED:
        raise RefusedError(f"{part.what}: refers to a message elsewhere, such as a named type")
    return Message(type_, part.take(size))


def _continued(source: Source, message: Message, parts: list[Cursor]) -> Cursor:
    cursor = Cursor(message.body, f"{parts[0].what}: continuation")
    if len(parts) >= _MAX_PARTS:
        raise RefusedError(f"{cursor.what}: more than {_MAX_PARTS} parts")
    return source.once(cursor.number(8), cursor.number(8), parts[0].what)
