"""A model's name -> its file in the cache: fetched once, checked, pinned and converted."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

import minimix
from minimix import hub, weights
from minimix.errors import WeightsError
from minimix.hub import modelcache, releases
from minimix.hub.events import FetchEvent
from minimix.network import places
from tests.cli import environment
from tests.fetching import empty_cache, mirror, narrow_release, put_unchecked, tree
from tests.model_files import listing
from tests.release_server import (
    Reply,
    narrow_checkpoint,
    use_narrow,
)

CONTENT = narrow_checkpoint()
SHA256 = hashlib.sha256(CONTENT).hexdigest()

cache = pytest.fixture(empty_cache)
server = pytest.fixture(mirror)
release = pytest.fixture(narrow_release)


# --- once -------------------------------------------------------------------------------------


def test_a_model_is_fetched_from_its_place_and_converted(release, server, cache):
    path = hub.locate("mixnet-s")
    assert path == cache / "models" / "timm" / "mixnet-s.h5"
    assert [seen.target for seen in server.seen] == [urlsplit(release.url).path]
    file = weights.load(path)
    assert (file.architecture.name, file.dialect.name) == ("mixnet-s", "timm")
    assert file.provenance["source"]["name"] == release.file
    assert file.provenance["source"]["sha256"] == SHA256


def test_nothing_but_the_model_and_its_pin_stays(release, cache):
    hub.locate("mixnet-s")
    pin = f"pins/timm/{release.file}.sha256"
    assert tree(cache) == ["models/timm/mixnet-s.h5", pin]
    assert listing(cache) == ["models", "pins"]
    assert (cache / pin).read_text() == f"{SHA256}  {release.file}\n"


def test_it_is_fetched_once(release, server):
    first = hub.locate("mixnet-s")
    assert hub.locate("mixnet-s") == first and len(server.seen) == 1


def test_loading_fetches_and_runs(release, cache):
    events: list[FetchEvent] = []
    net = minimix.load("mixnet-s", weights="timm", engine="reference", progress=events.append)
    logits = net(np.zeros((1, net.size, net.size, 3), np.float32))
    assert logits.shape == (1, 7)
    assert [event.stage for event in events][:1] == ["downloading"]
    assert events[-1].stage == "converting" and events[-1].text == f"converting {release.file}"


def test_a_model_that_is_here_costs_neither_network_nor_lock(release, cache):
    hub.locate("mixnet-s")
    probe = (
        "import sys\nfrom minimix import hub\nprint(hub.locate('mixnet-s'))\n"
        "print(sorted({'requests', 'urllib3', 'filelock', 'weights_tools'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env=environment(MINIMIX_CACHE_DIR=str(cache)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines() == [str(cache / "models" / "timm" / "mixnet-s.h5"), "[]"]


def test_threads_at_once_fetch_it_once(release, server, cache):
    server.always = Reply(pause_s=0.01, piece_bytes=len(CONTENT) // 20)
    found: list[Path] = []
    threads = [
        threading.Thread(target=lambda: found.append(hub.locate("mixnet-s"))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [cache / "models" / "timm" / "mixnet-s.h5"] * 4
    assert len(server.seen) == 1


def test_two_models_at_once_do_not_disturb_each_other(release, server, cache):
    lost = replace(release, model="mixnet-m", url=f"{release.url}.gone")
    failures: list[WeightsError] = []

    def fail_again_and_again():
        for _ in range(30):
            with pytest.raises(WeightsError, match="404") as caught:
                hub.fetch_model(lost)
            failures.append(caught.value)

    other = threading.Thread(target=fail_again_and_again)
    other.start()
    for _ in range(5):
        hub.locate("mixnet-s")
        modelcache.remove(release, pins_too=True)
    other.join()
    assert len(failures) == 30
    assert tree(cache) == []


def test_who_waits_is_told_so_once(release, server, cache, monkeypatch):
    monkeypatch.setattr("minimix.hub.locks.NOTICE_S", 0.05)
    server.always = Reply(pause_s=0.02, piece_bytes=len(CONTENT) // 20)
    events: list[FetchEvent] = []
    begun = threading.Event()
    first = threading.Thread(
        target=lambda: hub.fetch_model(release, progress=lambda event: begun.set())
    )
    first.start()
    begun.wait(10)
    hub.fetch_model(release, progress=events.append)
    first.join()
    (event,) = events
    assert event.stage == "waiting"
    assert event.text == "mixnet-s (timm): another process is fetching it; waiting"


# --- what fails -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=404), "HTTP 404 Not Found"),
        (Reply(body=CONTENT[:-1]), "announces"),
        (Reply(body=CONTENT[:-1] + b"!"), "its sha256 is"),
    ],
)
def test_a_failed_fetch_leaves_nothing_and_says_what_to_do(release, server, cache, reply, reason):
    server.always = reply
    if reply.status == 404:
        server.files.clear()
    with pytest.raises(WeightsError, match=reason) as caught:
        hub.locate("mixnet-s")
    lines = str(caught.value).splitlines()
    assert lines[0] == "mixnet-s (timm): cannot be fetched"
    assert lines[1].startswith(f"  {places(release.url)[0]}: ")
    assert lines[2:] == [
        "Fetch it by hand and convert it:",
        f"  curl -LO {release.url}",
        f"  python -m weights_tools convert {release.file} -o mixnet-s.h5",
        "then use it as --model mixnet-s.h5",
    ]
    assert not cache.exists()


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"<!doctype html><p>Please log in", "html"), (b"\0" * 1000, "starts with")],
)
def test_what_is_no_model_is_neither_kept_nor_pinned(server, cache, monkeypatch, content, reason):
    bare = put_unchecked(server, monkeypatch, content, "mindcv")
    with pytest.raises(WeightsError, match="not the released model, and not kept: ") as caught:
        hub.locate("mixnet-s", "mindcv")
    assert reason in str(caught.value) and f"curl -LO {bare.url}" in str(caught.value)
    assert str(cache) not in str(caught.value)
    assert not cache.exists()


def test_another_architecture_is_not_kept(release, server, cache, monkeypatch):
    put_unchecked(server, monkeypatch, CONTENT)
    monkeypatch.setitem(
        releases.RELEASES,
        ("mixnet-m", "timm"),
        replace(releases.RELEASES["mixnet-s", "timm"], model="mixnet-m"),
    )
    with pytest.raises(WeightsError, match="not mixnet-m: 16 blocks, expected 19"):
        hub.locate("mixnet-m")
    assert not cache.exists()


def test_another_dialect_is_not_kept(release, server, cache, monkeypatch):
    put_unchecked(server, monkeypatch, CONTENT, "tf")
    with pytest.raises(WeightsError, match="dialect 'tensorflow' was asked for, its tensors are"):
        hub.locate("mixnet-s", "tf")
    assert not cache.exists()


def test_a_folder_of_the_user_s_own_stays(release, server, cache):
    server.files.clear()
    cache.mkdir()
    with pytest.raises(WeightsError, match="HTTP 404"):
        hub.locate("mixnet-s")
    assert listing(cache) == []


def test_a_damaged_model_says_how_to_have_it_anew(release, server, cache):
    path = hub.locate("mixnet-s")
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(WeightsError, match="It is the cache's copy of mixnet-s") as caught:
        minimix.load("mixnet-s")
    assert "  minimix models rm mixnet-s\n  minimix models fetch mixnet-s" in str(caught.value)
    modelcache.remove(release)
    minimix.load("mixnet-s")
    assert len(server.seen) == 2


# --- pins -------------------------------------------------------------------------------------


def test_another_file_than_the_first_needs_consent(server, cache, monkeypatch):
    use_narrow(monkeypatch.setitem)
    bare = put_unchecked(server, monkeypatch, CONTENT)
    hub.locate("mixnet-s")
    modelcache.remove(bare)
    server.put(bare, CONTENT[:-1] + b"!")
    with pytest.raises(WeightsError, match=f"that of the first fetch was {SHA256}") as caught:
        hub.locate("mixnet-s")
    assert str(caught.value).endswith(
        "To accept it on purpose:\n  minimix models rm mixnet-s --pins\n"
        "  minimix models fetch mixnet-s"
    )
    assert tree(cache) == [f"pins/timm/{bare.file}.sha256"]
    modelcache.remove(bare, pins_too=True)
    assert weights.load(hub.locate("mixnet-s")).provenance["source"]["sha256"] != SHA256


def test_a_damaged_pin_is_an_error_that_says_how_to_make_a_new_one(release, server, cache):
    hub.locate("mixnet-s")
    modelcache.remove(release)
    (cache / f"pins/timm/{release.file}.sha256").write_text("sha256\n")
    with pytest.raises(WeightsError, match="minimix models rm mixnet-s --pins"):
        hub.locate("mixnet-s")
    assert len(server.seen) == 1
