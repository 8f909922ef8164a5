"""Addresses -> a file that is whole and the right one, or nothing and the reasons why.

A connection that is cut is taken up again where it ended, if the server can do that and its file is
still the same; else from the start.  What has been interrupted from outside, by Ctrl-C or a kill,
stays, and the next run goes on with it; what fails leaves nothing.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import requests

from minimix.hub.checksums import DiffersError, Expected, PinError, checked
from minimix.hub.events import FetchEvent, Progress, Stage, unwatched
from minimix.hub.partial import Origin, PartialFile
from minimix.network import without_password
from minimix.transport import NetworkErrors, RefusedError, answer_to, pieces, reason


@dataclass(frozen=True)
class Patience:
    """How long a fetch waits, and how often it asks.

    Attributes:
        connect_s, read_s: for a connection, and for the next bytes.
        attempts: failures in a row, between which less than ``step_bytes`` came.
        backoff_s: before the second attempt; doubled before each further one.
        longest_wait_s: the most that a server's Retry-After is heeded.
        total_s, slowest_bytes_per_s: for everything from one address: a base, and a rate.
    """

    connect_s: float = 10.0
    read_s: float = 30.0
    attempts: int = 4
    step_bytes: int = 1 << 20
    backoff_s: float = 0.5
    longest_wait_s: float = 30.0
    total_s: float = 120.0
    slowest_bytes_per_s: int = 32 * 1024

    def allowed_s(self, size_bytes: int) -> float:
        """Seconds for a file of so many bytes."""
        return self.total_s + size_bytes / self.slowest_bytes_per_s


PATIENCE = Patience()


class FetchError(Exception):
    """No address delivered the file; the text has a line for each.

    Attributes:
        contradicts_pin: somewhere lay a file that is not the one of an earlier fetch.
    """

    def __init__(self, reasons: Sequence[str], contradicts_pin: bool) -> None:
        super().__init__("\n".join(reasons))
        self.contradicts_pin = contradicts_pin


class _Again(Exception):
    """An attempt failed in a way that another one may not; ``wait_s`` is the server's wish."""

    def __init__(self, why: str, wait_s: float = 0.0) -> None:
        super().__init__(why)
        self.wait_s = wait_s


def fetch(
    addresses: Sequence[str],
    part: PartialFile,
    expected: Expected,
    *,
    accept: Callable[[Path], None] = lambda path: None,
    patience: Patience = PATIENCE,
    progress: Progress = unwatched,
) -> str:
    """Fetch from the first address that delivers; the SHA-256, 64 digits, of what is at ``part``.

    Args:
        accept: is shown the whole file, and may take it away.  DiffersError, which it raises if
            that is not what was wanted, sends the fetch on to the next address.

    Raises:
        FetchError: none delivers the expected file; nothing is left at ``part``.
        OutputError: it cannot be written; nothing is left either.
    """
    reasons, contradicts_pin = [], False
    try:
        for address in addresses:
            try:
                sha256 = _Download(address, part, expected, patience, progress).run()
                accept(part.path)
                return sha256
            except (RefusedError, DiffersError) as error:
                reasons.append(f"{without_password(address)}: {error}")
                contradicts_pin |= isinstance(error, PinError)
    except Exception:
        part.remove()
        raise
    part.remove()
    raise FetchError(reasons, contradicts_pin)


