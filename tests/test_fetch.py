"""Files over a connection that may be cut: whole in the end, and resumed where it ended."""

from __future__ import annotations

import gzip
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minimix.errors import OutputError
from minimix.hub.checksums import Expected
from minimix.hub.events import FetchEvent
from minimix.hub.fetch import fetch
from minimix.hub.partial import PartialFile
from tests.cli import ROOT, environment
from tests.fetching import (
    FILE,
    KNOWN,
    OTHER,
    PATH,
    QUICK,
    SHA256,
    file_server,
    get,
    part_file,
    ranges,
)
from tests.model_files import listing
from tests.release_server import Reply

server = pytest.fixture(file_server)
part = pytest.fixture(part_file)


def interrupted(server, part, after_bytes):
    """Fetch until so many bytes are here, then be interrupted as by Ctrl-C."""

    def interrupt(event: FetchEvent) -> None:
        if event.done_bytes >= after_bytes:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        get(server, part, progress=interrupt)
    server.seen.clear()


# --- what goes well ---------------------------------------------------------------------------


def test_a_file_comes_whole_and_as_it_lies_there(server, part):
    assert get(server, part) == SHA256
    assert part.path.read_bytes() == FILE
    (seen,) = server.seen
    assert seen.headers["accept-encoding"] == "identity" and seen.range is None


def test_progress_counts_the_bytes_up_to_the_last(server, part):
    events: list[FetchEvent] = []
    get(server, part, progress=events.append)
    done = [event.done_bytes for event in events]
    assert done == sorted(done) and done[-1] == len(FILE)
    assert {event.total_bytes for event in events} == {len(FILE)}
    assert {event.text for event in events} == {"weights.bin from 127.0.0.1"}


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cuts=st.lists(st.integers(0, len(FILE) - 1), min_size=1, max_size=3))
def test_wherever_connections_are_cut_the_rest_is_asked_for(server, part, cuts):
    server.script[PATH] = [Reply(cut_at=cut) for cut in cuts]
    server.seen.clear()
    part.remove()
    assert get(server, part) == SHA256
    assert part.path.read_bytes() == FILE
    here, expected = 0, []
    for cut in [*cuts, len(FILE)]:
        if here < len(FILE):
            expected.append(f"bytes={here}-" if here else None)
        here = min(here + cut, len(FILE))
    assert ranges(server) == expected


def test_a_date_serves_where_the_etag_is_weak(server, part):
    headers = {"ETag": 'W/"1"', "Last-Modified": "Mon, 01 Jul 2019 10:00:00 GMT"}
    server.script[PATH] = [Reply(headers=headers, cut_at=1000), Reply(headers=headers)]
    assert get(server, part) == SHA256
    assert server.seen[1].headers["if-range"] == headers["Last-Modified"]
    assert ranges(server) == [None, "bytes=1000-"]


@pytest.mark.parametrize(
    ("script", "asked"),
    [
        # Neither ETag nor date: nobody could tell whether the rest is of the same file.
        ([Reply(headers={"ETag": None}, cut_at=1000)], [None, None]),
        ([Reply(cut_at=1000), Reply(ignores_range=True)], [None, "bytes=1000-"]),
        ([Reply(body=OTHER, cut_at=1000)], [None, "bytes=1000-"]),
        # The range of a file that has changed, from a server that overlooks If-Range.
        (
            [Reply(body=OTHER, cut_at=1000), Reply(ignores_if_range=True)],
            [None, "bytes=1000-", None],
        ),
        *(
            (
                [Reply(cut_at=1000), Reply(headers={"Content-Range": text})],
                [None, "bytes=1000-", None],
            )
            for text in ("bytes 7-8/300000", "bytes 1000-7/8", f"bytes {'9' * 5000}-7/8", "?", None)
        ),
        ([Reply(cut_at=1000), Reply(status=416)], [None, "bytes=1000-", None]),
    ],
)
def test_what_cannot_be_resumed_is_started_over(server, part, script, asked):
    server.script[PATH] = script
    assert get(server, part) == SHA256
    assert part.path.read_bytes() == FILE
    assert ranges(server) == asked


def test_a_file_put_together_of_two_is_noticed_and_fetched_whole(server, part):
    unlabelled = {"ETag": None}
    server.script[PATH] = [
        Reply(body=OTHER, cut_at=1000),
        Reply(ignores_if_range=True, headers=unlabelled),
    ]
    assert get(server, part) == SHA256
    assert ranges(server) == [None, "bytes=1000-", None]


def test_a_server_in_trouble_is_asked_again(server, part):
    server.script[PATH] = [
        Reply(status=500),
        Reply(status=503, headers={"Retry-After": "9999"}),
        Reply(status=429),
    ]
    assert get(server, part, patience=replace(QUICK, longest_wait_s=0.01)) == SHA256
    assert len(server.seen) == 4


