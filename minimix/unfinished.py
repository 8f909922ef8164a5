"""Files that are being written are locked, which tells them from what a killed process left.

A lock lasts as long as its file is open, and so no longer than the process, however that ends.
Windows renames no open file: there nothing is locked, and nothing is cleared.
"""

from __future__ import annotations

import os
import re
import stat
import sys
from contextlib import suppress


def hold(handle: int, name: str, folder: int | None = None) -> bool:
    """Lock a new file until its handle is closed; whether it is still there to be written to.

    Whoever clears up may find it before it is locked, and removes it then: take another name.
    Where the file system has no locks nobody clears up.

    Args:
        handle: the open file.
        name: its path, or its name in ``folder``.
        folder: a folder's descriptor.
    """
    if sys.platform == "win32":
        return True
    is_ours = True
    with suppress(OSError):  # no locks
        is_ours = _lock(handle)
    return is_ours and os.access(name, os.F_OK, dir_fd=folder)


def clear_abandoned(folder: int, names: re.Pattern[str]) -> None:
    """Remove a folder's ordinary files of such names that no living process holds.

    What cannot be looked at or removed stays: it is of no use, but in nobody's way.

    Args:
        folder: its descriptor.
        names: what files that are being written, and no others, are called.
    """
    if sys.platform == "win32":
        return
    found: list[str] = []
    with suppress(OSError):
        found += filter(names.fullmatch, os.listdir(folder))
    for name in found:
        with suppress(OSError):
            _remove_abandoned(folder, name)


def _remove_abandoned(folder: int, name: str) -> None:
    if sys.platform != "win32":
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK
        handle = os.open(name, flags, dir_fd=folder)
        try:
            if stat.S_ISREG(os.fstat(handle).st_mode) and _lock(handle):
                os.unlink(name, dir_fd=folder)  # noqa: PTH108 - relative to a descriptor
        finally:
            os.close(handle)


def _lock(handle: int) -> bool:
    """Lock an open file; whether nobody else has.

    Raises:
        OSError: its file system has no locks.
    """
    if sys.platform != "win32":
        import fcntl  # not on Windows

        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    return True
