"""Files over a connection that is slow, wrong or forged: the reason is given, nothing is left."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest

from minimix.hub.checksums import Expected
from minimix.hub.fetch import FetchError, fetch
from tests.fetching import (
    FILE,
    KNOWN,
    OTHER,
    PATH,
    QUICK,
    SHA256,
    SHA384,
    file_server,
    get,
    part_file,
)
from tests.model_files import listing
from tests.release_server import Reply

server = pytest.fixture(file_server)
part = pytest.fixture(part_file)


def refused(server, part, message, expected=KNOWN, patience=QUICK):
    """Check that nothing comes of it, that the reason is given, and that nothing is left."""
    with pytest.raises(FetchError, match=message) as caught:
        get(server, part, expected, patience)
    assert str(caught.value).startswith(f"{server.address}{PATH}: ")
    assert listing(part.path.parent) == []
    return caught.value


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (Reply(status=404), "HTTP 404 Not Found$"),
        (Reply(status=403), "HTTP 403 Forbidden$"),
        (Reply(status=206), "HTTP 206"),
        (Reply(body=FILE[:-1]), "announces 299,999 bytes; the release has 300,000"),
        (Reply(body=FILE + b"!"), "announces 300,001 bytes"),
        (Reply(body=FILE + b"!", headers={"Content-Length": None}), "more than the 300,000 bytes"),
        (Reply(body=OTHER), f"begins with {SHA256[:8]}. It is damaged, or another file"),
        (
            Reply(body=b"zipped", headers={"Content-Encoding": "gzip"}),
            "announces 6 bytes, in Content-Encoding gzip although identity was asked for",
        ),
        (Reply(status=302, headers={"Location": "ftp://host/a"}), "ftp:// is refused"),
        (Reply(status=302, headers={"Location": "file:///etc/passwd"}), "file:// is refused"),
        (Reply(status=302, headers={"Location": "http://[::1"}), "leads to no address"),
        (Reply(status=301), "HTTP 301 without an address"),
    ],
)
def test_what_is_wrong_is_refused_at_once(server, part, reply, message):
    server.script[PATH] = [reply]
    refused(server, part, message)
    assert len(server.seen) == 1


def test_redirects_have_an_end(server, part):
    server.always = Reply(status=302, headers={"Location": PATH})
    refused(server, part, "more than 5 redirects")
    assert len(server.seen) == 6


def test_a_length_that_is_a_lie_is_noticed(server, part):
    server.always = Reply(body=FILE[:1000], headers={"Content-Length": "300000"})
    refused(server, part, "tried 4 times")


def test_an_answer_that_ends_early_without_a_length_is_noticed(server, part):
    server.always = Reply(cut_at=1000, headers={"Content-Length": None}, ignores_range=True)
    refused(server, part, "ended after 1,000 of 300,000 bytes; tried 4 times")


def test_a_server_that_stays_in_trouble_is_given_up(server, part):
    server.always = Reply(status=503)
    refused(server, part, "HTTP 503 Service Unavailable; tried 4 times")
    assert len(server.seen) == 4


def test_the_whole_digest_is_compared_where_it_is_known(server, part):
    assert get(server, part, replace(KNOWN, sha384=SHA384)) == SHA256
    part.remove()
    refused(server, part, "its sha384 is", replace(KNOWN, sha384="0" * 96))


def test_another_file_than_the_first_is_refused(server, part):
    assert get(server, part, replace(KNOWN, pinned=SHA256)) == SHA256
    part.remove()
    server.files[PATH] = OTHER
    size_only = Expected(len(FILE), 1 << 20, pinned=SHA256)
    error = refused(server, part, f"that of the first fetch was {SHA256}", size_only)
    assert error.contradicts_pin


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, "announces 300,000 bytes; at most 299,999 are accepted"),
        ({"Content-Length": None}, "sends more than the 299,999 bytes"),
    ],
)
def test_a_file_of_unknown_size_is_bounded(server, part, headers, message):
    server.always = Reply(headers=headers)
    refused(server, part, message, Expected(None, len(FILE) - 1))


def test_a_server_that_falls_silent_is_noticed(server, part):
    server.always = Reply(pause_s=0.3, piece_bytes=1000)
    patience = replace(QUICK, read_s=0.05, attempts=2)
    refused(server, part, "timed out.*tried 2 times", patience=patience)


def test_a_server_that_drips_is_left_when_the_time_is_over(server, part):
    server.always = Reply(pause_s=0.02, piece_bytes=10)
    patience = replace(QUICK, total_s=0.2, slowest_bytes_per_s=10**9)
    refused(server, part, "not here after 0 s", patience=patience)


def test_a_wait_that_would_outlast_the_time_is_not_begun(server, part):
    server.always = Reply(status=503, headers={"Retry-After": "10"})
    patience = replace(QUICK, total_s=1.0, slowest_bytes_per_s=10**9)
    refused(server, part, "HTTP 503 .*not here after 1 s", patience=patience)


def test_a_server_that_is_not_there_is_an_error_with_its_cause(server, part):
    with socket.socket() as bound:  # bound but not listening: nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{bound.getsockname()[1]}/a"
        with pytest.raises(FetchError, match="Connection refused, after 0 bytes; tried 4 times"):
            fetch([address], part, KNOWN, patience=QUICK)


def test_progress_forgives_failures_and_standing_still_does_not(server, part):
    server.script[PATH] = [Reply(cut_at=50_000)] * 5
    assert get(server, part, patience=replace(QUICK, step_bytes=40_000)) == SHA256
    part.remove()
    server.script[PATH] = [Reply(cut_at=50_000)] * 5
    refused(server, part, "after 200,000 bytes; tried 4 times")
