"""Bytes of a file that nobody vouches for: every place is checked, and none is read for ever."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

UNDEFINED = 2**64 - 1
"""The address of what is not there."""


class RefusedError(Exception):
    """The file is damaged, or has what a model file never has; the text says what and where."""


def text_of(name: bytes) -> str:
    r"""Name in a file -> a text that can be printed.

    >>> text_of(b"caf\xc3\xa9"), text_of(b"\x1b[2J")
    ('café', '\\x1b[2J')
    """
    text = name.decode("utf-8", "backslashreplace")
    return text if text.isprintable() else text.encode("unicode_escape").decode()


class Cursor:
    """A place in some bytes, which only goes forward."""

    def __init__(self, data: bytes, what: str) -> None:
        self.data, self.what, self.at = data, what, 0

    @property
    def left(self) -> int:
        """Bytes that follow."""
        return len(self.data) - self.at

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            RefusedError: there are fewer.
        """
        if count > self.left:
            raise RefusedError(f"{self.what}: cut off")
        self.at += count
        return self.data[self.at - count : self.at]

    def number(self, width: int) -> int:
        """Return the next whole number, of so many bytes."""
        return int.from_bytes(self.take(width), "little")

    def expect(self, expected: bytes, name: str) -> None:
        """Check that these bytes come next."""
        found = self.take(len(expected))
        if found != expected:
            raise RefusedError(f"{self.what}: {name} is {found!r}; expected {expected!r}")


@dataclass
class Source:
    """An open file.

    What is asked for in all is bounded by the file's own size: in a file whose structures do not
    overlap, nothing is asked for twice.
    """

    stream: BinaryIO
    size_bytes: int
    _left: int = 0
    _visited: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._left = 2 * self.size_bytes + 2**16

    def read(self, offset: int, size: int, what: str, *, at_most: bool = False) -> bytes:
        """Return the bytes of a place; with ``at_most`` fewer where the file ends before.

        Raises:
            RefusedError: it reaches beyond the file, or too much has been read already.
        """
        if at_most:
            size = max(0, min(size, self.size_bytes - offset))
        if offset < 0 or offset + size > self.size_bytes:
            raise RefusedError(f"{what}: reaches beyond the end of the file")
        if size > self._left:
            raise RefusedError(f"{what}: overlaps with other structures")
        self._left -= size
        self.stream.seek(offset)
        data = self.stream.read(size)
        if len(data) != size:
            raise RefusedError(f"{what}: the file became shorter")
        return data

    def once(self, address: int, size: int, what: str, *, at_most: bool = False) -> Cursor:
        """Return the bytes of a structure that only one other may point to.

        Raises:
            RefusedError: it has been read before: a cycle, or a second name.
        """
        if address in self._visited:
            raise RefusedError(f"{what}: leads to what has been read already")
        self._visited.add(address)
        return Cursor(self.read(address, size, what, at_most=at_most), what)
