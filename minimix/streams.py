"""Bytes of a picture, wherever they are: a file, bytes, a stream that may not be seekable."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minimix.errors import InputError
from minimix.limits import in_force

MAX_PIPE_BYTES = 64 * 2**20
"""Bytes that are read from what cannot be read twice."""

_PIECE_BYTES = 1 << 20


def name_of(source: str | Path | bytes | BinaryIO) -> str:
    """Return what messages call a source."""
    if isinstance(source, (str, Path)):
        return str(source)
    if isinstance(source, bytes):
        return f"image of {len(source)} bytes"
    return str(getattr(source, "name", "image stream"))


@contextmanager
def open_stream(source: str | Path | bytes | BinaryIO, name: str) -> Iterator[BinaryIO]:
    """Yield a seekable stream at its start; close it only if it was opened here."""
    if isinstance(source, bytes):
        yield _not_empty(io.BytesIO(source), name)
    elif isinstance(source, (str, Path)):
        with _open_file(Path(source), name) as file:
            yield _not_empty(file, name)
    else:
        yield _not_empty(source, name)


class Whole(io.BufferedReader):
    """A file that makes no room for more bytes than it has, whatever it is asked for.

    What a file states of its own lengths is what decoders ask for.

    Args:
        raw: opened without a buffer: ``path.open("rb", buffering=0)``.
    """

    def read(self, size: int | None = -1) -> bytes:
        """See ``io.BufferedReader``."""
        if size is not None and size > _PIECE_BYTES and self.seekable():
            size = min(size, max(0, os.fstat(self.fileno()).st_size - self.tell()))
        return super().read(size)


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        return Whole(path.open("rb", buffering=0))
    except IsADirectoryError as error:
        raise InputError(
            f"{name}: expected an image file, found a folder. Name the files in it"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{name}: cannot be opened: {reason}. Check its spelling and permissions"
        ) from error


def _read_pipe(stream: BinaryIO, name: str) -> BinaryIO:
    most = in_force("MINIMIX_MAX_PIPE_BYTES", MAX_PIPE_BYTES)
    data = read_at_most(stream, most + 1)
    if len(data) > most:
        raise InputError(
            f"{name}: over {most:,} bytes from a pipe. Save it as a file, or raise "
            "MINIMIX_MAX_PIPE_BYTES"
        )
    return io.BytesIO(data)


def read_at_most(stream: BinaryIO, most: int) -> bytes:
    """Stream -> its next bytes, not more than asked for; no more memory than they take.

    ``read`` would first make room for all that it was asked for.

    >>> read_at_most(io.BytesIO(b"abc"), 2)
    b'ab'
    """
    pieces, left = [], most
    while left > 0 and (piece := stream.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    return b"".join(pieces)


def _not_empty(stream: BinaryIO, name: str) -> BinaryIO:
    try:
        seekable: BinaryIO = stream if stream.seekable() else _read_pipe(stream, name)
        seekable.seek(0)
        empty = not seekable.read(1)
        seekable.seek(0)
    except OSError as error:
        raise InputError(f"{name}: reading failed: {error}. Try again, or copy it first") from error
    if empty:
        raise InputError(f"{name}: the file is empty (0 bytes). Fetch or export it again")
    return seekable
