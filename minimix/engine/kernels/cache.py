"""Machine code on disk, so that a second process compiles nothing.

One file per function, so that models share kernels, an interrupted run keeps what it has compiled,
and there is no index to agree on.  A file is::

    magic | SHA-256 of all that follows | key (32 bytes) | length of the name | name | object code

The key says what the code was made from and for (``environment_key``); a file whose key, name or
hash is not what it should be counts as missing, and is written anew.

The cache is code: whoever writes to it, runs in the processes that read it.  The folder is made
for its owner alone.  A folder or a file that is a link, is another user's, or that others may
write to is refused.  The folder is opened once, and files are named relative to it, so that what
was checked is what is read.  Windows has neither owners nor modes in Python's sense; there the
user's profile protects the folder.

Whatever goes wrong (no home, no permission, no space, refused): the cache says so once, closes for
the rest of the process, and the caller works with what it compiled.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import platform
import re
import secrets
import stat
import sys
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from minimix.cachedir import cache_folder
from minimix.unfinished import clear_abandoned, hold

MAGIC = b"minimix machine code 1\n"
_HASH_BYTES = 32
_NAME_SHOWN = 80
"""Characters of a function's name in its file's name; the key makes it unique."""

_TEMPORARY = re.compile(r"\..+\.code\.[0-9a-f]{16}\.part")
"""Names under which files are written."""

_IS_POSIX = os.name == "posix"
_FLAGS = getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
_ADVICE = "remove it, or name another folder in MINIMIX_CACHE_DIR"
_LOG = logging.getLogger("minimix")


class RefusedError(OSError):
    """A folder or file that somebody else could have written to."""


def source_hashes(folder: Path) -> dict[str, bytes]:
    """SHA-256 of every source file in a folder, by name."""
    paths = sorted(folder.glob("*.py"))
    return {path.name: hashlib.sha256(path.read_bytes()).digest() for path in paths}


_FOLDER = Path(__file__).parent
_SOURCES = source_hashes(_FOLDER)
"""Read on import: what is imported now is what will compile, whatever is edited meanwhile."""


def environment_key(settings: Iterable[object]) -> bytes:
    """What code depends on -> 32 bytes: our sources, versions, platform, and ``settings``.

    Raises:
        FileNotFoundError: the sources are not installed, so nobody can tell whether they changed.
    """
    from importlib.metadata import version  # Numba's version, without importing Numba

    digest = hashlib.sha256()
    if not _SOURCES:
        raise FileNotFoundError(f"{_FOLDER} holds no source files, by which code is keyed")
    for name, source in _SOURCES.items():
        _add(digest, name.encode())
        _add(digest, source)
    versions = (version("llvmlite"), version("numba"), sys.implementation.name, sys.version)
    for part in (*versions, sys.platform, platform.machine(), *settings):
        _add(digest, str(part).encode())
    return digest.digest()


def _add(digest: hashlib._Hash, part: bytes) -> None:
    """Add a part with its length, so that no two lists of parts look the same."""
    digest.update(len(part).to_bytes(8, "big") + part)


def pack(key: bytes, name: str, code: bytes) -> bytes:
    """Key, name and object code -> the bytes of a file."""
    encoded = name.encode()
    body = key + len(encoded).to_bytes(4, "big") + encoded + code
    return MAGIC + hashlib.sha256(body).digest() + body


def unpack(data: bytes, key: bytes, name: str) -> bytes | None:
    """The bytes of a file -> object code, or None where it is damaged or another function's.

    >>> data = pack(bytes(32), "relu", b"code")
    >>> unpack(data, bytes(32), "relu")
    b'code'
    >>> unpack(data[:-1], bytes(32), "relu") is None
    True
    """
    start = len(MAGIC) + _HASH_BYTES
    expected = pack(key, name, b"")[start:]
    stored, body = data[len(MAGIC) : start], data[start:]
    whole = data.startswith(MAGIC) and hashlib.sha256(body).digest() == stored
    return body[len(expected) :] if whole and body.startswith(expected) else None


class CodeCache:
    """Functions' object code in a folder.  No method raises: see the module.

    Args:
        folder: where; made when something is stored.  None for no cache at all.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._is_closed = False
        self._is_cleared = False

    def load(self, key: bytes, names: Iterable[str]) -> dict[str, bytes]:
        """Return the object code of those functions that are there and whole."""
        path, found = self.folder, dict[str, bytes]()
        if path is None:
            return found
        with self._noting_errors(), suppress(FileNotFoundError), _opened(path) as folder:
            for name in names:
                with suppress(FileNotFoundError):
                    code = unpack(_read(folder, path / _file_name(key, name)), key, name)
                    if code is not None:
                        found[name] = code
        return found

    def store(self, key: bytes, name: str, code: bytes) -> None:
        """Keep a function's object code."""
        path = self.folder
        if path is None:
            return
        with self._noting_errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir(mode=0o700, exist_ok=True)
            with _opened(path) as folder:
                if not self._is_cleared and folder is not None:
                    clear_abandoned(folder, _TEMPORARY)
                    self._is_cleared = True
                _write(folder, path / _file_name(key, name), pack(key, name, code))

    def close(self, reason: object) -> None:
        """Do without the cache from now on, and say why, once."""
        with self._lock:
            self.folder = None
            if not self._is_closed:
                self._is_closed = True
                _LOG.warning("kernels are compiled in memory, without the cache: %s", reason)

    @contextmanager
    def _noting_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.close(error)


