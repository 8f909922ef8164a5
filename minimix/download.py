"""A URL -> its bytes, over http and https alone, within bounds of size, time and redirects."""

from __future__ import annotations

import time
from urllib.parse import urljoin, urlsplit

import requests

from minimix.errors import InputError

MAX_REDIRECTS = 5
CONNECT_S, READ_S, TOTAL_S = 10.0, 30.0, 300.0
"""Seconds to wait for a connection, for the next bytes, and for everything together."""

_CHUNK_BYTES = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)


def download(url: str, *, max_bytes: int) -> bytes:
    """URL -> what it delivers, at most ``max_bytes`` after decompression.

    A redirect never leads from https to http, nor to any other scheme.

    Raises:
        InputError: the URL is refused, answers with anything but success, is too large or slow.
    """
    deadline, target = time.monotonic() + TOTAL_S, url
    try:
        with requests.Session() as session:
            for _ in range(MAX_REDIRECTS + 1):
                _check_scheme(url, target)
                with session.get(
                    target, stream=True, allow_redirects=False, timeout=(CONNECT_S, READ_S)
                ) as answer:
                    if answer.status_code not in _REDIRECTS:
                        return _content(url, answer, max_bytes, deadline)
                    target = _next_target(url, target, answer)
    except (requests.RequestException, ValueError) as error:
        raise InputError(
            f"{url}: cannot be fetched: {_reason(error)}. Check the address and the connection"
        ) from error
    raise InputError(f"{url}: more than {MAX_REDIRECTS} redirects. Name the last address itself")


def _check_scheme(url: str, target: str) -> None:
    scheme = urlsplit(target).scheme.lower()
    if scheme not in ("http", "https"):
        raise InputError(f"{url}: {scheme}:// is refused; only http and https are fetched")


def _next_target(url: str, target: str, answer: requests.Response) -> str:
    if "Location" not in answer.headers:
        raise InputError(f"{url}: HTTP {answer.status_code} without an address to go on to")
    following = urljoin(target, answer.headers["Location"])
    if urlsplit(target).scheme.lower() == "https" and urlsplit(following).scheme.lower() == "http":
        raise InputError(f"{url}: redirects from https to http, which is refused ({following})")
    return following


def _content(url: str, answer: requests.Response, max_bytes: int, deadline: float) -> bytes:
    if answer.status_code != 200:
        raise InputError(
            f"{url}: HTTP {answer.status_code} {answer.reason or ''}".rstrip()
            + ". Check the address"
        )
    parts, size_bytes = [], 0
    # Counted as they arrive: a Content-Length may be absent, false, or that of compressed bytes.
    for part in answer.iter_content(_CHUNK_BYTES):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > max_bytes:
            raise InputError(f"{url}: more than {max_bytes:,} bytes. Fetch and shrink it first")
        if time.monotonic() > deadline:
            raise InputError(f"{url}: not here after {TOTAL_S:.0f} s. Fetch it by other means")
    return b"".join(parts)


def _reason(error: Exception) -> str:
    """The innermost cause, without the names of the objects that it passed through."""
    while isinstance(error.__cause__ or error.__context__, Exception):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
