"""A URL -> its bytes, over http and https alone, within bounds of size, time and redirects."""

from __future__ import annotations

import time

import requests

from minimix.errors import InputError
from minimix.limits import in_force
from minimix.transport import NetworkErrors, RefusedError, answer_to, pieces, reason

CONNECT_S, READ_S, TOTAL_S = 10.0, 30.0, 300.0
"""Seconds to wait for a connection, for the next bytes, and for everything together."""


def download(url: str, *, max_bytes: int) -> bytes:
    """URL -> what it delivers, at most ``max_bytes`` after decompression.

    A redirect never leads from https to http, nor to any other scheme.

    Raises:
        InputError: the URL is refused, answers with anything but success, is too large or slow.
    """
    allowed_s = in_force("MINIMIX_MAX_DOWNLOAD_S", TOTAL_S)
    deadline = time.monotonic() + allowed_s
    try:
        with (
            requests.Session() as session,
            answer_to(session, url, {}, (CONNECT_S, READ_S)) as answer,
        ):
            return _content(answer, max_bytes, deadline, allowed_s)
    except RefusedError as error:
        raise InputError(f"{url}: {error}") from error
    except (*NetworkErrors, ValueError) as error:
        raise InputError(
            f"{url}: cannot be fetched: {reason(error)}. Check the address and the connection"
        ) from error


def _content(answer: requests.Response, max_bytes: int, deadline: float, allowed_s: float) -> bytes:
    if answer.status_code != 200:
        raise RefusedError(
            f"HTTP {answer.status_code} {answer.reason or ''}".rstrip() + ". Check the address"
        )
    parts, size_bytes = [], 0
    # Counted as they arrive: a Content-Length may be absent, false, or that of compressed bytes.
    advice = "Fetch it by other means, or raise MINIMIX_MAX_DOWNLOAD_S"
    for part in pieces(answer, deadline, allowed_s, decode=True, advice=advice):
        parts.append(part)
        size_bytes += len(part)
        if size_bytes > max_bytes:
            raise RefusedError(
                f"more than {max_bytes:,} bytes. Fetch and shrink it first, or raise "
                "MINIMIX_MAX_BYTES"
            )
    return b"".join(parts)
