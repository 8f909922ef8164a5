"""Pictures in tar files, as WebDataset keeps them: listed by their headers, read where they lie.

Only plain tar: of a compressed one no part can be read without all before it.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minimix.errors import InputError
from minimix.inputs import PICTURE_ENDINGS, Input, NamedBytes, largest_bytes
from minimix.workflows.batching.chunks import Chunk, failing_input, too_large
from minimix.workflows.batching.stores import absolute, open_binary

MAX_HEADER_BYTES = 1 << 20
"""Of one header of a shard, long names included."""

Member = tuple[str, int, int]
"""Name, place of its first byte, number of bytes."""

NO_FILE = -1
"""Instead of the number of bytes: a link, which has the name of a picture and no bytes."""


@dataclass(frozen=True)
class TarChunk(Chunk):
    """Some members of one shard."""

    shard: str
    members: tuple[Member, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.members)

    def absolute(self) -> TarChunk:
        """See ``Chunk``."""
        return replace(self, shard=absolute(self.shard))

    def names(self) -> Sequence[str]:
        """``shard.tar/member.jpg``."""
        return [f"{self.shard}/{name}" for name, _, _ in self.members]

    def inputs(self, span: range) -> Iterator[Input]:
        """See ``Chunk``.  They are read here, in the order in which they lie."""
        names, position, most = self.names(), span.start, largest_bytes()
        try:
            with open_binary(self.shard) as file:
                for position in span:
                    name, start, size = names[position], *self.members[position][1:]
                    if size == NO_FILE:
                        yield failing_input(name, "a link in the shard, which is not followed")
                    elif size > most:
                        yield failing_input(name, too_large(size, most))
                    else:
                        yield Input(name, partial(NamedBytes, _content(file, start, size), name))
        except InputError as error:
            for rest in range(position, span.stop):
                yield failing_input(names[rest], str(error))


def _content(file: BinaryIO, start: int, size: int) -> bytes:
    file.seek(start)
    content = file.read(size)
    if len(content) < size:
        raise InputError("the shard has become shorter since its pictures were listed")
    return content


def members_of(shard: str) -> Iterator[Member]:
    """Pictures of a shard, in order; other members, links and hidden files left out.

    Raises:
        InputError: after what could be listed: it cannot be read, is no tar, damaged or cut off.
    """
    with open_binary(shard) as file:
        try:
            with tarfile.open(fileobj=_Headers(file), mode="r:") as archive:
                reached = 0
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined] # or it keeps all
                    if member.size < 0 or archive.offset <= reached:  # or it reads them for ever
                        raise InputError(f"damaged at byte {reached:,}: a member of no length")
                    reached = archive.offset
                    if not member.isdir() and _is_picture(member.name):
                        is_file = member.isreg() and not member.issparse()
                        yield member.name, member.offset_data, member.size if is_file else NO_FILE
                _check_end(file, archive.offset)
        except tarfile.TarError as error:
            raise InputError(
                f"no plain tar, or damaged or cut off ({error}). Compressed ones have to be "
                "unpacked first"
            ) from error


class _Headers(io.RawIOBase):
    """What ``tarfile`` reads headers from; no header is longer, whatever it states.

    tarfile makes room for all that an extra header states at once.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """See ``io.RawIOBase``."""
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise InputError(f"a header of {size:,} bytes; at most {MAX_HEADER_BYTES:,} are read")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """See ``io.RawIOBase``."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """See ``io.RawIOBase``."""
        return self._file.tell()


def _is_picture(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".")


def _check_end(file: BinaryIO, offset: int) -> None:
    """tarfile stops at the first damaged header as if it were the end."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise InputError(f"damaged or cut off at byte {offset:,}; what comes after is not known")