class _Download:
    """One address, attempt after attempt, until the file is here and right."""

    def __init__(
        self,
        address: str,
        part: PartialFile,
        expected: Expected,
        patience: Patience,
        progress: Progress,
    ) -> None:
        self.address, self.shown = address, without_password(address)
        self.part, self.expected = part, expected
        self.patience, self.progress = patience, progress
        self.text = f"{address.rpartition('/')[2]} from {urlsplit(address).hostname}"
        self.allowed_s = patience.allowed_s(expected.bound_bytes)
        self.deadline = time.monotonic() + self.allowed_s
        self.is_joined = False
        """Whether the bytes came in several answers, which may not have been of one file."""

    def run(self) -> str:
        """Return the SHA-256 of the whole file.

        Raises:
            RefusedError: this address does not deliver it.
            DiffersError: it delivers another file.
            OutputError: it cannot be written.
        """
        failures, furthest = 0, self.part.size_bytes
        with requests.Session() as session:
            while True:
                try:
                    self._complete(session)
                    return self._checked()
                except _Again as error:
                    failures += 1
                    if self.part.size_bytes >= furthest + self.patience.step_bytes:
                        failures, furthest = 1, self.part.size_bytes
                    if failures >= self.patience.attempts:
                        raise RefusedError(f"{error}; tried {failures} times") from error
                    self._pause(error, failures)

    def _pause(self, error: _Again, failures: int) -> None:
        wished = max(error.wait_s, self.patience.backoff_s * 2 ** (failures - 1))
        wait_s = min(wished, self.patience.longest_wait_s)
        if time.monotonic() + wait_s > self.deadline:
            raise RefusedError(f"{error}; not here after {self.allowed_s:.0f} s") from error
        self._tell("retrying", f"{self.shown}: {error}; trying again in {wait_s:.1f} s")
        time.sleep(wait_s)

    def _checked(self) -> str:
        try:
            return checked(self.part.path, self.expected)
        except DiffersError as error:
            if not self.is_joined:
                raise
            self.is_joined = False
            self.part.remove()
            raise _Again(f"put together from several answers: {error}") from error

    def _complete(self, session: requests.Session) -> None:
        """Have all bytes at ``part``: what is missing is asked for."""
        origin, have = self.part.origin(self.shown), self.part.size_bytes
        total = (origin.total_bytes if origin else None) or self.expected.size_bytes
        self.is_joined |= origin is not None
        if origin is not None and have == total:
            return
        # What the server compresses on the way is no longer the file that was released.
        headers = {"Accept-Encoding": "identity"}
        if origin is not None:
            headers |= {"Range": f"bytes={have}-", "If-Range": origin.validator}
        waits = (self.patience.connect_s, self.patience.read_s)
        try:
            with answer_to(session, self.address, headers, waits) as answer:
                total = self._start(answer, origin, have)
                self._receive(answer, total)
        except requests.exceptions.SSLError as error:
            raise RefusedError(f"no trusted connection: {reason(error)}") from error
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidSchema) as error:
            raise RefusedError(f"is no address: {without_password(str(error))}") from error
        except NetworkErrors as error:
            raise _Again(f"{reason(error)}, after {self.part.size_bytes:,} bytes") from error
        if total is not None and self.part.size_bytes < total:
            raise _Again(f"the answer ended after {self.part.size_bytes:,} of {total:,} bytes")

    def _start(self, answer: requests.Response, origin: Origin | None, have: int) -> int | None:
        """Look at an answer's head and make ``part`` ready for its body; the whole file's size."""
        status = answer.status_code
        if status == 206 and origin is not None:
            return self._go_on(answer, origin, have)
        if status == 416 and origin is not None:
            self.part.remove()
            raise _Again("HTTP 416: there is nothing where the download had ended")
        if status in (408, 425, 429) or status >= 500:
            raise _Again(_status(answer), _retry_after(answer))
        if status != 200:
            raise RefusedError(_status(answer))
        total = self._total(answer, _number(answer.headers.get("Content-Length", "")))
        self.part.begin(Origin(self.shown, _validator(answer), total))
        self.is_joined = False
        self._tell("downloading", self.text, total)
        return total

    def _go_on(self, answer: requests.Response, origin: Origin, have: int) -> int | None:
        found = re.fullmatch(
            r"bytes ([0-9]+)-[0-9]+/([0-9]+|\*)", answer.headers.get("Content-Range", "").strip()
        )
        start, total = (_number(found[1]), _number(found[2])) if found else (None, None)
        same = _validator(answer) in ("", origin.validator)
        same &= None in (total, origin.total_bytes) or total == origin.total_bytes
        if start != have or not same:
            self.part.remove()
            raise _Again("the file has changed since the download began")
        self._tell("downloading", f"{self.text}, from where it ended", total)
        return self._total(answer, total or origin.total_bytes)

    def _total(self, answer: requests.Response, announced: int | None) -> int | None:
        """The size of what will come, as far as known.

        Raises:
            RefusedError: it is not that of the release.
        """
        coding = answer.headers.get("Content-Encoding", "identity")
        how = f", in Content-Encoding {coding} although identity was asked for"
        note = "" if coding == "identity" else how
        size_bytes = self.expected.size_bytes
        if announced is not None and size_bytes not in (None, announced):
            raise RefusedError(
                f"announces {announced:,} bytes{note}; the release has {size_bytes:,}"
            )
        if announced is not None and announced > self.expected.bound_bytes:
            raise RefusedError(
                f"announces {announced:,} bytes{note}; at most {self.expected.bound_bytes:,} are "
                "accepted of a file whose size is not published: see MINIMIX_MAX_RELEASE_BYTES"
            )
        return size_bytes if announced is None else announced

    def _receive(self, answer: requests.Response, total: int | None) -> None:
        done, bound = self.part.size_bytes, self.expected.bound_bytes
        with self.part.appending() as append:
            for piece in pieces(answer, self.deadline, self.allowed_s, decode=False):
                done += len(piece)
                if done > bound:
                    raise RefusedError(f"sends more than the {bound:,} bytes that are accepted")
                append(piece)
                self._tell("downloading", self.text, total, done)

    def _tell(
        self, stage: Stage, text: str, total: int | None = None, done: int | None = None
    ) -> None:
        size = self.part.size_bytes if done is None else done
        self.progress(FetchEvent(stage, text, size, total))


def _validator(answer: requests.Response) -> str:
    """What If-Range accepts: an ETag that is not weak, else the date of the last change."""
    etag = str(answer.headers.get("ETag", ""))
    if etag and not etag.startswith("W/"):
        return etag
    return str(answer.headers.get("Last-Modified", ""))


def _number(text: str) -> int | None:
    """A size in a header, unless it is none, or absurd."""
    return int(text) if re.fullmatch("[0-9]{1,18}", text) else None


def _status(answer: requests.Response) -> str:
    return f"HTTP {answer.status_code} {answer.reason or ''}".rstrip()


def _retry_after(answer: requests.Response) -> float:
    return float(_number(answer.headers.get("Retry-After", "")) or 0)
