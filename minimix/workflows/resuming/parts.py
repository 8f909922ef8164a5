"""Work kept in numbered parts beside its result: a run that was cut goes on where it was.

    OUT.parts/manifest.json    what the parts are of: inputs, model, options, version
              inputs.ndjson    one line per input: name, size in bytes, time of change, and more
              part-000000      one checked part of the result each, written whole or not at all
              result.json      checksum of the finished result, just before it gets its name
              lock             held by the one process that works here

A part's checksum covers the manifest and the part's number, so that a part of other work, or one
under another's name, counts as damaged.  What a part holds may come from anyone: whoever reads it
checks its size and values too.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout

from minimix.errors import OutputError, UsageError
from minimix.workflows.resuming.manifest import (
    INPUTS,
    LOCK,
    MANIFEST,
    PART,
    begin,
    holds_work,
    unusable,
    write_whole,
    writing,
)

T = TypeVar("T")

RESULT, ASSEMBLED, REPLACED = "result.json", "assembled", "replaced"

_OURS = re.compile(
    rf"({'|'.join(map(re.escape, (MANIFEST, INPUTS, RESULT)))}|part-\d{{6,}})(\.new)?"
    rf"|{LOCK}|{ASSEMBLED}|{REPLACED}"
)
_MAGIC = b"minimix part 1\n"
_DIGEST_BYTES = 32
_TRIES = 100


def parts_folder(out: Path) -> Path:
    """The folder in which the work on a result is kept.

    >>> parts_folder(Path("results/out.npz")).name
    'out.npz.parts'
    """
    return out.with_name(f"{out.name}.parts")


def is_product(folder: Path, out: Path) -> bool:
    """Whether ``out`` was finished by the work in ``folder``, which is still whole.

    A folder without a manifest is removed: nobody had begun there, or its removal was cut, and
    then the result is as finished as any other.
    """
    if folder.is_dir() and not (folder / MANIFEST).exists():
        with writing(folder), suppress(UsageError), _alone_in(folder):
            return False  # leaving removes it
    try:
        stored = json.loads((folder / RESULT).read_text("utf-8"))
        return isinstance(stored, dict) and stored.get("sha256") == _sha256_of(out)
    except (OSError, ValueError, RecursionError):  # not there, not ours
        return False


class Parts:
    """The parts of one piece of work, open for this process alone.  Made by ``open_parts``."""

    def __init__(self, folder: Path, digest: bytes, count: int) -> None:
        self.folder, self.count = folder, count
        self._digest = digest

    def missing(self, decode: Callable[[int, bytes], object]) -> list[int]:
        """Numbers of the parts that are not there, or damaged; ``decode`` raises ValueError too."""
        return [n for n in range(self.count) if self._decoded(n, decode) is None]

    def read(self, index: int, decode: Callable[[int, bytes], T]) -> T:
        """Read a part that was written.

        Raises:
            OutputError: it is gone, or was damaged since.
        """
        decoded = self._decoded(index, decode)
        if decoded is None:
            raise OutputError(f"{self._path(index)}: was damaged just now. Run the same again")
        return decoded[0]

    def write(self, index: int, content: bytes) -> None:
        """Keep a part: whole under its name, or not at all.

        Raises:
            OutputError: the disk is full, the folder is read-only.
        """
        checked = _MAGIC + self._checksum(index, content) + content
        write_whole(self._path(index), checked)

    @contextmanager
    def result(self, out: Path) -> Iterator[Path]:
        """Yield a name to assemble the result under; rename it to ``out``, and remove the work.

        The result is a file or a folder of files; what has its name is replaced.

        Raises:
            OutputError: the disk is full, the folder is read-only.
        """
        assembled = self.folder / ASSEMBLED
        with writing(out):
            _remove(assembled)
            yield assembled
            for path in _files_of(assembled):
                with path.open("rb+") as file:
                    os.fsync(file.fileno())
            stored = json.dumps({"sha256": _sha256_of(assembled)})
            write_whole(self.folder / RESULT, stored.encode())
            if assembled.is_dir() and out.is_dir():  # nothing replaces a folder that is not empty
                out.replace(self.folder / REPLACED)
            assembled.replace(out)
        self.remove()

    def remove(self) -> None:
        """Remove the work: its result is written."""
        _clear(self.folder)

    def _path(self, index: int) -> Path:
        return self.folder / f"{PART}{index:06d}"

    def _checksum(self, index: int, content: bytes) -> bytes:
        return hashlib.sha256(self._digest + index.to_bytes(8, "big") + content).digest()

    def _decoded(self, index: int, decode: Callable[[int, bytes], T]) -> tuple[T] | None:
        try:
            stored = self._path(index).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise unusable(self._path(index), error) from error
        start = len(_MAGIC) + _DIGEST_BYTES
        content = stored[start:]
        if stored[:start] != _MAGIC + self._checksum(index, content):
            return None
        try:
            return (decode(index, content),)
        except (ValueError, RecursionError):
            return None


@contextmanager
def open_parts(
    folder: Path,
    manifest: Mapping[str, Any],
    inputs: Iterable[str],
    count: int | None = None,
    *,
    restart: bool = False,
) -> Iterator[Parts]:
    """Open the work in a folder, begun now or found there, for this process alone.

    Args:
        folder: see ``parts_folder``; its parent exists.
        manifest: JSON of what the parts depend on beside the inputs: model, options, version.
        inputs: one JSON list per input, its name first, with all that the parts depend on; or per
            several inputs: their names, a list of what is stated of each, and the rest.
        count: how many parts there are; by default one per input.
        restart: discard what is there.

    Raises:
        UsageError: there is other work in the folder (the message says what differs), or what is
            no work at all, or another process works there.
        OutputError: the folder cannot be written.
    """
    with ExitStack() as stack:
        with writing(folder):
            stack.enter_context(_alone_in(folder))
            if restart:
                _clear(folder)
            digest = begin(folder, manifest, inputs)
        with writing(folder):
            number = _count_lines(folder / INPUTS) if count is None else count
        yield Parts(folder, digest, number)


def _count_lines(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Make the folder if it is not there, hold its lock, and leave no empty folder behind."""
    _check_ours(folder)
    lock_file = folder / LOCK
    lock = FileLock(lock_file)
    for _ in range(_TRIES):  # whoever finishes here removes the folder
        with suppress(FileExistsError):  # gone just when mkdir looked, ours or filelock's
            folder.mkdir(exist_ok=True)
            if _is_held(lock, folder):
                break
    else:
        raise OutputError(f"{folder}: vanishes again and again. Name another result")
    try:
        yield
    finally:
        # All while it is held: as soon as it is not, somebody else may begin here.
        with suppress(OSError):
            if not holds_work(folder):
                _clear(folder)
        with suppress(OSError):
            lock_file.unlink()
        lock.release()
        with suppress(OSError):  # Windows does not let go of an open file; nothing empty stays
            if os.name == "nt":
                lock_file.unlink(missing_ok=True)
            folder.rmdir()


