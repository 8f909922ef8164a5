"""What is known of a file before it is here, and whether the one that came is it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Expected:
    """What is known of the file before it is here.

    Attributes:
        size_bytes: None where nobody published it.
        largest_bytes: accepted without a known size.
        sha256_prefix, sha384: the first digits, and all of them; empty where not published.
        pinned: the whole SHA-256 of an earlier fetch, or empty.
    """

    size_bytes: int | None
    largest_bytes: int
    sha256_prefix: str = ""
    sha384: str = ""
    pinned: str = ""

    @property
    def bound_bytes(self) -> int:
        """Never is more than this written."""
        return self.largest_bytes if self.size_bytes is None else self.size_bytes


class DiffersError(Exception):
    """The file is whole, but not the one that was expected; the text says how it differs."""


class PinError(DiffersError):
    """It agrees with all that is published, but not with what an earlier fetch brought."""


def checked(path: Path, expected: Expected) -> str:
    """File -> its SHA-256, if it is the expected one.

    Raises:
        DiffersError: it is not.
    """
    sha256, sha384 = hashlib.sha256(), hashlib.sha384()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            sha256.update(block)
            sha384.update(block)
    size_bytes, found = path.stat().st_size, sha256.hexdigest()
    if expected.size_bytes not in (None, size_bytes):
        raise DiffersError(f"{size_bytes:,} bytes; the release has {expected.size_bytes:,}")
    if expected.sha384 not in ("", sha384.hexdigest()):
        raise DiffersError(
            f"its sha384 is {sha384.hexdigest()}, that of the release {expected.sha384}. It is "
            "damaged, or another file"
        )
    if not found.startswith(expected.sha256_prefix):
        raise DiffersError(
            f"its sha256 is {found}, that of the release begins with {expected.sha256_prefix}. It "
            "is damaged, or another file"
        )
    if expected.pinned not in ("", found):
        raise PinError(f"its sha256 is {found}, that of the first fetch was {expected.pinned}")
    return found
