"""What the user named -> a stream of inputs: files, globs, folders, lists, URLs, standard input.

Nothing is opened before its turn, and what cannot be found is an input too: one that fails when it
is opened, so that the rest goes on.
"""

from __future__ import annotations

import glob
import io
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from minimix.errors import InputError
from minimix.limits import in_force
from minimix.network import OFFLINE_VARIABLE, is_offline
from minimix.streams import read_at_most

MAX_BYTES = 64 * 2**20
"""Bytes that a picture may have on standard input, from a URL or store, in a shard or table."""

STDIN = "-"

PICTURE_ENDINGS = frozenset(
    ".apng .avif .avifs .blp .bmp .bw .cur .dcx .dds .dib .fit .fits .flc .fli .ftc .ftu .gbr .gif"
    " .icb .icns .ico .iim .im .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .msp .pbm"
    " .pcd .pcx .pfm .pgm .png .pnm .ppm .psd .pxr .qoi .ras .rgb .rgba .sgi .tga .tif .tiff .vda"
    " .vst .webp .xbm .xpm".split()
)
"""Endings of the files that are looked at in folders: those of the formats that Pillow decodes.

Not of those that it only recognises (.h5 and .mpg among them), nor of vector formats, which
``minimix.images`` refuses.  Written out, because asking Pillow costs the import of 45 plugins.
"""

LONGEST_ENTRY = 1 << 16
"""Bytes of one path in a list."""

_LIST_CHUNK_BYTES = 1 << 16
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


@dataclass(frozen=True)
class Input:
    """One picture that the user named.

    Attributes:
        name: how the user knows it: a path, a URL, ``-``.
        open: what brings it: a path, or a stream in memory whose ``name`` is the input's.  It
            raises InputError where nothing can be had.
        problem: why there is none, where that is known without opening it.
    """

    name: str
    open: Callable[[], Path | BinaryIO]
    problem: str = ""


