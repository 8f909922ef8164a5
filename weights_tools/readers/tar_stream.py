"""A tar archive, read once from the front: its members one by one, never more than is asked for.

``tarfile`` takes the headers apart; it does not walk the archive, since its walk reads headers of
any stated size at once, recurses over them and trusts sizes below zero.
Format: POSIX ``pax``, and the ``L`` member of GNU tar for long names.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass

from minimix.limits import in_force
from weights_tools.readers.checkpoint import shown

MAX_UNPACKED_BYTES = 2**30
"""The longest archive accepted, unpacked; that of mixnet-l has 64 million bytes."""

MAX_MEMBERS = 4000
"""The most members and extra headers accepted."""

MAX_NAME_CHARACTERS = 1024
"""The longest member name accepted."""

MAX_HEADER_BYTES = 2**16
"""The longest pax header or long name accepted."""

_BLOCK_BYTES = 512
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
# Facts for all members, and where links lead: neither names a file nor says how long it is.
_SKIPPED = (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK)
_SPARSE = "GNU.sparse."
_PIECE_BYTES = 2**18
# Links and folders state sizes at times, but no bytes follow.
_WITHOUT_CONTENT = (
    tarfile.LNKTYPE,
    tarfile.SYMTYPE,
    tarfile.CHRTYPE,
    tarfile.BLKTYPE,
    tarfile.DIRTYPE,
    tarfile.FIFOTYPE,
)


@dataclass(frozen=True)
class TarMember:
    """A member by its header; ``is_file`` where it is a regular file, stored as it is."""

    name: str
    size_bytes: int
    is_file: bool


class TarStream:
    """An archive in pieces of any size, which are asked for as ``members`` is iterated."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._position = 0
        self._left_bytes = 0
        self._most_bytes = in_force("MINIMIX_MAX_UNPACKED_BYTES", MAX_UNPACKED_BYTES)

    def members(self) -> Iterator[TarMember]:
        """Yield the members in order, and read to the stream's end after the last.

        Raises:
            ValueError: the archive is damaged, cut off, too long, or followed by other bytes.
        """
        extra: dict[str, str] = {}
        for _ in range(MAX_MEMBERS):
            block = self._exactly(_BLOCK_BYTES)
            if not block.strip(b"\0"):
                if extra:
                    raise ValueError("an extra header without its member")
                self._expect_end()
                return
            header = self._header(block)
            is_extra = header.type in (*_PAX, *_SKIPPED, tarfile.GNUTYPE_LONGNAME)
            size = self._left_bytes = _content_bytes(header, {} if is_extra else extra)
            if header.type in _PAX:
                extra |= _pax_records(self._extra_header())
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                extra["path"] = _text(self._extra_header().partition(b"\0")[0])
            elif header.type not in _SKIPPED:
                plain = header.type in _FILES and _SPARSE not in extra
                yield TarMember(_name(extra.get("path", header.name)), size, plain)
                extra = {}
            self._skip(self._left_bytes + -size % _BLOCK_BYTES)
        raise ValueError(f"more than {MAX_MEMBERS} members and extra headers")

    def take(self, size: int) -> bytearray:
        """Return the next ``size`` bytes of the member that ``members`` gave last.

        Raises:
            ValueError: the member has fewer, or the archive is cut off.
        """
        if size > self._left_bytes:
            raise ValueError(f"a member has {self._left_bytes} bytes left; expected {size}")
        taken = bytearray()
        # Grown with what is there: a header may state any size.
        while len(taken) < size:
            taken += self._exactly(min(_PIECE_BYTES, size - len(taken)))
        self._left_bytes -= size
        return taken

    def _extra_header(self) -> bytearray:
        if self._left_bytes > MAX_HEADER_BYTES:
            raise ValueError(
                f"an extra header of {self._left_bytes} bytes; accepted are {MAX_HEADER_BYTES}"
            )
        return self.take(self._left_bytes)

    def _header(self, block: bytes) -> tarfile.TarInfo:
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.TarError as error:
            raise ValueError(
                f"no tar header at byte {self._position - _BLOCK_BYTES}: {error}"
            ) from error

    def _exactly(self, size: int) -> bytes:
        """Return the next ``size`` bytes of the stream."""
        block = self._some(size)
        if len(block) != size:
            raise ValueError(f"the archive is cut off at byte {self._position}")
        return block

    def _some(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the stream's end."""
        joined = bytearray()
        while len(joined) < size:
            if not self._piece:
                piece = next(self._pieces, None)
                if piece is None:
                    break
                self._piece = memoryview(piece)
            part = self._piece[: size - len(joined)]
            self._piece = self._piece[len(part) :]
            joined += part
        self._position += len(joined)
        if self._position > self._most_bytes:
            raise ValueError(
                f"more than {self._most_bytes} bytes unpacked; if you trust it, raise "
                "MINIMIX_MAX_UNPACKED_BYTES"
            )
        return bytes(joined)

    def _skip(self, size: int) -> None:
        for start in range(0, size, _PIECE_BYTES):
            self._exactly(min(_PIECE_BYTES, size - start))

    def _expect_end(self) -> None:
        """Read what follows the first block of zeros: another, and nothing but zeros."""
        piece = self._exactly(_BLOCK_BYTES)
        while piece:
            if piece.strip(b"\0"):
                raise ValueError(
                    f"other bytes than zeros after the end, before byte {self._position}"
                )
            piece = self._some(_PIECE_BYTES)


def _text(name: bytes | bytearray) -> str:
    return name.decode("utf-8", "surrogateescape")


def _name(path: str) -> str:
    if len(path) > MAX_NAME_CHARACTERS:
        raise ValueError(f"a member name of {len(path)} characters, {shown(path)}")
    return path.removeprefix("./")


def _content_bytes(header: tarfile.TarInfo, extra: dict[str, str]) -> int:
    """Return how many bytes of content follow a header."""
    if header.type in _WITHOUT_CONTENT:
        return 0
    text = extra.get("size", str(header.size))
    if not re.fullmatch("[0-9]{1,20}", text):
        raise ValueError(f"{shown(header.name)} states a size of {shown(text)}")
    return int(text)


def _pax_records(data: bytearray) -> dict[str, str]:
    """Content of a pax header, lines of ``<length> <key>=<value>`` -> what matters here of it.

    That is ``path``, ``size``, and whether anything says that the file has holes.
    """
    records: dict[str, str] = {}
    position = 0
    while position < len(data):
        length = data[position : position + 8].partition(b" ")[0]
        end = position + (int(length) if length.isdigit() else 0)
        line = data[position + len(length) + 1 : end]
        key, equals, value = bytes(line).partition(b"=")
        if end > len(data) or not equals or not line.endswith(b"\n"):
            raise ValueError(f"no record of a pax header at its byte {position}")
        if key in (b"path", b"size"):
            records[_text(key)] = _text(value[:-1])
        elif key.startswith(_SPARSE.encode()):
            records[_SPARSE] = ""
        position = end
    return records
