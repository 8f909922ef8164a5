"""Bytes of a picture, wherever they are: a file, bytes, a stream that may not be seekable."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from minimix.errors import InputError

MAX_PIPE_BYTES = 64 * 2**20
"""Bytes that are read from what cannot be read twice."""


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


def _open_file(path: Path, name: str) -> BinaryIO:
    try:
        return path.open("rb")
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
    data = stream.read(MAX_PIPE_BYTES + 1)
    if len(data) > MAX_PIPE_BYTES:
        raise InputError(f"{name}: over {MAX_PIPE_BYTES:,} bytes from a pipe. Save it as a file")
    return io.BytesIO(data)


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
