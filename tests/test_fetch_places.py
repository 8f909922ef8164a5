"""Where a model's released file is fetched from, where it is kept, and the file itself."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import pytest

import minimix
from minimix import hub, weights
from minimix.errors import OutputError, UsageError, WeightsError
from minimix.hub import fetch as fetch_module
from minimix.hub import releases
from minimix.hub.fetch import Patience
from minimix.network import places
from tests.fetching import put_unchecked, tree
from tests.model_files import listing
from tests.reference import REFERENCE, needs_reference
from tests.release_server import (
    Reply,
    clear_environment,
    narrow_checkpoint,
    released_as,
    running_server,
    use_narrow,
)

CONTENT = narrow_checkpoint()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The cache folder, which is not there yet."""
    clear_environment(monkeypatch)
    monkeypatch.setenv("MINIMIX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def server(cache, monkeypatch):
    """A mirror of everything, where nothing lies yet."""
    monkeypatch.setattr(fetch_module, "PATIENCE", Patience(backoff_s=0.001, read_s=1.0))
    with running_server() as running:
        monkeypatch.setenv("MINIMIX_MIRROR", running.address)
        yield running


@pytest.fixture
def release(server, monkeypatch):
    """A narrow mixnet-s, released where timm releases its own."""
    released = use_narrow(monkeypatch.setitem)
    server.put(released, CONTENT)
    return released


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
    with pytest.raises(OutputError, match="home directory.; name a folder for the cache"):
        hub.locate("mixnet-s")
    assert hub.locate("mixnet-pocket").is_file()


# --- released files as they are ---------------------------------------------------------------


def test_a_released_file_is_fetched_as_it_is_and_pinned(release, cache, tmp_path):
    out = tmp_path / "mine.pth"
    assert hub.fetch_release("mixnet-s", None, out) == out
    assert out.read_bytes() == CONTENT
    assert tree(cache) == [f"pins/timm/{release.file}.sha256"]
    assert listing(tmp_path) == ["cache", "mine.pth"]
    with pytest.raises(UsageError, match="exists already"):
        hub.fetch_release("mixnet-s", "timm", out)
    hub.fetch_release("mixnet-s", "timm", out, force=True)


def test_a_released_file_is_checked_against_what_was_fetched_first(release, server, tmp_path):
    hub.fetch_release("mixnet-s", None, tmp_path / "mine.pth")
    server.put(release, CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match="cannot be fetched"):
        hub.fetch_release("mixnet-s", None, tmp_path / "mine.pth", force=True)
    assert (tmp_path / "mine.pth").read_bytes() == CONTENT
    assert listing(tmp_path) == ["cache", "mine.pth"]


def test_a_released_file_without_a_checksum_must_be_readable(server, cache, tmp_path, monkeypatch):
    put_unchecked(server, monkeypatch, b"<html>", "mindcv")
    with pytest.raises(WeightsError, match="it is not the released model"):
        hub.fetch_release("mixnet-s", "mindcv", tmp_path / "mine.ckpt")
    assert listing(tmp_path) == []


def test_the_embedded_model_has_no_released_file(cache, tmp_path):
    with pytest.raises(UsageError, match="there is nothing to fetch"):
        hub.fetch_release("mixnet-pocket", None, tmp_path / "a")
    with pytest.raises(WeightsError, match="the network is forbidden"):
        hub.fetch_release("mixnet-s", None, tmp_path / "a", offline=True)


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
