"""A checkpoint file, mapped: its bytes are read where they lie, never copied as a whole."""

from __future__ import annotations

import hashlib
import mmap
import stat
from dataclasses import dataclass
from pathlib import Path

from minimix.errors import WeightsError


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
        return hashlib.sha256(self.data).hexdigest()

    def fail(self, problem: str) -> WeightsError:
        """Return the error that names this file; the caller raises it."""
        return WeightsError(f"{self.path}: {problem}")


def open_source(path: Path | str) -> Source:
    """Path -> the mapped file.

    Raises:
        WeightsError: there is no such file, it is no regular file, is empty or unreadable.
    """
    path = Path(path)
    try:
        status = path.stat()
        # A pipe would block on open, and neither it nor a folder can be mapped.
        if not stat.S_ISREG(status.st_mode):
            found = "a folder" if stat.S_ISDIR(status.st_mode) else "no regular file"
            raise WeightsError(f"{path}: expected a checkpoint file, found {found}")
        if status.st_size == 0:
            raise WeightsError(f"{path}: the file is empty. Download or copy it again")
        with path.open("rb") as file:
            return Source(path, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    except FileNotFoundError as error:
        raise WeightsError(f"{path}: no such file. Check the path, or fetch the model") from error
    except (OSError, ValueError, OverflowError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}. Check its permissions") from error
