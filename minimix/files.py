"""Writing files so that a name never shows half a result."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from minimix.errors import OutputError, UsageError


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

    Raises:
        UsageError: see ``check_free``.
        OutputError: the folder cannot be written, or the disk is full.
    """
    check_free(path, force=force)
    temporary = None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        # mkstemp makes the file private; a result is as readable as any file its owner writes.
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(path)
    except BaseException as error:
        if temporary is not None:
            with suppress(FileNotFoundError):
                temporary.unlink()
        if isinstance(error, OSError):
            raise OutputError(f"{path}: cannot be written: {error}") from error
        raise