class NamedBytes(io.BytesIO):
    """A file in memory that knows what it is called, for the messages of those who read it."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def find_inputs(
    named: Iterable[str],
    *,
    listed: str | None = None,
    offline: bool = False,
    endings: frozenset[str] = PICTURE_ENDINGS,
) -> Iterator[Input]:
    """What the user named, and a list of more -> the inputs, in that order, one by one.

    Args:
        named: files, folders (walked in sorted order, hidden names left out), shell patterns,
            http and https URLs, ``-`` for the bytes of one picture on standard input.
        listed: a file that holds one path, folder or URL a line, or ``-`` for standard input.
            Where it holds NULs they separate the paths.  Its patterns are taken literally.
        offline: refuse URLs; the environment can forbid them too, see ``minimix.network``.
        endings: of the files that are taken from folders.

    >>> [item.name for item in find_inputs(["a.jpg", "-"])]
    ['a.jpg', '-']
    """
    offline = offline or is_offline()
    for name in named:
        if name == STDIN:
            yield Input(STDIN, _read_stdin)
        elif _is_pattern(name):
            yield from _matches(name, offline, endings)
        else:
            yield from _named(name, offline, endings)
    if listed is not None:
        yield from _listed(listed, offline, endings)


def named_input(name: str, *, offline: bool = False) -> Input:
    """A file's path or a URL, taken literally -> the input; opening it says what is wrong.

    >>> named_input("a*.jpg").name
    'a*.jpg'
    """
    if not name:
        return Input(name, _nothing)
    if _SCHEME.match(name):
        return Input(name, partial(_fetch, name, offline or is_offline()))
    return Input(name, partial(_existing, name))


def count_inputs(named: Iterable[str]) -> int | None:
    """How many inputs the names stand for, or None where only looking would tell.

    >>> count_inputs(["a.jpg", "b.jpg"]), count_inputs(["a.jpg", "*.png"])
    (2, None)
    """
    names = list(named)
    unknown = any(_is_pattern(name) or _is_folder(name) for name in names)
    return None if unknown else len(names)


def _is_pattern(name: str) -> bool:
    return not _SCHEME.match(name) and glob.has_magic(name) and not os.path.lexists(name)


def _failed(name: str, why: str) -> Input:
    def fail() -> Path:
        raise InputError(f"{name}: {why}")

    return Input(name, fail, why)


def _named(name: str, offline: bool, endings: frozenset[str]) -> Iterator[Input]:
    if name and not _SCHEME.match(name) and _is_folder(name):
        yield from _walk(name, endings)
    else:
        yield named_input(name, offline=offline)


def largest_bytes() -> int:
    """Bytes that a picture may have that is no file of this machine: see ``MAX_BYTES``.

    Raises:
        UsageError: ``MINIMIX_MAX_BYTES`` is no positive whole number.
    """
    return in_force("MINIMIX_MAX_BYTES", MAX_BYTES)


def _nothing() -> Path:
    raise InputError("an empty name; expected a file, folder, pattern or URL")


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except (OSError, ValueError):  # not to be reached, too long: opening it will say so
        return False


def _existing(name: str) -> Path:
    path = Path(name)
    try:
        path.stat()
    except FileNotFoundError as error:
        raise InputError(
            f"{name}: no such file. Check its spelling, and the folder you are in"
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"{name}: cannot be reached: {reason}. Check its spelling and permissions"
        ) from error
    return path


def _matches(pattern: str, offline: bool, endings: frozenset[str]) -> Iterator[Input]:
    # As a shell would have done it: hidden names left out, the folder spelt as it was given.
    names = sorted(glob.glob(pattern, recursive=True))  # noqa: PTH207
    if not names:
        yield _failed(pattern, "no file matches this pattern. Check the folder you are in")
    for name in names:
        yield from _named(name, offline, endings)


def _walk(folder: str, endings: frozenset[str]) -> Iterator[Input]:
    refused: list[OSError] = []
    found = False
    for parent, folders, files in os.walk(folder, onerror=refused.append):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(files):
            if not name.startswith(".") and Path(name).suffix.lower() in endings:
                found = True
                path = os.path.join(parent, name)  # noqa: PTH118 - as the user wrote the folder
                yield Input(path, partial(_existing, path))
    for error in refused:
        yield _failed(str(error.filename), f"the folder cannot be listed: {error.strerror}")
    if not found and not refused:
        yield _failed(folder, "no picture in this folder; looked for .jpg, .png, .webp and others")


def _listed(source: str, offline: bool, endings: frozenset[str]) -> Iterator[Input]:
    called = "the list on standard input" if source == STDIN else source
    found = False
    try:
        stream = _stdin_bytes() if source == STDIN else Path(source).open("rb")
        with stream:
            for name in entries_of(stream):
                found = True
                yield from _named(name, offline, endings)
    except (OSError, InputError) as error:
        reason = getattr(error, "strerror", None) or error
        yield _failed(called, f"the list cannot be read: {reason}")
    else:
        if not found:
            yield _failed(called, "the list is empty; expected one path a line")


def entries_of(stream: BinaryIO) -> Iterator[str]:
    """A list's entries as soon as they have arrived, without waiting for the list's end.

    Raises:
        InputError: one is longer than any path.
    """
    rest, separator = b"", b""
    # read1 gives what a pipe holds by now; read would wait for a full chunk.
    read = getattr(stream, "read1", stream.read)
    while chunk := read(_LIST_CHUNK_BYTES):
        rest += chunk
        if not separator:
            rest = rest.removeprefix(_BYTE_ORDER_MARK)
            separator = b"\0" if b"\0" in rest else b"\n" if b"\n" in rest else b""
        if separator:
            *whole, rest = rest.split(separator)
            yield from _decoded(whole, separator)
        if len(rest) > LONGEST_ENTRY:
            raise InputError(f"an entry of over {LONGEST_ENTRY:,} bytes; expected one path a line")
    yield from _decoded([rest], separator)


def _decoded(entries: list[bytes], separator: bytes) -> Iterator[str]:
    for entry in entries:
        # Lists written on Windows end their lines with CR LF.
        line = entry if separator == b"\0" else entry.removesuffix(b"\r")
        if line:
            yield os.fsdecode(line)


def _stdin_bytes() -> BinaryIO:
    if sys.stdin is None or sys.stdin.isatty():
        raise InputError("standard input is no file or pipe. Feed it: cat FILE | minimix ...")
    # A duplicate, so that closing it leaves the process's own standard input open.
    return os.fdopen(os.dup(sys.stdin.fileno()), "rb")


def _read_stdin() -> BinaryIO:
    most = largest_bytes()
    try:
        with _stdin_bytes() as stream:
            content = read_at_most(stream, most + 1)
    except OSError as error:
        raise InputError(f"{STDIN}: standard input cannot be read: {error}") from error
    except InputError as error:
        raise InputError(f"{STDIN}: {error}") from error
    if len(content) > most:
        raise InputError(
            f"{STDIN}: more than {most:,} bytes on standard input. Name a file, or raise "
            "MINIMIX_MAX_BYTES"
        )
    return NamedBytes(content, STDIN)


def _fetch(url: str, offline: bool) -> BinaryIO:
    if offline:
        raise InputError(
            f"{url}: the network is forbidden (--offline or {OFFLINE_VARIABLE}). Name a local file"
        )
    from minimix.download import download  # costs the import of requests

    return NamedBytes(download(url, max_bytes=largest_bytes()), url)
