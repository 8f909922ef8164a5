"""Writing files so that a name never shows half a result."""

from __future__ import annotations

import os
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimix.errors import OutputError, UsageError
from minimix.unfinished import clear_abandoned, hold


def check_free(path: Path, *, force: bool = False) -> None:
    """Check that a result may be written to ``path``: an ordinary file's name, free or forced.

    Raises:
        UsageError: it exists, is no ordinary file (a folder, a device, a link), or its folder does
            not exist.
    """
    if path.is_dir():
        raise UsageError(f"{path}: is a folder; name a file")
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file()):
        raise UsageError(f"{path}: is a link or a device; name an ordinary file")
    if path.exists() and not force:
        raise UsageError(f"{path}: exists already; give --force (force=True) to replace it")
    if not path.parent.is_dir():
        raise UsageError(f"{path}: the folder {path.parent} does not exist; create it first")


def check_apart(result: Path, *others: Path | None) -> None:
    """Check that writing ``result`` replaces none of the other files of one command.

    Raises:
        UsageError: two names stand for one file.
    """
    for other in others:
        if other is not None and other.resolve() == result.resolve():
            raise UsageError(f"{result}: is also {other}, which it would replace; name another")


@contextmanager
def replacing(path: Path, *, force: bool = False) -> Iterator[Path]:
    """Yield a temporary name in the same folder; rename it on success, remove it on failure.

    What killed processes left of the same file is removed too, except on Windows.

    Raises:
        UsageError: see ``check_free``.
        OutputError: the folder cannot be written, or the disk is full.
    """
    check_free(path, force=force)
    try:
        with _temporary(path) as temporary:
            yield temporary
            temporary.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error


@contextmanager
def _temporary(path: Path) -> Iterator[Path]:
    """A new file beside ``path``, locked as long as it is in use; removed if it is still there."""
    _clear(path)
    temporary, handle = _create(path)
    try:
        yield temporary
    finally:
        with suppress(FileNotFoundError):  # it has been renamed
            temporary.unlink()
        if handle is not None:
            os.close(handle)


def _create(path: Path) -> tuple[Path, int | None]:
    """Make a temporary file; its name, and the handle that holds its lock."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        # As readable as any file its owner writes, which tempfile's are not.
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        if sys.platform == "win32":  # renames no open file
            os.close(handle)
            return temporary, None
        if hold(handle, str(temporary)):
            return temporary, handle
        os.close(handle)


def _clear(path: Path) -> None:
    """Remove temporary files of ``path`` that killed processes left."""
    names = re.compile(rf"\.{re.escape(path.name)}\.[0-9a-f]{{8}}\.part")
    if sys.platform != "win32":
        with suppress(OSError):  # a folder may be written to and not read
            folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                clear_abandoned(folder, names)
            finally:
                os.close(folder)
