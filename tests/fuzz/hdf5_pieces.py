"""HDF5 files taken to pieces: what a checksum covers is mutated, then gets a checksum that fits.

Source: HDF5 File Format Specification 3.0; the checksum is Bob Jenkins's lookup3, ``hashlittle``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from random import Random

from tests.fuzz.mutations import Files, Seed
from tests.fuzz.samples import single

_SIGNATURES = re.compile(
    b"OHDR|OCHK|FRHP|FHDB|FHIB|BTHD|BTIN|BTLF|FADB|FAHD|EAHD|EAIB|FSHD|FSSE|TREE|SNOD|HEAP|GCOL"
)
_UNCHECKED = {b"TREE", b"SNOD", b"HEAP", b"GCOL"}
_LONGEST = 600
_MASK = 2**32 - 1
_UNDEFINED = 2**64 - 1


def _rotated(value: int, bits: int) -> int:
    return (value << bits | value >> 32 - bits) & _MASK


def lookup3(data: bytes) -> int:
    """Bytes -> Jenkins's hash of them, from 0, as HDF5 checks its metadata.

    >>> hex(lookup3(b"Four score and seven years ago"))
    '0x17770551'
    """
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    at = 0
    while len(data) - at > 12:
        a = a + int.from_bytes(data[at : at + 4], "little") & _MASK
        b = b + int.from_bytes(data[at + 4 : at + 8], "little") & _MASK
        c = c + int.from_bytes(data[at + 8 : at + 12], "little") & _MASK
        a = a - c & _MASK ^ _rotated(c, 4)
        c = c + b & _MASK
        b = b - a & _MASK ^ _rotated(a, 6)
        a = a + c & _MASK
        c = c - b & _MASK ^ _rotated(b, 8)
        b = b + a & _MASK
        a = a - c & _MASK ^ _rotated(c, 16)
        c = c + b & _MASK
        b = b - a & _MASK ^ _rotated(a, 19)
        a = a + c & _MASK
        c = c - b & _MASK ^ _rotated(b, 4)
        b = b + a & _MASK
        at += 12
    if at == len(data):
        return c
    rest = data[at:].ljust(12, b"\0")
    a = a + int.from_bytes(rest[:4], "little") & _MASK
    b = b + int.from_bytes(rest[4:8], "little") & _MASK
    c = c + int.from_bytes(rest[8:], "little") & _MASK
    c = (c ^ b) - _rotated(b, 14) & _MASK
    a = (a ^ c) - _rotated(c, 11) & _MASK
    b = (b ^ a) - _rotated(a, 25) & _MASK
    c = (c ^ b) - _rotated(b, 16) & _MASK
    a = (a ^ c) - _rotated(c, 4) & _MASK
    b = (b ^ a) - _rotated(a, 14) & _MASK
    return (c ^ b) - _rotated(b, 24) & _MASK


@dataclass(frozen=True)
class Structure:
    """Bytes of a file that belong together.

    Attributes:
        checksum: where the checksum of ``start`` to ``end`` lies: at the end, or inside, where it
            counts as zeros; None where there is none.
    """

    start: int
    end: int
    checksum: int | None = None


def _header_end(data: bytes | bytearray, start: int) -> int:
    """Where the first part of an object header of version 2 ends, by its own account."""
    if start + 6 > len(data):
        return len(data)
    flags = data[start + 5]
    at = start + 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10)
    width = 1 << (flags & 3)
    return at + width + int.from_bytes(data[at : at + width], "little")


def _checksum_of(data: bytes, structure: Structure) -> bytes:
    body = bytearray(data[structure.start : structure.end])
    at = structure.checksum
    if at is not None and at < structure.end:
        body[at - structure.start : at - structure.start + 4] = bytes(4)
    return lookup3(bytes(body)).to_bytes(4, "little")


def _fits(data: bytes, structure: Structure) -> bool:
    at = structure.checksum
    return at is not None and data[at : at + 4] == _checksum_of(data, structure)


def _structure_at(data: bytes, start: int, limit: int) -> Structure | None:
    """What begins with a signature; None where no end has a fitting checksum: it is data."""
    signature = data[start : start + 4]
    if signature in _UNCHECKED:
        return Structure(start, min(limit, start + 600))
    if signature == b"OHDR":
        ends: Iterable[int] = [_header_end(data, start)]
    elif signature == b"FHDB":
        sizes = [512 << n for n in range(8)]
        blocks = (Structure(start, start + n, start + 13 + k) for n in sizes for k in (4, 5))
        return next((block for block in blocks if _fits(data, block)), None)
    else:
        ends = range(start + 8, min(len(data) - 4, start + _LONGEST))
    candidates = (Structure(start, end, end) for end in ends)
    return next((found for found in candidates if _fits(data, found)), None)


def structures(data: bytes, headers: Iterable[int], most_alike: int = 6) -> list[Structure]:
    """A valid file -> its structures, in order, of each kind at most so many.

    Args:
        headers: addresses of object headers of version 1, which have no signature.
    """
    version = data[8]
    found = [Structure(0, 44, 44) if version >= 2 else Structure(0, 96)]
    starts = sorted(
        [(m.start(), m[0]) for m in _SIGNATURES.finditer(data)] + [(at, b"") for at in headers]
    )
    counts: dict[bytes, int] = {}
    for (start, kind), (limit, _) in zip(starts, [*starts[1:], (len(data), b"")], strict=True):
        if start < found[-1].end or counts.get(kind, 0) >= most_alike:
            continue
        if kind:
            structure = _structure_at(data, start, limit)
        else:
            size = int.from_bytes(data[start + 8 : start + 12], "little")
            structure = Structure(start, start + 16 + size)
        if structure:
            counts[kind] = counts.get(kind, 0) + 1
            found.append(structure)
    return found


class Pieces:
    """A valid file, to be put together again around changed structures."""

    def __init__(self, data: bytes, headers: Iterable[int] = ()) -> None:
        self.data = data
        found = structures(data, headers)
        self.structures = {f"{n:02} at {at.start}": at for n, at in enumerate(found)}
        self.pieces = {
            name: data[structure.start : structure.end]
            for name, structure in self.structures.items()
        }
        self.addresses = sorted({structure.start for structure in found})

    def assemble(self, pieces: Mapping[str, bytes]) -> Files:
        """Pieces -> a file of the same layout, its checksums made to fit."""
        out, changed = bytearray(self.data), []
        for name, structure in self.structures.items():
            piece = pieces.get(name, b"")
            if piece != self.pieces[name]:
                size = structure.end - structure.start
                out[structure.start : structure.end] = piece[:size].ljust(size, b"\0")
                changed.append(structure)
        for structure in changed:
            self._check(out, structure)
        return single(bytes(out))

    def _check(self, out: bytearray, structure: Structure) -> None:
        """Write the checksum of a changed structure, where it says that it ends."""
        if structure.checksum is None:
            return
        at = structure.checksum
        if out[structure.start : structure.start + 4] == b"OHDR":
            end = _header_end(out, structure.start)
            if end + 4 <= len(out):
                structure, at = Structure(structure.start, end, end), end
        out[at : at + 4] = _checksum_of(bytes(out), structure)

    def seed(self, frequency: int, is_valid: bool = True) -> Seed:
        """The file as a seed, with the changes that mean something in HDF5."""
        changes = (
            _change_a_message,
            _replace_a_message,
            partial(_point_elsewhere, (*self.addresses, len(self.data))),
        )
        return Seed(
            single(self.data),
            self.pieces,
            self.assemble,
            tokens=_TOKENS,
            changes=changes,
            frequency=frequency,
            is_valid=is_valid,
        )


def _messages(data: bytearray) -> list[tuple[int, int, int]]:
    """Object header -> (start, size of the prefix, size of the body) of each message."""
    is_new, found = data[:4] == b"OHDR", []
    if is_new and len(data) > 8:
        flags = data[5]
        at = 6 + 16 * bool(flags & 0x20) + 4 * bool(flags & 0x10) + (1 << (flags & 3))
        prefix, sizes = 4 + 2 * bool(flags & 4), 1
    elif data[:2] == b"\x01\x00":
        at, prefix, sizes = 16, 8, 2
    else:
        return []
    while at + prefix <= len(data):
        size = int.from_bytes(data[at + sizes : at + sizes + 2], "little")
        found.append((at, prefix, size))
        at += prefix + size
    return found


def _change_a_message(random: Random, data: bytearray) -> None:
    """Another type, size or flag, or one byte of the body of one message."""
    messages = _messages(data)
    if not messages:
        return
    at, prefix, size = random.choice(messages)
    is_new = data[:4] == b"OHDR"
    kind = random.random()
    if kind < 0.2:
        data[at] = random.choice((*range(0x19), 0x80, 0xFF))
    elif kind < 0.35:
        data[at + (3 if is_new else 4)] = random.choice((0, 1, 2, 3, 4, 8, 0x10, 0x40, 0x80, 0xFF))
    elif kind < 0.45:
        changed = random.choice((0, 1, 7, 8, size - 1, size + 1, size + 8, size * 2, 0xFFFF))
        place = at + (1 if is_new else 2)
        data[place : place + 2] = (changed % 2**16).to_bytes(2, "little")
    elif size:
        body = at + prefix + random.randrange(min(size, 40))
        if body < len(data):
            data[body] = random.choice(
                (0, 1, 2, 3, 4, 5, 8, 0x7F, 0x80, 0xFF, random.getrandbits(8))
            )


def _replace_a_message(random: Random, data: bytearray) -> None:
    """Another message in the place of one, of about its size, or two swapped."""
    messages = _messages(data)
    if len(messages) < 2:
        return
    at, prefix, size = random.choice(messages)
    if random.random() < 0.5:
        other, _, other_size = random.choice(messages)
        body = bytes(data[other + prefix : other + prefix + other_size])
        data[at] = data[other]
    else:
        type_, body = random.choice(_BODIES)
        data[at] = type_
    data[at + prefix : at + prefix + size] = (body + bytes(size))[:size]


def _point_elsewhere(places: tuple[int, ...], random: Random, data: bytearray) -> None:
    """Another address in the place of one: of another structure, the end, or none."""
    known = set(places)
    found = [
        at
        for at in range(len(data) - 7)
        if int.from_bytes(data[at : at + 8], "little") in known and any(data[at : at + 8])
    ]
    if found:
        at = random.choice(found)
        target = random.choice((*places, *places, 0, _UNDEFINED, 2**63, 2**40, 2**32 - 1))
        target = max(0, target + random.choice((0, 0, 0, 0, 8, -8, 1)))
        data[at : at + 8] = min(target, _UNDEFINED).to_bytes(8, "little")


_ADDRESS = (48).to_bytes(8, "little")
_HUGE = (2**61).to_bytes(8, "little")
_BODIES: tuple[tuple[int, bytes], ...] = (
    (0x01, b"\x02\x01\x00\x01" + _HUGE),
    (0x01, b"\x02\x20\x01\x01" + _HUGE * 40),
    (0x01, b"\x01\x01\x01\x00\x00\x00\x00\x00" + _HUGE),
    (0x03, b"\x19\x01\x00\x00\x10\x00\x00\x00\x10\x08\x00\x00\x01\x00\x00\x00"),
    (
        0x03,
        b"\x36\x02\x00\x00\x08\x00\x00\x00a\x00\x00" + b"\x36\x01\x00\x00\x08\x00\x00\x00b\x00\x00",
    ),
    (0x03, b"\x2a\x00\x00\x00\x04\x00\x00\x00\xff" + b"\xff\xff\xff\x7f" * 8),
    (0x03, b"\x37\x00\x00\x00\x08\x00\x00\x00"),
    (0x03, b"\x35\x08\x00\x00\x08\x00\x00\x00tag\x00\x00\x00\x00\x00"),
    (0x05, b"\x03\x2b" + b"\xff\xff\xff\x7f"),
    (0x06, b"\x01\x08\x01\x04link\x04\x00/abc"),
    (0x06, b"\x01\x08\x40\x04link\x08\x00\x00file\x00obj"),
    (0x06, b"\x01\x00\x04link" + _ADDRESS),
    (0x07, b"\x01\x00\x00\x00\x01\x00\x01\x00" + _ADDRESS + bytes(8) + bytes(8) + _HUGE),
    (0x08, b"\x04\x01" + _ADDRESS + _HUGE),
    (0x08, b"\x04\x00\x10\x00" + b"\x5a" * 16),
    (0x08, b"\x04\x02\x02\x02\x01\x40\x04\x01" + _HUGE + b"\x00\x00\x00\x00" + _ADDRESS),
    (0x08, b"\x04\x02\x01\x02\x04\x03\x04\x03" + b"\x0a" + _ADDRESS),
    (0x08, b"\x04\x02\x00\x02\x04\x03\x04\x05" + b"\x00\x10\x00\x00\x64\x28" + _ADDRESS),
    (0x08, b"\x04\x03" + _ADDRESS + b"\x01\x00\x00\x00"),
    (0x08, b"\x03\x02\x03" + _ADDRESS + b"\x01\x00\x00\x00\x01\x00\x00\x00\x04\x00\x00\x00"),
    (0x0A, b"\x00\x03\xff\xff\xff\xff\xff\xff\xff\xff"),
    (0x0B, b"\x02\x01\x01\x00\x00\x00\x01\x00\x06\x00\x00\x00"),
    (0x0B, b"\x02\x02\x00\x80\x04\x00\x00\x00\xff\xff\x07\x00\x01\x00\x02\x00"),
    (0x0B, b"\x02\x20" + b"\x02\x00\x00\x00\x01\x00\x04\x00\x00\x00" * 20),
    (0x0C, b"\x03\x00\x02\x00\x08\x00\x04\x00\x00a\x00\x10\x08\x00\x00\x01\x00\x00\x00"),
    (0x0D, b"comment without an end"),
    (0x0F, b"\x00" + _ADDRESS + b"\xff"),
    (0x10, _ADDRESS + (600).to_bytes(8, "little")),
    (0x10, _ADDRESS + _HUGE),
    (0x11, _ADDRESS * 2),
    (0x15, b"\x00\x03\xff\xff" + _ADDRESS * 3),
    (0x16, b"\x00\xff\xff\xff\xff"),
    (0x17, b"\x01\x01\x01\x00" + _HUGE * 2),
    (0x18, b"\x00" + _ADDRESS + _HUGE),
)
"""(type, body) of messages as they may stand in an object header."""

_TOKENS = (
    *(b"OHDR", b"OCHK", b"FRHP", b"FHDB", b"FHIB", b"BTHD", b"BTLF", b"BTIN", b"TREE", b"SNOD"),
    *(b"GCOL", b"HEAP", b"\xff" * 8, bytes(8), _ADDRESS, _HUGE, b"params", b"header", b"..", b"/"),
)
