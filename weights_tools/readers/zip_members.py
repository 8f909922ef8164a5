"""The members of an uncompressed zip archive: where each lies in the file, nothing copied.

torch and NumPy store their members as they are, so that they can be mapped; a compressed one is
refused, and with it every way to make a small file unpack to a large one.  Format: PKWARE's
APPNOTE 4.3 (local header, central directory, end records) and 4.5.3 (zip64).
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass

from minimix.limits import in_force
from weights_tools.readers.checkpoint import shown
from weights_tools.readers.source import Source

MAX_MEMBERS = 100_000
"""The most members accepted; mixnet-s has about 400, one for each tensor."""

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL32 = 0xFFFFFFFF
_UNREADABLE_FLAGS = 1 << 0 | 1 << 5 | 1 << 6 | 1 << 13
"""Encrypted, a patch of another file, strongly encrypted, with headers that are encrypted."""

_NEWEST_VERSION = 63
"""Times ten: 6.3, of 2006, is what archives may ask for at most."""

_DAMAGED = "The archive is damaged: download it again and compare its sha256"


@dataclass(frozen=True)
class Member:
    """A stored member: its bytes are ``data[start : start + size_bytes]`` of the file."""

    name: str
    start: int
    size_bytes: int
    crc32: int

    def check(self, source: Source) -> None:
        """Compare the bytes with their CRC-32.

        Raises:
            WeightsError: they differ.
        """
        with memoryview(source.data) as view, view[self.start : self.end] as piece:
            found = zlib.crc32(piece)
        if found != self.crc32:
            raise source.fail(
                f"{shown(self.name)} has CRC-32 {found:08x}, the archive says {self.crc32:08x}. "
                f"{_DAMAGED}"
            )

    @property
    def end(self) -> int:
        """Position after the last byte."""
        return self.start + self.size_bytes


def list_members(source: Source) -> dict[str, Member]:
    """Open zip file -> its members by name, folders left out.

    Raises:
        WeightsError: the archive is damaged, compressed, encrypted, names a member twice, or has
            members that share bytes or reach outside of the file.
    """
    try:
        return _list_members(source)
    except (ValueError, struct.error) as error:
        raise source.fail(f"zip archive: {error}. {_DAMAGED}") from error


def _list_members(source: Source) -> dict[str, Member]:
    count, position, end = _find_directory(source)
    most = in_force("MINIMIX_MAX_TENSORS", MAX_MEMBERS)
    if count > most:
        raise ValueError(f"{count} members; accepted are {most} (MINIMIX_MAX_TENSORS)")
    members: dict[str, Member] = {}
    spans: list[tuple[int, int]] = []
    directory_start = position
    for _ in range(count):
        name, local, size, crc, position = _central_entry(source, position, end)
        if name in members:
            raise ValueError(f"the member {shown(name)} comes twice")
        start = _data_start(source, local, name)
        if start + size > directory_start:
            raise ValueError(f"{shown(name)} reaches outside of the archive's data")
        spans.append((local, start + size))
        if not name.endswith("/"):
            members[name] = Member(name, start, size, crc)
    if position != end:
        raise ValueError(f"the directory ends at byte {position}, not at {end}")
    spans.sort()
    if any(after[0] < before[1] for before, after in zip(spans, spans[1:], strict=False)):
        raise ValueError("two members share bytes")
    return members


def _find_directory(source: Source) -> tuple[int, int, int]:
    """Return the number of members, and the first byte and the end of the central directory."""
    data = source.data
    at = data.rfind(b"PK\x05\x06", max(0, len(data) - _END.size - 0xFFFF))
    if at < 0:
        raise ValueError("there is no end record: the file is cut off")
    _, disk, _, _, count, size, start, comment = _END.unpack_from(data, at)
    if at + _END.size + comment != len(data) or disk not in (0, 0xFFFF):
        raise ValueError("the end record is not the end of the file")
    locator_at = at - _END64_LOCATOR.size
    if locator_at >= 0 and data[locator_at : locator_at + 4] == b"PK\x06\x07":
        at = _END64_LOCATOR.unpack_from(data, locator_at)[2]
        if at + _END64.size > locator_at or data[at : at + 4] != b"PK\x06\x06":
            raise ValueError(f"there is no zip64 end record at byte {at}")
        count, size, start = _END64.unpack_from(data, at)[-3:]
    if start + size != at:
        raise ValueError(
            f"the directory ends at byte {start + size}, its end record begins at byte {at}"
        )
    return count, start, start + size


def _central_entry(source: Source, position: int, end: int) -> tuple[str, int, int, int, int]:
    """Return name, local header, size and CRC-32 of a member, and where the next entry is."""
    data = source.data
    if position + _CENTRAL.size > end:
        raise ValueError(f"the directory is cut off at byte {position}")
    fields = _CENTRAL.unpack_from(data, position)
    signature, _, version, flags, method, _, _, crc, packed, size = fields[:10]
    name_bytes, extra_bytes, comment_bytes, _, _, _, local = fields[10:]
    name_at = position + _CENTRAL.size
    extra_at = name_at + name_bytes
    after = extra_at + extra_bytes + comment_bytes
    if signature != b"PK\x01\x02" or after > end:
        raise ValueError(f"there is no directory entry at byte {position}")
    name = data[name_at:extra_at].decode("utf-8")
    extra = data[extra_at : extra_at + extra_bytes]
    size, packed, local = _widened(extra, (size, packed, local))
    if version & 0xFF > _NEWEST_VERSION:
        raise ValueError(f"{shown(name)} needs version {version & 0xFF} of the format")
    if method != 0 or packed != size or flags & _UNREADABLE_FLAGS:
        raise ValueError(
            f"{shown(name)} is compressed or encrypted; torch.save stores members as they are. "
            "Unpack the archive and pack it again without compression (zip -0)"
        )
    return name, local, size, crc, after


def _widened(extra: bytes, fields: tuple[int, int, int]) -> tuple[int, int, int]:
    """Replace each field that is full by its 64-bit value from the zip64 extra field."""
    position = 0
    while position + 4 <= len(extra):
        tag, length = struct.unpack_from("<HH", extra, position)
        body = extra[position + 4 : position + 4 + length]
        if tag == 1:
            wide = iter(struct.unpack(f"<{len(body) // 8}Q", body[: len(body) // 8 * 8]))
            size, packed, local = (next(wide, f) if f == _FULL32 else f for f in fields)
            return size, packed, local
        position += 4 + length
    return fields


def _data_start(source: Source, local: int, name: str) -> int:
    """Return where a member's bytes begin: after its local header, whose name must agree."""
    if local + _LOCAL.size > source.size_bytes:
        raise ValueError(f"{shown(name)} begins outside of the file")
    fields = _LOCAL.unpack_from(source.data, local)
    name_at = local + _LOCAL.size
    start: int = name_at + fields[9] + fields[10]
    if fields[0] != b"PK\x03\x04" or source.data[name_at : name_at + fields[9]] != name.encode():
        raise ValueError(f"there is no local header of {shown(name)} at byte {local}")
    return start
