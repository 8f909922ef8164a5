"""A GET over http and https alone: redirects and waiting within bounds, and plain reasons."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from urllib.parse import urljoin, urlsplit

import requests
from urllib3.exceptions import HTTPError

from minimix.network import without_password

MAX_REDIRECTS = 5

NetworkErrors = (requests.RequestException, HTTPError)
"""What requests raises while it asks, and what urllib3 below it raises while bytes arrive."""

_CHUNK_BYTES = 1 << 16
_REDIRECTS = (301, 302, 303, 307, 308)


class RefusedError(Exception):
    """An answer that asking again would not better; the text is the reason, for people."""


@contextmanager
def answer_to(
    session: requests.Session, url: str, headers: Mapping[str, str], timeout: tuple[float, float]
) -> Iterator[requests.Response]:
    """Ask for a URL and yield the first answer that is no redirect; its body is still to come.

    A redirect never leads from https to http, nor to any other scheme.

    Args:
        timeout: seconds to wait for a connection, and for the next bytes.

    Raises:
        RefusedError: a scheme, a redirect or an address that is not followed.
        NetworkErrors: no answer.
    """
    target = url
    for _ in range(MAX_REDIRECTS + 1):
        _check_scheme(target)
        with _first_answer(session, target, headers, timeout) as answer:
            if answer.status_code not in _REDIRECTS:
                yield answer
                return
            target = next_target(target, answer)
    raise RefusedError(f"more than {MAX_REDIRECTS} redirects. Name the last address itself")


def _first_answer(
    session: requests.Session, target: str, headers: Mapping[str, str], timeout: tuple[float, float]
) -> requests.Response:
    try:
        return session.get(
            target, headers=headers, stream=True, allow_redirects=False, timeout=timeout
        )
    except requests.RequestException:
        raise
    except ValueError as error:  # requests looks at a redirect even if it shall not follow it
        raise RefusedError(f"{without_password(target)}: leads to no address: {error}") from error


def _check_scheme(target: str) -> None:
    scheme = _scheme(target)
    if scheme not in ("http", "https"):
        raise RefusedError(f"{scheme}:// is refused; only http and https are fetched")


def _scheme(target: str) -> str:
    try:
        return urlsplit(target).scheme.lower()
    except ValueError as error:
        raise RefusedError(f"{without_password(target)}: is no address: {error}") from error


def next_target(target: str, answer: requests.Response) -> str:
    """Return where a redirect leads to.

    Raises:
        RefusedError: nowhere, or from https to http.
    """
    if "Location" not in answer.headers:
        raise RefusedError(f"HTTP {answer.status_code} without an address to go on to")
    following = urljoin(target, answer.headers["Location"])
    if _scheme(target) == "https" and _scheme(following) == "http":
        shown = without_password(following)
        raise RefusedError(f"redirects from https to http, which is refused ({shown})")
    return following


def pieces(
    answer: requests.Response,
    deadline: float,
    allowed_s: float,
    *,
    decode: bool,
    advice: str = "Fetch it by other means",
) -> Iterator[bytes]:
    """Yield the body as it arrives, a socket's worth at a time.

    A whole chunk is not waited for: a server that drips would hold it back far beyond the deadline.

    Args:
        deadline: of ``time.monotonic``, ``allowed_s`` seconds after the start.
        decode: undo the answer's Content-Encoding.
        advice: what to do where the deadline has passed.

    Raises:
        RefusedError: the deadline has passed.
        NetworkErrors: the connection was cut, or nothing came for too long.
    """
    while piece := answer.raw.read1(_CHUNK_BYTES, decode_content=decode):
        yield piece
        if time.monotonic() > deadline:
            raise RefusedError(f"not here after {allowed_s:.0f} s. {advice}")


def reason(error: BaseException) -> str:
    """The innermost cause, without the names of the objects that it passed through."""
    while isinstance(error.__cause__ or error.__context__, Exception):
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
