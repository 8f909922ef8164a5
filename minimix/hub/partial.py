"""A download on its way: the bytes that are here, and what tells whether more of the same follow.

Beside ``NAME.part`` lies ``NAME.part.json``: the address that was asked, the file's validator there
(a strong ETag or the date of its last change) and its size.  Bytes without these are not added to.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from minimix.cachedir import writing


@dataclass(frozen=True)
class Origin:
    """Where the bytes of a partial file come from.

    Attributes:
        validator: the ETag or date that the server gave; never empty.
        total_bytes: of the whole file; None where the server did not say.
    """

    address: str
    validator: str
    total_bytes: int | None


class PartialFile:
    """The file at ``path``, which grows, and its origin beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
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
        if not self.size_bytes:
            return None
        try:
            fields = json.loads(self._origin_path.read_text("utf-8"))
            origin = Origin(**fields)
        except (OSError, ValueError, TypeError):  # none, or cut while it was written
            return None
        is_known = origin.address == address and isinstance(origin.validator, str)
        is_sized = origin.total_bytes is None or type(origin.total_bytes) is int
        return origin if is_known and origin.validator and is_sized else None

    def begin(self, origin: Origin) -> None:
        """Start over, empty, with bytes from there.

        Raises:
            OutputError: see ``writing``.
        """
        with writing(self.path):
            # In this order: an interruption in between leaves no bytes of another origin.
            self.path.write_bytes(b"")
            self._origin_path.unlink(missing_ok=True)
            if origin.validator:
                self._origin_path.write_text(json.dumps(asdict(origin)), encoding="utf-8")

    @contextmanager
    def appending(self) -> Iterator[Callable[[bytes], None]]:
        """Yield what adds bytes at the end; they are with the system at once, whatever follows.

        Raises:
            OutputError: see ``writing``; also from what is yielded.
        """
        with writing(self.path):
            file = self.path.open("ab", buffering=0)

        def append(piece: bytes) -> None:
            left = memoryview(piece)
            with writing(self.path):
                while left:
                    left = left[file.write(left) :]

        with file:
            yield append

    def finish(self, path: Path) -> None:
        """Give the whole file its name.

        Raises:
            OutputError: see ``writing``.
        """
        with writing(path):
            self.path.replace(path)
        self.remove()

    def remove(self) -> None:
        """Leave nothing behind."""
        for path in self.paths:
            with suppress(OSError):  # it is in the way of nothing, and another error is reported
                path.unlink(missing_ok=True)
