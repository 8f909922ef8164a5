"""Files wherever they are: on this machine by path, elsewhere by any URL that fsspec knows."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from minimix.errors import InputError, UsageError
from minimix.inputs import PICTURE_ENDINGS, NamedBytes, largest_bytes
from minimix.network import OFFLINE_VARIABLE
from minimix.streams import read_at_most

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_LOCAL = frozenset({"file", "local", "memory"})

SHARD, TABLE = ".tar", ".parquet"
ENDINGS = PICTURE_ENDINGS | {SHARD, TABLE}
"""Of the files that are taken from folders and prefixes."""


def scheme_of(name: str) -> str:
    """The scheme of a URL, or nothing of a path.

    >>> scheme_of("s3://bucket/a.jpg"), scheme_of("C:/a.jpg"), scheme_of("a.jpg")
    ('s3', '', '')
    """
    match = _SCHEME.match(name)
    return match[1].lower() if match else ""


def is_stored(name: str) -> bool:
    """Whether fsspec has to open it: a URL of anything but the web."""
    return scheme_of(name) not in ("", "http", "https")


def ending_of(name: str) -> str:
    """A file's ending in small letters, without what a URL asks of it.

    >>> ending_of("https://host/shard.TAR?signature=x.jpg")
    '.tar'
    """
    return Path(urlsplit(name).path if scheme_of(name) else name).suffix.lower()


def is_elsewhere(name: str) -> bool:
    """Whether another machine has to be asked for it.

    >>> is_elsewhere("s3://bucket/a.jpg"), is_elsewhere("file:///a.jpg"), is_elsewhere("a.jpg")
    (True, False, False)
    """
    return scheme_of(name) not in _LOCAL | {""}


def absolute(name: str) -> str:
    """A name that means the same in any folder.

    >>> absolute("s3://bucket/a.jpg"), absolute("/photos/a.jpg")
    ('s3://bucket/a.jpg', '/photos/a.jpg')
    """
    return name if scheme_of(name) else os.path.abspath(name)  # noqa: PTH100 - no links resolved


def check_online(name: str, *, offline: bool) -> None:
    """Check that a name may be reached.

    Raises:
        InputError: it is elsewhere, and the network is forbidden.
    """
    if offline and is_elsewhere(name):
        raise InputError(f"the network is forbidden (--offline or {OFFLINE_VARIABLE})")


def expand(name: str) -> list[str]:
    """URL of a file, folder or pattern in a store -> the URLs of the files, sorted.

    Raises:
        InputError: it cannot be reached, or nothing is there.
        UsageError: fsspec is not installed.
    """
    with _reached(name):
        system, path = _fsspec().core.url_to_fs(name)
        if any(sign in path for sign in "*?["):
            found = [entry for entry in system.glob(path) if not system.isdir(entry)]
        elif system.isdir(path):
            found = [entry for entry in system.find(path) if _is_wanted(entry[len(path) :])]
        else:
            found = [path]
        names = sorted(system.unstrip_protocol(entry) for entry in found)
    if not names:
        raise InputError("no picture, shard or table there")
    return names


def _is_wanted(path: str) -> bool:
    parts = [part for part in path.split("/") if part]
    return ending_of(path) in ENDINGS and not any(part.startswith(".") for part in parts)


@contextmanager
def open_binary(name: str) -> Iterator[BinaryIO]:
    """Open a file for reading at any place.

    Raises:
        InputError: it cannot be reached or read; also from what is done with it.
        UsageError: fsspec is not installed.
    """
    with _reached(name):
        if scheme_of(name):
            with _fsspec().open(name, "rb") as file:
                yield file
        else:
            with Path(name).open("rb") as file:
                yield file


def read_stored(name: str) -> NamedBytes:
    """A picture's bytes from a store.

    Raises:
        InputError: it cannot be reached, or is too large.
    """
    try:
        with open_binary(name) as file:
            return NamedBytes(checked_bytes(read_at_most(file, largest_bytes() + 1)), name)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error


def checked_bytes(content: bytes) -> bytes:
    """Bytes of a picture, if they are not too many.

    Raises:
        InputError: they are.
    """
    most = largest_bytes()
    if len(content) > most:
        raise InputError(f"more than {most:,} bytes. Shrink it first, or raise MINIMIX_MAX_BYTES")
    return content


@contextmanager
def _reached(name: str) -> Iterator[None]:
    """Turn what a store raises into an InputError without the name."""
    try:
        yield
    except (InputError, UsageError, GeneratorExit):
        raise
    except FileNotFoundError as error:
        raise InputError("no such file. Check its spelling") from error
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror or error}") from error
    except ImportError as error:  # fsspec says which package knows the scheme
        raise UsageError(f"{name}: {error}") from error
    except Exception as error:  # every store has exceptions of its own
        raise InputError(f"cannot be read: {type(error).__name__}: {error}") from error


def _fsspec() -> Any:
    try:
        import_module("fsspec.core")
        return import_module("fsspec")
    except ImportError as error:
        raise UsageError(
            f"reading from stores needs fsspec, which cannot be imported ({error}): pip install "
            "'minimix[batch]'"
        ) from error