def test_each_new_attempt_names_the_address(server, part):
    server.script[PATH] = [Reply(status=500)]
    events: list[FetchEvent] = []
    get(server, part, progress=events.append)
    assert [event.text for event in events if event.stage == "retrying"] == [
        f"{server.address}{PATH}: HTTP 500 Internal Server Error; trying again in 0.0 s"
    ]


def test_a_file_of_unknown_size_ends_where_the_answer_ends(server, part):
    server.script[PATH] = [Reply(headers={"Content-Length": None})]
    assert get(server, part, Expected(None, len(FILE))) == SHA256


def test_a_size_may_become_known_with_the_rest(server, part):
    server.script[PATH] = [Reply(headers={"Content-Length": None}, cut_at=1000)]
    assert get(server, part) == SHA256
    assert ranges(server) == [None, "bytes=1000-"]


def test_redirects_are_followed_each_time(server, part):
    server.files["/elsewhere"] = FILE
    there = Reply(status=302, body=b"", headers={"Location": f"{server.address}/elsewhere"})
    server.script[PATH] = [there, there]
    server.script["/elsewhere"] = [Reply(cut_at=1000)]
    assert get(server, part) == SHA256
    assert [(seen.target, seen.range) for seen in server.seen] == [
        (PATH, None),
        ("/elsewhere", None),
        (PATH, "bytes=1000-"),
        ("/elsewhere", "bytes=1000-"),
    ]


def test_a_file_that_a_server_calls_compressed_stays_as_it_is(server, part):
    packed = gzip.compress(FILE)
    server.files[PATH] = packed
    server.always = Reply(headers={"Content-Encoding": "x-gzip"})
    get(server, part, Expected(len(packed), 1 << 20))
    assert part.path.read_bytes() == packed


# --- what was interrupted ---------------------------------------------------------------------


def test_an_interrupted_fetch_is_resumed_by_the_next(server, part):
    interrupted(server, part, 100_000)
    here = part.size_bytes
    assert 100_000 <= here < len(FILE)
    assert get(server, part) == SHA256
    assert part.path.read_bytes() == FILE
    assert ranges(server) == [f"bytes={here}-"]


def test_a_leftover_of_a_file_that_has_changed_is_not_added_to(server, part):
    server.script[PATH] = [Reply(body=OTHER)]
    interrupted(server, part, 100_000)
    assert get(server, part) == SHA256
    assert part.path.read_bytes() == FILE


def test_a_leftover_from_another_address_is_not_added_to(server, part):
    server.files["/other"] = OTHER
    with pytest.raises(KeyboardInterrupt):
        fetch([f"{server.address}/other"], part, KNOWN, patience=QUICK, progress=_interrupt)
    server.seen.clear()
    assert get(server, part) == SHA256
    assert ranges(server) == [None]


def _interrupt(event: FetchEvent) -> None:
    if event.done_bytes:
        raise KeyboardInterrupt


@pytest.mark.parametrize("origin", [b"", b"{", b"[]", b'{"address": 1}', None])
def test_a_leftover_of_unknown_origin_is_not_added_to(server, part, origin):
    interrupted(server, part, 100_000)
    _, origin_path = part.paths
    if origin is None:
        origin_path.unlink()
    else:
        origin_path.write_bytes(origin)
    assert get(server, part) == SHA256
    assert ranges(server) == [None]


def test_a_leftover_that_is_complete_is_checked_and_nothing_is_asked(server, part):
    interrupted(server, part, len(FILE))
    assert get(server, part) == SHA256
    assert server.seen == []


@pytest.mark.parametrize("change", [lambda d: OTHER[:1000] + d[1000:], lambda d: d + b"!"])
def test_a_leftover_that_was_changed_is_replaced(server, part, change):
    interrupted(server, part, 250_000)
    part.path.write_bytes(change(part.path.read_bytes()))
    assert get(server, part) == SHA256
    assert part.path.read_bytes() == FILE


# --- the disk ---------------------------------------------------------------------------------


def test_a_folder_that_is_not_there_is_an_output_error(server, tmp_path):
    path = tmp_path / "gone" / "weights.bin.part"
    with pytest.raises(OutputError, match=r"weights.bin.part: cannot be written: No such file"):
        get(server, PartialFile(path))
    with pytest.raises(OutputError, match=r"No such file or directory\. Name another file$"):
        get(server, PartialFile(path, "Name another file"))


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_a_disk_that_is_full_is_an_output_error_and_nothing_is_left(server, part):
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from minimix.hub.checksums import Expected\n"
        "from minimix.errors import OutputError\n"
        "from minimix.hub.fetch import fetch\n"
        "from minimix.hub.partial import PartialFile\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, 150_000))\n"
        "try:\n"
        "    fetch([sys.argv[1]], PartialFile(Path(sys.argv[2])), Expected(300_000, 0))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, server.address + PATH, str(part.path)],
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "weights.bin.part: cannot be written: File too large. Make room there" in done.stdout
    assert listing(Path(part.path.parent)) == []
