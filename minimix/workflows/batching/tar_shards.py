"""Pictures in tar files, as WebDataset keeps them: listed by their headers, read where they lie.

Only plain tar: of a compressed one no part can be read without all before it.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minimix.errors import InputError
from minimix.inputs import MAX_BYTES, PICTURE_ENDINGS, Input, NamedBytes
from minimix.workflows.batching.chunks import Chunk, failing_input
from minimix.workflows.batching.stores import open_binary

Member = tuple[str, int, int]
"""Name, place of its first byte, number of bytes."""


@dataclass(frozen=True)
class TarChunk(Chunk):
    """Some members of one shard."""

    shard: str
    members: tuple[Member, ...]

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.members)

    def names(self) -> Sequence[str]:
        """``shard.tar/member.jpg``."""
        return [f"{self.shard}/{name}" for name, _, _ in self.members]

    def inputs(self, span: range) -> Iterator[Input]:
        """See ``Chunk``.  They are read here, in the order in which they lie."""
        names, position = self.names(), span.start
        try:
            with open_binary(self.shard) as file:
                for position in span:
                    name, start, size = names[position], *self.members[position][1:]
                    if size > MAX_BYTES:
                        yield failing_input(name, f"{size:,} bytes; {MAX_BYTES:,} at most")
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
            with tarfile.open(fileobj=file, mode="r:") as archive:
                while (member := archive.next()) is not None:
                    archive.members.clear()  # type: ignore[attr-defined] # or it keeps all
                    if member.isreg() and not member.issparse() and _is_picture(member.name):
                        yield member.name, member.offset_data, member.size
                _check_end(file, archive.offset)
        except tarfile.TarError as error:
            raise InputError(
                f"no plain tar, or damaged or cut off ({error}). Compressed ones have to be "
                "unpacked first"
            ) from error


def _is_picture(name: str) -> bool:
    path = Path(name)
    return path.suffix.lower() in PICTURE_ENDINGS and not path.name.startswith(".")


def _check_end(file: BinaryIO, offset: int) -> None:
    """tarfile stops at the first damaged header as if it were the end."""
    file.seek(offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise InputError(f"damaged or cut off at byte {offset:,}; what comes after is not known")
