"""The SHA-256 of the first good fetch of each release: what comes later must be the same.

A pin is a line as ``sha256sum`` writes it, in ``pins/`` of the cache folder.  It shows that a file
was replaced after the first fetch, even where its publisher states no checksum.
"""

from __future__ import annotations

import re
from pathlib import Path

from minimix.cachedir import cache_folder, make_folder, writing
from minimix.errors import WeightsError
from minimix.files import replacing
from minimix.hub.releases import Release


def pin_path(release: Release) -> Path:
    """Where the release's pin lies, or would."""
    return cache_folder() / "pins" / release.weights / f"{release.file}.sha256"


def read_pin(release: Release) -> str:
    """The SHA-256 of the first fetch, 64 digits, or nothing if there has been none.

    Raises:
        WeightsError: the pin cannot be read, or is no such line.
    """
    path = pin_path(release)
    try:
        text = path.read_bytes().decode("ascii", "replace")
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read: {error.strerror}") from error
    found = re.fullmatch(r"([0-9a-f]{64})  .*\n?", text)
    if not found:
        raise WeightsError(
            f"{path}: expected the line of a sha256 and a file's name, found {text[:80]!r}. To pin "
            f"what comes next: minimix models rm {release.arguments} --pins"
        )
    return found[1]


def keep_pin(release: Release, sha256: str) -> None:
    """Pin what has been fetched, unless it is pinned already.

    Raises:
        OutputError: the cache cannot be written.
    """
    path = pin_path(release)
    if path.exists():
        return
    with writing(path):
        make_folder(path.parent)
    with replacing(path) as temporary:
        temporary.write_text(f"{sha256}  {release.file}\n", encoding="ascii")
