"""A released file itself, unconverted, in a folder of the user's."""

from __future__ import annotations

import json
import threading

import pytest

from minimix import hub
from minimix.errors import UsageError, WeightsError
from minimix.hub.events import FetchEvent
from tests.fetching import empty_cache, mirror, narrow_release, put_unchecked, tree
from tests.model_files import listing
from tests.release_server import Reply, narrow_checkpoint

CONTENT = narrow_checkpoint()

cache = pytest.fixture(empty_cache)
server = pytest.fixture(mirror)
release = pytest.fixture(narrow_release)


def test_a_released_file_is_fetched_as_it_is_and_pinned(release, cache, tmp_path):
    out = tmp_path / "mine.pth"
    assert hub.fetch_release(release, out) == out
    assert out.read_bytes() == CONTENT
    assert tree(cache) == [f"pins/timm/{release.file}.sha256"]
    assert listing(tmp_path) == ["cache", "mine.pth"]
    with pytest.raises(UsageError, match="exists already"):
        hub.fetch_release(release, out)
    hub.fetch_release(release, out, force=True)


@pytest.mark.parametrize("origin", [None, b"", b"{", b"[1]", b'{"address": "a"}'])
@pytest.mark.parametrize("force", [True, False])
def test_a_file_of_the_user_s_own_is_never_taken_for_a_download(
    release, server, tmp_path, origin, force
):
    own = tmp_path / "mine.pth.part"
    own.write_bytes(b"my own")
    if origin is not None:
        own.with_name("mine.pth.part.json").write_bytes(origin)
    before = listing(tmp_path)
    with pytest.raises(UsageError, match=r"mine\.pth\.part: the download would be kept there"):
        hub.fetch_release(release, tmp_path / "mine.pth", force=force)
    assert own.read_bytes() == b"my own" and listing(tmp_path) == before
    assert server.seen == []


def test_what_else_may_be_in_the_way_of_a_download_stays(release, server, tmp_path):
    (tmp_path / "a.part.json").write_text("{}")
    with pytest.raises(UsageError, match=r"a\.part\.json: the download would be kept there"):
        hub.fetch_release(release, tmp_path / "a")
    (tmp_path / "b.part").mkdir()
    with pytest.raises(UsageError, match=r"b\.part: the download would be kept there"):
        hub.fetch_release(release, tmp_path / "b")
    (tmp_path / "c.part").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match=r"c\.part: the download would be kept there"):
        hub.fetch_release(release, tmp_path / "c")
    assert listing(tmp_path) == ["a.part.json", "b.part", "c.part"] and server.seen == []


def test_a_link_is_not_written_through_even_beside_an_origin_of_ours(release, server, tmp_path):
    (tmp_path / "own").write_bytes(b"my own")
    (tmp_path / "a.part").symlink_to(tmp_path / "own")
    origin = {"address": server.address, "validator": "", "total_bytes": None}
    (tmp_path / "a.part.json").write_text(json.dumps(origin))
    with pytest.raises(UsageError, match=r"a\.part: the download would be kept there"):
        hub.fetch_release(release, tmp_path / "a")
    assert (tmp_path / "own").read_bytes() == b"my own"


@pytest.mark.parametrize("headers", [{}, {"ETag": None}])
def test_an_interrupted_download_of_a_released_file_is_ours_to_go_on_with(
    release, server, tmp_path, headers
):
    def interrupt(event: FetchEvent) -> None:
        if event.done_bytes:
            raise KeyboardInterrupt

    server.always = Reply(headers=headers)
    out = tmp_path / "mine.pth"
    with pytest.raises(KeyboardInterrupt):
        hub.fetch_release(release, out, progress=interrupt)
    assert listing(tmp_path) == ["mine.pth.part", "mine.pth.part.json"]
    assert hub.fetch_release(release, out).read_bytes() == CONTENT
    assert listing(tmp_path) == ["cache", "mine.pth"]
    assert (server.seen[1].range is None) == bool(headers)


def test_what_another_process_has_just_made_is_not_replaced(release, tmp_path):
    out, errors = tmp_path / "mine.pth", []

    def fetch_it_too(event: FetchEvent) -> None:
        if not threads:
            threads.append(threading.Thread(target=second))
            threads[0].start()

    def second() -> None:
        with pytest.raises(UsageError, match="exists already") as caught:
            hub.fetch_release(release, out)
        errors.append(caught.value)

    threads: list[threading.Thread] = []
    hub.fetch_release(release, out, progress=fetch_it_too)
    threads[0].join()
    assert len(errors) == 1 and out.read_bytes() == CONTENT


def test_a_released_file_is_checked_against_what_was_fetched_first(release, server, tmp_path):
    hub.fetch_release(release, tmp_path / "mine.pth")
    server.put(release, CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match="cannot be fetched"):
        hub.fetch_release(release, tmp_path / "mine.pth", force=True)
    assert (tmp_path / "mine.pth").read_bytes() == CONTENT
    assert listing(tmp_path) == ["cache", "mine.pth"]


def test_a_released_file_without_a_checksum_must_be_readable(server, cache, tmp_path, monkeypatch):
    bare = put_unchecked(server, monkeypatch, b"<html>", "mindcv")
    with pytest.raises(WeightsError, match=f": not the released model, and not kept: {bare.file}:"):
        hub.fetch_release(bare, tmp_path / "mine.ckpt")
    assert listing(tmp_path) == []


def test_offline_no_released_file_is_fetched(release, server, tmp_path):
    with pytest.raises(WeightsError, match="the network is forbidden"):
        hub.fetch_release(release, tmp_path / "a", offline=True)
    assert server.seen == [] and listing(tmp_path) == []