def _is_held(lock: FileLock, folder: Path) -> bool:
    """Whether the folder was there to lock.

    Raises:
        UsageError: another process has locked it.
    """
    try:
        lock.acquire(timeout=0)
    except FileNotFoundError:
        return False
    except Timeout as error:
        raise UsageError(
            f"{folder}: another process works here. Wait for its end, or name another result"
        ) from error
    return True


def _check_ours(folder: Path) -> None:
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UsageError(f"{folder}: is a link or a file; expected a folder of work. Move it away")
    names = sorted(path.name for path in folder.iterdir()) if folder.exists() else []
    others = [name for name in names if not _OURS.fullmatch(name)]
    if others:
        raise UsageError(f"{folder}: holds {others[0]}, which is no work of minimix. Move it away")


def _clear(folder: Path) -> None:
    """Remove all work: first the manifest, without which the rest is nothing."""
    for name in (MANIFEST, *sorted(path.name for path in folder.iterdir())):
        if _OURS.fullmatch(name) and name != LOCK:
            _remove(folder / name)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _files_of(path: Path) -> list[Path]:
    """A file, or a folder's, sorted."""
    return sorted(path.iterdir()) if path.is_dir() else [path]


def _sha256_of(path: Path) -> str:
    """Checksum of a file, or of a folder's names and files."""
    whole = hashlib.sha256()
    for file in _files_of(path):
        with file.open("rb") as stream:
            checksum = hashlib.file_digest(stream, "sha256").hexdigest()
        if not path.is_dir():
            return checksum
        whole.update(f"{file.name}\0{checksum}\n".encode())
    return whole.hexdigest()
