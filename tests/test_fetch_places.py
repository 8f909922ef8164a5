"""Where a model's released file is fetched from, and where it is kept."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest

import minimix
from minimix import hub, weights
from minimix.errors import OutputError, UsageError, WeightsError
from minimix.hub import releases
from minimix.network import places
from tests.fetching import empty_cache, mirror, narrow_release, put_unchecked
from tests.reference import REFERENCE, needs_reference
from tests.release_server import Reply, narrow_checkpoint, released_as, use_narrow

CONTENT = narrow_checkpoint()

cache = pytest.fixture(empty_cache)
server = pytest.fixture(mirror)
release = pytest.fixture(narrow_release)


# --- where from -------------------------------------------------------------------------------


def test_mirrors_are_tried_in_order(release, server, monkeypatch):
    monkeypatch.setenv("MINIMIX_MIRROR", f"{server.address}/empty/ {server.address}/")
    hub.locate("mixnet-s")
    path = urlsplit(release.url).path
    assert [seen.target for seen in server.seen] == [f"/empty{path}", path]


def test_if_every_mirror_fails_each_says_why_and_nobody_else_is_asked(release, server, monkeypatch):
    monkeypatch.setenv("MINIMIX_MIRROR", f"{server.address}/a {server.address}/b")
    with pytest.raises(WeightsError) as caught:
        hub.locate("mixnet-s")
    path = urlsplit(release.url).path
    assert str(caught.value).splitlines()[1:3] == [
        f"  {server.address}/{name}{path}: HTTP 404 Not Found" for name in "ab"
    ]


@pytest.mark.parametrize("whole", [True, False])
def test_after_a_web_page_the_next_mirror_is_asked(server, cache, monkeypatch, tmp_path, whole):
    """Of a release without known size: nothing but its content tells it from a page."""
    use_narrow(monkeypatch.setitem)
    bare = put_unchecked(server, monkeypatch, CONTENT)
    path = urlsplit(bare.url).path
    server.files[f"/login{path}"] = b"<!doctype html><p>Please log in"
    mirrors = [f"{server.address}/login", server.address]
    monkeypatch.setenv("MINIMIX_MIRROR", " ".join(mirrors))
    if whole:
        assert hub.fetch_release(bare, tmp_path / "mine.pth").read_bytes() == CONTENT
    else:
        assert weights.load(hub.locate("mixnet-s")).architecture.name == "mixnet-s"
    assert [seen.target for seen in server.seen] == [f"/login{path}", path]
    assert "<" not in (cache / f"pins/timm/{bare.file}.sha256").read_text()


def test_without_a_mirror_the_original_is_asked(cache, monkeypatch):
    assert places("https://host/a/b.pth") == ["https://host/a/b.pth"]
    monkeypatch.setenv("MINIMIX_MIRROR", "  ")
    assert places("https://host/a/b.pth") == ["https://host/a/b.pth"]


@pytest.mark.parametrize("mirror", ["ftp://host", "host", "http://", "http://[::1", "http://h/?q"])
def test_a_mirror_that_is_no_address_is_a_usage_error(release, monkeypatch, cache, mirror):
    monkeypatch.setenv("MINIMIX_MIRROR", mirror)
    with pytest.raises(UsageError, match="MINIMIX_MIRROR: .* is no base address"):
        hub.locate("mixnet-s")
    assert not cache.exists()


@pytest.mark.parametrize(
    ("mirror", "shown"),
    [
        ("https://me:secret@host/?q", "https://host/?q"),
        ("https://me:sec/ret@host", "https://...@host"),
        ("https://me:se#cret@host", "https://...@host"),
        ("https://me:s?cret@ho@st", "https://...@st"),
        ("me:secret@host", "host"),
        ("https://me:secret@host:port", "https://host:port"),
        ("https://me:secret@host:0", "https://host:0"),
    ],
)
def test_the_password_of_a_mirror_is_not_in_its_error(release, monkeypatch, mirror, shown):
    monkeypatch.setenv("MINIMIX_MIRROR", mirror)
    with pytest.raises(UsageError, match="is no base address") as caught:
        hub.locate("mixnet-s")
    assert repr(shown) in str(caught.value) and "cret" not in str(caught.value)


def test_a_proxy_is_honoured(release, server, monkeypatch):
    monkeypatch.setenv("MINIMIX_MIRROR", "http://mirror.invalid")
    monkeypatch.setenv("http_proxy", server.address)
    hub.locate("mixnet-s")
    path = urlsplit(release.url).path
    assert [seen.target for seen in server.seen] == [f"http://mirror.invalid{path}"]


@pytest.mark.parametrize("how", ["argument", "environment"])
def test_offline_what_is_here_is_used_and_the_rest_is_an_error(release, server, monkeypatch, how):
    if how == "environment":
        monkeypatch.setenv("MINIMIX_OFFLINE", "1")
    offline = how == "argument"
    with pytest.raises(WeightsError, match="has to be fetched, and the network is forbidden") as no:
        minimix.load("mixnet-s", offline=offline)
    assert f"curl -LO {release.url}" in str(no.value)
    assert server.seen == []
    monkeypatch.delenv("MINIMIX_OFFLINE", raising=False)
    minimix.load("mixnet-s")
    if how == "environment":
        monkeypatch.setenv("MINIMIX_OFFLINE", "1")
    minimix.load("mixnet-s", offline=offline)
    assert len(server.seen) == 1


# --- the disk ---------------------------------------------------------------------------------


def test_a_cache_that_is_no_folder_is_an_output_error(release, cache):
    cache.write_bytes(b"")
    with pytest.raises(OutputError, match="cannot be written: .*MINIMIX_CACHE_DIR"):
        hub.locate("mixnet-s")


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="this user may write everywhere"
)
def test_a_cache_that_may_not_be_written_is_an_output_error(release, cache):
    cache.mkdir(mode=0o500)
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        hub.locate("mixnet-s")


def test_a_user_without_a_home_is_told_to_name_a_folder(release, monkeypatch):
    def homeless():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr("minimix.hub.modelcache.cache_folder", homeless)
    with pytest.raises(OutputError, match="home directory; name a folder for the cache"):
        hub.locate("mixnet-s")
    assert hub.locate("mixnet-pocket").is_file()


@needs_reference
@pytest.mark.parametrize(
    ("file", "model", "whose", "dialect"),
    [
        ("timm/mixnet_s.pth", "mixnet-s", "timm", "timm"),
        ("timm/tf_mixnet_m.safetensors", "mixnet-m", "timm-tf", "timm-tf"),
        ("tf/mixnet-s.tar.gz", "mixnet-s", "tf", "tensorflow"),
        ("mindcv/mixnet_s.ckpt", "mixnet-s", "mindcv", "mindcv"),
    ],
)
def test_files_like_the_released_ones_are_fetched_and_converted(
    server, cache, monkeypatch, file, model, whose, dialect
):
    content = (REFERENCE / file).read_bytes()
    released = released_as(content, model, whose)
    monkeypatch.setitem(releases.RELEASES, (model, whose), released)
    server.put(released, content, Reply(cut_at=len(content) // 3))
    found = weights.load(hub.locate(model, whose))
    assert (found.architecture.name, found.dialect.name) == (model, dialect)
    assert found.provenance["source"]["name"] == released.file
    assert [seen.range for seen in server.seen] == [None, f"bytes={len(content) // 3}-"]
