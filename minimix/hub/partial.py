"""A download on its way: the bytes that are here, and what tells whether more of the same follow.

Beside ``NAME.part`` lies ``NAME.part.json``: the address that was asked, the file's validator there
(a strong ETag or the date of its last change) and its size.  Bytes without these are not added to,
and in a folder of the user's a file without such a neighbour is not ours to touch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from minimix.cachedir import CACHE_ADVICE, writing
from minimix.errors import UsageError


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a partial file come from.

    Attributes:
        validator: the ETag or date that the server gave, or empty: nothing is added to the bytes.
        total_bytes: of the whole file; None where the server did not say.
    """

    address: str
    validator: str
    total_bytes: int | None


class PartialFile:
    """The file at ``path``, which grows, and its origin beside it."""

    def __init__(self, path: Path, advice: str = CACHE_ADVICE) -> None:
        """``advice`` ends the error where it cannot be written."""
        self.path, self._advice = path, advice
        self._origin_path = path.with_name(f"{path.name}.json")

    @property
    def paths(self) -> tuple[Path, Path]:
        """What a download that can be resumed consists of."""
        return self.path, self._origin_path

    @property
    def size_bytes(self) -> int:
        """How much is here; 0 without a file."""
        try:
            return self.path.stat().st_size
        except FileNotFoundError:
            return 0

    def origin(self, address: str) -> Origin | None:
        """Where the bytes come from, if they can be added to from this address."""
        origin = self._read_origin() if self.size_bytes else None
        return origin if origin and origin.address == address and origin.validator else None

    def _read_origin(self) -> Origin | None:
        try:
            origin = Origin(**json.loads(self._origin_path.read_text("utf-8")))
        except (
            OSError,
            ValueError,
            TypeError,
            RecursionError,
        ):  # none, not ours, or cut while it was written
            return None
        is_text = isinstance(origin.address, str) and isinstance(origin.validator, str)
        is_sized = origin.total_bytes is None or type(origin.total_bytes) is int
        return origin if is_text and is_sized else None

    def check_ours(self) -> None:
        """Check that nothing but an interrupted download of ours stands in the way.

        Raises:
            UsageError: something else does; it stays as it is.
        """
        in_the_way = [path for path in self.paths if os.path.lexists(path)]
        is_plain = all(path.is_file() and not path.is_symlink() for path in in_the_way)
        if in_the_way and not (is_plain and self._read_origin()):
            raise UsageError(
                f"{in_the_way[0]}: the download would be kept there on its way, and what is there "
                "is none that can go on. Move it away, or name another file to write"
            )

    def begin(self, origin: Origin) -> None:
        """Start over, empty, with bytes from there.

        Raises:
            OutputError: see ``writing``.
        """
        with writing(self.path, self._advice):
            # In this order: an interruption in between leaves no bytes of another origin, and no
            # file of ours that cannot be told from one of the user's.
            if self.path.exists():
                self.path.write_bytes(b"")
            self._origin_path.write_text(json.dumps(asdict(origin)), encoding="utf-8")
            self.path.write_bytes(b"")

    @contextmanager
    def appending(self) -> Iterator[Callable[[bytes], None]]:
        """Yield what adds bytes at the end; they are with the system at once, whatever follows.

        Raises:
            OutputError: see ``writing``; also from what is yielded.
        """
        with writing(self.path, self._advice):
            file = self.path.open("ab", buffering=0)

        def append(piece: bytes) -> None:
            left = memoryview(piece)
            with writing(self.path, self._advice):
                while left:
                    left = left[file.write(left) :]

        with file:
            yield append

    def finish(self, path: Path) -> None:
        """Give the whole file its name.

        Raises:
            OutputError: see ``writing``.
        """
        with writing(path, self._advice):
            self.path.replace(path)
        self.remove()

    def remove(self) -> None:
        """Leave nothing behind."""
        for path in self.paths:
            with suppress(OSError):  # it is in the way of nothing, and another error is reported
                path.unlink(missing_ok=True)
