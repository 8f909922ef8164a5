"""One process at a time in a folder, which is gone again when nothing is left in it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from minimix.cachedir import make_folder, remove_empty, writing

NOTICE_S = 1.0
"""Seconds of waiting before somebody is told."""

_POLL_S = 0.05
_TRIES = 1000
"""How often a folder may vanish before we hold it: each time, somebody has finished there."""


@contextmanager
def alone_in(lock_file: Path, on_wait: Callable[[], None]) -> Iterator[None]:
    """Make a lock file's folder and hold the lock; on leaving, remove the folder if it is empty.

    Its parent goes with it if it is empty too, and all folders that were made here.

    Args:
        on_wait: is called once if another process (or thread) is there, after ``NOTICE_S``; it may
            raise to give up.

    Raises:
        OutputError: the folder cannot be made or locked.
    """
    lock, folder = FileLock(lock_file), lock_file.parent
    made, is_locked = _acquire(folder, lock, NOTICE_S)
    try:
        if not is_locked:
            on_wait()
            made += _acquire(folder, lock, -1)[0]
        yield
    finally:
        if lock.is_locked:
            # While it is held: the lock of a file without a name excludes nobody, which those who
            # wait for it notice.  Windows does not let go of an open file; there it stays.
            with suppress(OSError):
                lock_file.unlink()
            lock.release()
        remove_empty([folder, folder.parent, *made])


def _acquire(folder: Path, lock: FileLock, timeout_s: float) -> tuple[list[Path], bool]:
    """Try for so long, or for ever if negative; the folders made, and whether the lock is held."""
    made: list[Path] = []
    with writing(folder):
        for _ in range(_TRIES):
            with suppress(FileNotFoundError):
                made += make_folder(folder)
                # filelock makes it too, and stumbles where somebody has and removed it at once.
                with suppress(FileExistsError):
                    return made, _is_acquired(lock, timeout_s)
        raise FileNotFoundError("it vanishes again and again")


def _is_acquired(lock: FileLock, timeout_s: float) -> bool:
    try:
        lock.acquire(timeout=timeout_s, poll_interval=_POLL_S)
    except Timeout:
        return False
    return True
