"""Where minimix keeps what it can make again: converted models, downloads, compiled kernels."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimix.errors import OutputError


def cache_folder() -> Path:
    """MINIMIX_CACHE_DIR, or the platform's folder.  Nothing is created.

    Linux: ``$XDG_CACHE_HOME/minimix``, by default ``~/.cache/minimix``; macOS:
    ``~/Library/Caches/minimix``; Windows: ``%LOCALAPPDATA%/minimix/Cache``.

    Raises:
        RuntimeError: none of the variables is set, and the user has no home.
    """
    chosen = os.environ.get("MINIMIX_CACHE_DIR")
    if chosen:
        return Path(chosen)
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData/Local") / "minimix" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library/Caches/minimix"
    xdg = os.environ.get("XDG_CACHE_HOME")
    return (Path(xdg) if xdg else Path.home() / ".cache") / "minimix"


CACHE_ADVICE = "Make room there, or give the cache another folder in MINIMIX_CACHE_DIR"


@contextmanager
def writing(path: Path, advice: str = CACHE_ADVICE) -> Iterator[None]:
    """Turn what the file system refuses into an error that names the file.

    Args:
        advice: what to do about it, for a file outside the cache.

    Raises:
        OutputError: the disk is full, the folder is read-only.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror or error}. {advice}"
        ) from error


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and its missing parents; return those that were made, the innermost first.

    Raises:
        FileNotFoundError: somebody removed a parent meanwhile; try again.
        OSError: it cannot be made.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        try:
            path.mkdir(exist_ok=True)
        except FileExistsError as error:
            if _is_in_the_way(path):
                raise
            # Somebody made it before us and removed it since, or has even made it anew.
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path)) from error
    return missing


def _is_in_the_way(path: Path) -> bool:
    """Whether there is something that is no folder.  One look: folders come and go meanwhile."""
    try:
        return not stat.S_ISDIR(path.lstat().st_mode)
    except FileNotFoundError:
        return False


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove those folders that hold nothing, in this order."""
    for folder in folders:
        with suppress(OSError):  # not empty, not there, not ours
            folder.rmdir()
