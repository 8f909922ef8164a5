"""A server on this machine with released files in their places, and ways in which servers fail.

``ReleaseServer.files`` maps paths to contents; ``script`` lists, per path, how the next requests
are answered where it is not plainly; ``seen`` lists what was asked for.
"""

from __future__ import annotations

import hashlib
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from minimix.hub.releases import RELEASES, Release
from minimix.zoo import FAMILIES
from tests.checkpoint_writers import safetensors_bytes
from tests.golden.recordings import timm_tensors
from tests.golden.seeded import CASES

NETWORK_VARIABLES = (
    *("MINIMIX_OFFLINE", "MINIMIX_MIRROR", "MINIMIX_CACHE_DIR"),
    *("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"),
    *("no_proxy", "NO_PROXY"),
)
"""What the tests' own environment must not bring along."""


def clear_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing outside the test say where files are fetched from or kept."""
    for name in NETWORK_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Reply:
    """How one request is answered.

    Attributes:
        status: in place of 200 or 206.
        headers: beside or in place of the usual ones; None leaves one out.
        body: in place of the file.
        cut_at: so many bytes of the body are sent, then the connection ends.
        ignores_range: the whole file is sent, whatever was asked for.
        ignores_if_range: the range is sent, whatever the file is by now.
        pause_s: before each piece of ``piece_bytes``.
    """

    status: int | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    body: bytes | None = None
    cut_at: int | None = None
    ignores_range: bool = False
    ignores_if_range: bool = False
    pause_s: float = 0.0
    piece_bytes: int = 1 << 16


PLAIN = Reply()


@dataclass(frozen=True)
class Seen:
    """One request: the target as it was sent, and its headers, names in lower case."""

    target: str
    headers: Mapping[str, str]

    @property
    def range(self) -> str | None:
        return self.headers.get("range")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ReleaseServer

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        path = urlsplit(self.path).path  # a proxy is sent the whole URL
        with self.server.guard:
            self.server.seen.append(Seen(self.path, headers))
            scripted = self.server.script.get(path, [])
            reply = scripted.pop(0) if scripted else self.server.always
        content = reply.body if reply.body is not None else self.server.files.get(path)
        if content is None:
            reply, content = Reply(status=reply.status or 404), b"nothing here"
        try:
            self.answer(reply, content, headers)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client has seen enough

    def answer(self, reply: Reply, content: bytes, headers: Mapping[str, str]) -> None:
        etag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
        fields: dict[str, str | None] = {"ETag": etag}
        status, start = 200, 0
        asked = re.fullmatch(r"bytes=(\d+)-", headers.get("range", ""))
        is_same = reply.ignores_if_range or headers.get("if-range", etag) in (
            etag,
            reply.headers.get("ETag", etag),
            reply.headers.get("Last-Modified"),
        )
        if asked and is_same and not reply.ignores_range:
            start = int(asked[1])
            status = 206 if start < len(content) else 416
            fields["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        body = b"" if status == 416 else content[start:]
        fields |= {"Content-Length": str(len(body))} | dict(reply.headers)
        self.send_response(reply.status or status)
        for name, value in fields.items():
            if value is not None:
                self.send_header(name, value)
        if fields["Content-Length"] is None:
            self.send_header("Connection", "close")
        self.end_headers()
        self.send(reply, body if reply.cut_at is None else body[: reply.cut_at])
        if reply.cut_at is not None or fields["Content-Length"] != str(len(body)):
            self.close_connection = True

    def send(self, reply: Reply, body: bytes) -> None:
        for start in range(0, len(body), reply.piece_bytes):
            if reply.pause_s:
                time.sleep(reply.pause_s)
            self.wfile.write(body[start : start + reply.piece_bytes])

    def log_message(self, *_: Any) -> None:
        """Keep standard error for the tests."""


class ReleaseServer(ThreadingHTTPServer):
    """See the module.  ``always`` is how requests are answered for which there is no script."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.script: dict[str, list[Reply]] = {}
        self.seen: list[Seen] = []
        self.always = PLAIN
        self.guard = threading.Lock()

    @property
    def address(self) -> str:
        """Its base address, as MINIMIX_MIRROR takes it."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of clients that went away."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)

    def put(self, release: Release, content: bytes, *script: Reply) -> None:
        """Have a release's file in its place, and answer the next requests for it so."""
        path = urlsplit(release.url).path
        self.files[path] = content
        self.script[path] = list(script)


@contextmanager
def running_server() -> Iterator[ReleaseServer]:
    """Yield a server that answers in threads of its own."""
    with ReleaseServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def narrow_checkpoint() -> bytes:
    """A safetensors file of a narrow mixnet-s with 7 classes, under timm's names."""
    return safetensors_bytes(timm_tensors(CASES["mixnet_s-odd"]))


def released_as(content: bytes, model: str = "mixnet-s", weights: str = "timm") -> Release:
    """A release as it stands in the table, if its file had this content."""
    release = RELEASES[model, weights]
    prefix = hashlib.sha256(content).hexdigest()[:8] if release.sha256_prefix else ""
    url = release.url
    if prefix:
        url = f"{url.rpartition('-')[0]}-{prefix}.pth"
    return replace(
        release,
        url=url,
        size_bytes=release.size_bytes and len(content),
        sha256_prefix=prefix,
        sha384=hashlib.sha384(content).hexdigest() if release.sha384 else "",
    )


def use_narrow(set_item: Callable[[Any, Any, Any], None]) -> Release:
    """Make the narrow network what mixnet-s is, and its checkpoint what timm released as it."""
    family = replace(FAMILIES["mixnet-s"], channel_multiplier=0.25, head_channels=40)
    set_item(FAMILIES, "mixnet-s", family)
    release = released_as(narrow_checkpoint())
    set_item(RELEASES, ("mixnet-s", "timm"), release)
    return release


def narrow_command(*argv: str | Path, entry: str = "minimix.cli") -> list[str]:
    """The command line of a process for which ``use_narrow`` holds; ``entry`` has its ``main``."""
    code = (
        "import operator, sys\n"
        "from tests.release_server import use_narrow\n"
        "use_narrow(operator.setitem)\n"
        f"from {entry} import main\n"
        "main(sys.argv[1:])"
    )
    return [sys.executable, "-c", code, *map(str, argv)]