@contextmanager
def _opened(folder: Path) -> Iterator[int | None]:
    """A folder's descriptor, checked; None on Windows, which has no such thing."""
    if not _IS_POSIX:
        yield None
        return
    handle = _open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _check(folder, os.fstat(handle))
        yield handle
    finally:
        os.close(handle)


def _open(path: Path, flags: int, folder: int | None = None) -> int:
    """Open what is no link, relative to a folder's descriptor where there is one."""
    try:
        return os.open(_place(folder, path), flags | _FLAGS, 0o600, dir_fd=folder)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EMLINK, errno.ENOTDIR) and path.is_symlink():
            raise RefusedError(f"{path} is a symbolic link; {_ADVICE}") from error
        raise


def _place(folder: int | None, path: Path) -> str:
    """How a file is named to the system, given its folder's descriptor or none."""
    return str(path) if folder is None else path.name


def _read(folder: int | None, path: Path) -> bytes:
    # A pipe that was put in a file's place must not keep us waiting.
    handle = _open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0), folder)
    with open(handle, "rb") as file:  # noqa: PTH123 - a descriptor, no path
        if _IS_POSIX:
            _check(path, os.fstat(handle), is_file=True)
        return file.read()


def _write(folder: int | None, path: Path, data: bytes) -> None:
    """Write to a name of our own, then rename: readers see all of a file or none of it."""
    handle, temporary = _create(folder, path)
    source, target = _place(folder, temporary), _place(folder, path)
    try:
        with open(handle, "wb") as file:  # noqa: PTH123 - a descriptor, no path
            file.write(data)
            if _IS_POSIX:  # locked as long as it is open
                file.flush()
                os.replace(source, target, src_dir_fd=folder, dst_dir_fd=folder)  # noqa: PTH105
        if not _IS_POSIX:  # Windows renames no open file
            os.replace(source, target)  # noqa: PTH105
    except BaseException as error:
        with suppress(FileNotFoundError):
            os.unlink(source, dir_fd=folder)  # noqa: PTH108
        # Windows replaces no file that another process is just reading: then it is there already.
        if _IS_POSIX or not isinstance(error, PermissionError) or not path.exists():
            raise


def _create(folder: int | None, path: Path) -> tuple[int, Path]:
    """Open a new file for writing, locked where there are locks; its handle and its name."""
    while True:
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
        handle = _open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, folder)
        if hold(handle, temporary.name, folder):
            return handle, temporary
        os.close(handle)


def _file_name(key: bytes, name: str) -> str:
    digest = hashlib.sha256(key + name.encode()).hexdigest()
    return f"{name[:_NAME_SHOWN]}-{digest[:32]}.code"


def _check(path: Path, status: os.stat_result, *, is_file: bool = False) -> None:
    """Check that only this user can have written to something.

    Raises:
        RefusedError: somebody else could.
    """
    if is_file and not stat.S_ISREG(status.st_mode):
        raise RefusedError(f"{path} is not a regular file; {_ADVICE}")
    if status.st_uid != os.geteuid():
        raise RefusedError(
            f"{path} belongs to user {status.st_uid}, not to {os.geteuid()}; {_ADVICE}"
        )
    if status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise RefusedError(f"{path} may be written by other users; {_ADVICE}")


@cache
def shared_cache() -> CodeCache:
    """Return the process's cache: ``kernels`` in minimix's cache folder."""
    cache_ = CodeCache(None)
    try:
        cache_.folder = cache_folder() / "kernels"
    except RuntimeError as error:  # no home
        cache_.close(f"{error}; name a folder in MINIMIX_CACHE_DIR")
    return cache_
