"""Files on a server of our own, and the fetch of them.

What tests turn into fixtures: ``file_server`` and ``part_file`` for ``minimix.hub.fetch``; for what
fetches models ``empty_cache``, ``mirror`` and ``narrow_release``, in this order.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minimix.hub import fetch as fetch_module
from minimix.hub import releases
from minimix.hub.checksums import Expected
from minimix.hub.fetch import Patience, fetch
from minimix.hub.partial import PartialFile
from minimix.hub.releases import Release
from tests.release_server import (
    ReleaseServer,
    clear_environment,
    narrow_checkpoint,
    running_server,
    use_narrow,
)

FILE = random.Random(4).randbytes(300_000)
OTHER = random.Random(5).randbytes(300_000)
SHA256, SHA384 = hashlib.sha256(FILE).hexdigest(), hashlib.sha384(FILE).hexdigest()
KNOWN = Expected(len(FILE), 1 << 20, sha256_prefix=SHA256[:8])
QUICK = Patience(
    connect_s=2.0, read_s=0.3, attempts=4, step_bytes=1 << 30, backoff_s=0.001, total_s=20.0
)
PATH = "/releases/weights.bin"


def file_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseServer]:
    """A server where ``FILE`` lies at ``PATH``."""
    clear_environment(monkeypatch)
    with running_server() as running:
        running.files[PATH] = FILE
        yield running


def part_file(tmp_path: Path) -> PartialFile:
    """A download on its way, of which nothing is here."""
    return PartialFile(tmp_path / "weights.bin.part")


def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache folder, which is not there yet."""
    clear_environment(monkeypatch)
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def mirror(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReleaseServer]:
    """A mirror of everything, where nothing lies yet."""
    monkeypatch.setattr(fetch_module, "PATIENCE", Patience(backoff_s=0.001, read_s=1.0))
    with running_server() as running:
        monkeypatch.setenv("MINIMIX_MIRROR", running.address)
        yield running


def narrow_release(server: ReleaseServer, monkeypatch: pytest.MonkeyPatch) -> Release:
    """A narrow mixnet-s, released where timm releases its own."""
    released = use_narrow(monkeypatch.setitem)
    server.put(released, narrow_checkpoint())
    return released


def get(server: ReleaseServer, part: PartialFile, expected=KNOWN, patience=QUICK, progress=None):
    return fetch(
        [server.address + PATH],
        part,
        expected,
        patience=patience,
        progress=progress or (lambda event: None),
    )


def ranges(server: ReleaseServer) -> list[str | None]:
    return [seen.range for seen in server.seen]


def put_unchecked(
    server: ReleaseServer, monkeypatch: pytest.MonkeyPatch, content: bytes, weights: str = "timm"
) -> Release:
    """Have a mixnet-s of which nothing is published but its place."""
    known = releases.RELEASES["mixnet-s", weights]
    url = f"{known.url.rpartition('/')[0]}/mixnet_s.bin"
    bare = replace(known, url=url, size_bytes=None, sha256_prefix="", sha384="")
    monkeypatch.setitem(releases.RELEASES, ("mixnet-s", weights), bare)
    server.put(bare, content)
    return bare


def tree(folder: Path) -> list[str]:
    """Names of all files below a folder."""
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )
