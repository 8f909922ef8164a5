"""A checkpoint file, mapped: its bytes are read where they lie, never copied as a whole."""

from __future__ import annotations

import hashlib
import mmap
import os
import stat
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from minimix.errors import WeightsError
from weights_tools.readers.sorted_table import MAGIC, ends_a_table
from weights_tools.readers.tensorflow_names import (
    INDEX_SUFFIX,
    MAX_STATE_BYTES,
    STATE_NAME,
    choose_bundle,
    index_of_shard,
    listed,
    newest_bundle,
)

PIECE_BYTES = 2**17
"""How much of a file is read at a time where all of it is; a multiple of every page size."""


@dataclass(frozen=True)
class Source:
    """An open checkpoint.  ``data`` is unmapped when nobody refers to it any more."""

    path: Path
    data: mmap.mmap

    @property
    def size_bytes(self) -> int:
        """The file's size when it was opened."""
        return len(self.data)

    def sha256(self) -> str:
        """Hash of all bytes, 64 hexadecimal digits."""
        digest = hashlib.sha256()
        for piece in self.pieces():
            digest.update(piece)
        return digest.hexdigest()

    def pieces(self) -> Iterator[bytes]:
        """Yield the file from front to back, giving the memory of each piece back after it."""
        for start in range(0, self.size_bytes, PIECE_BYTES):
            yield self.data[start : start + PIECE_BYTES]
            # Windows has no such call, and takes the pages back when it needs them.
            if sys.platform != "win32":
                size = min(PIECE_BYTES, self.size_bytes - start)
                self.data.madvise(mmap.MADV_DONTNEED, start, size)

    def fail(self, problem: str) -> WeightsError:
        """Return the error that names this file; the caller raises it."""
        return WeightsError(f"{self.path}: {problem}")


def open_source(path: Path | str) -> Source:
    """Path -> the mapped file.

    A TensorFlow bundle is several files: for its folder, or the prefix that its files share, this
    opens the index.

    Raises:
        WeightsError: there is no such file, it is no regular file, is empty or unreadable; a
            folder does not say which bundle to read; the file is one shard of a bundle.
    """
    path = Path(path)
    try:
        path = _resolve(path)
        status = path.stat()
        # A pipe would block on open, and cannot be mapped.
        if not stat.S_ISREG(status.st_mode):
            raise WeightsError(f"{path}: expected a checkpoint file, found no regular file")
        if status.st_size == 0:
            raise WeightsError(f"{path}: the file is empty. Download or copy it again")
        with path.open("rb") as file:
            return Source(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file. Check the path, or fetch the model") from error
    except (OSError, ValueError, OverflowError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}. Check its permissions") from error


def _resolve(path: Path) -> Path:
    """Path as the user names it -> the file that lists the checkpoint's tensors."""
    if path.is_dir():
        return _bundle_in(path)
    index = path.with_name(path.name + INDEX_SUFFIX)
    if not path.exists():
        return index if index.is_file() else path
    # A shard is bare numbers: it can look like anything, and only its index says what it is.
    named = index_of_shard(path.name)
    if named is not None and _is_index(path.with_name(named)):
        raise WeightsError(
            f"{path}: one shard of a TensorFlow bundle, without names or shapes. Name its index: "
            f"{path.with_name(named)}"
        )
    return path


def _is_index(path: Path) -> bool:
    """Whether a regular file ends as a sorted table does."""
    if not path.is_file() or path.stat().st_size < len(MAGIC):
        return False
    with path.open("rb") as file:
        file.seek(-len(MAGIC), os.SEEK_END)
        return ends_a_table(file.read())


def _bundle_in(folder: Path) -> Path:
    """Folder -> the index of the bundle in it."""
    names = sorted(entry.name for entry in folder.iterdir())
    indexes = [name for name in names if name.endswith(INDEX_SUFFIX) and _is_index(folder / name)]
    prefixes = [name.removesuffix(INDEX_SUFFIX) for name in indexes]
    try:
        return folder / (choose_bundle(prefixes, _newest(folder / STATE_NAME)) + INDEX_SUFFIX)
    except ValueError as error:
        problem = f"{folder}: found a folder with {error}. "
        if not indexes:
            holds = f"it holds {listed(names)}" if names else "it is empty"
            raise WeightsError(f"{problem}Name a checkpoint file; {holds}") from error
        raise WeightsError(f"{problem}Name the index of one: {folder / indexes[-1]}") from error


def _newest(state: Path) -> set[str]:
    """Return the bundle that a folder's ``checkpoint`` file names, or nothing."""
    if not state.is_file():
        return set()
    with state.open("rb") as file:
        newest = newest_bundle(file.read(MAX_STATE_BYTES))
    return {newest} if newest else set()
