"""Several processes at once, killed ones, full disks: the cache as processes share it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from minimix import hub
from minimix.hub import fetch as fetch_module
from minimix.hub import modelcache
from minimix.hub.releases import find_release
from tests.cli import ROOT, environment
from tests.fetching import empty_cache
from tests.model_files import listing
from tests.release_server import (
    Reply,
    narrow_checkpoint,
    narrow_command,
    running_server,
    use_narrow,
)

CONTENT = narrow_checkpoint()
SLOW = Reply(pause_s=0.02, piece_bytes=len(CONTENT) // 50)
SLOWER = Reply(pause_s=0.06, piece_bytes=len(CONTENT) // 50)
FETCH = ("models", "fetch", "mixnet-s")

posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX's")


cache = pytest.fixture(empty_cache)


@pytest.fixture
def server(cache, monkeypatch):
    with running_server() as running:
        monkeypatch.setenv("MINIMIX_MIRROR", running.address)
        running.put(use_narrow(monkeypatch.setitem), CONTENT)
        yield running


@pytest.fixture
def path(cache):
    """Where the model will be."""
    return cache / "models" / "timm" / "mixnet-s.h5"


def start(*argv: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        narrow_command(*argv),
        env=environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def partial(cache: Path) -> Path:
    (found,) = [file for file in cache.rglob("*.part") if not file.name.startswith(".")]
    return found


def wait_for_bytes(cache: Path, process: subprocess.Popen[str]) -> int:
    """Wait until a tenth of the file is here; how much it is."""
    for _ in range(1000):
        found = list(cache.rglob("*.pth.part"))
        if found and found[0].stat().st_size >= len(CONTENT) // 10:
            return found[0].stat().st_size
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("nothing arrives")


def test_several_processes_at_once_fetch_it_once(server, path):
    server.always = SLOW
    processes = [start(*FETCH) for _ in range(3)]
    ended = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert [out for out, _ in ended] == [f"{path}\n"] * 3
    assert len(server.seen) == 1
    assert sum("downloading" in err for _, err in ended) == 1
    assert not (path.parents[2] / "downloads").exists()


@posix
def test_after_a_kill_the_next_run_goes_on_where_it_ended(server, cache, path):
    server.always = SLOW
    process = start(*FETCH)
    here = wait_for_bytes(cache, process)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=60)
    left = partial(cache).stat().st_size
    assert here <= left < len(CONTENT)
    server.always = Reply()
    assert hub.locate("mixnet-s") == path
    assert [seen.range for seen in server.seen] == [None, f"bytes={left}-"]
    assert not (cache / "downloads").exists()


@posix
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_keeps_what_is_here_and_says_so(server, cache, sent, code):
    server.always = SLOW
    process = start(*FETCH)
    wait_for_bytes(cache, process)
    process.send_signal(sent)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err.splitlines()[1:] == ["interrupted: the next run goes on with the download"]
    left = partial(cache)
    assert left.stat().st_size > 0
    assert left in modelcache.remove(find_release("mixnet-s"))
    assert listing(cache) == []


@posix
def test_what_is_being_fetched_is_not_removed(server, cache):
    server.always = SLOWER
    process = start(*FETCH)
    wait_for_bytes(cache, process)
    done = start("models", "rm", "mixnet-s")
    out, err = done.communicate(timeout=60)
    assert (done.returncode, out) == (4, "")
    assert "another process is fetching it" in err
    process.communicate(timeout=60)
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
@pytest.mark.parametrize("limit_bytes", [100_000, len(CONTENT)])
def test_a_full_disk_is_exit_code_1_and_nothing_is_left(server, cache, limit_bytes):
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, limit_bytes))

    done = subprocess.run(
        narrow_command(*FETCH, "-q"),
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {cache}")
    assert "cannot be written: " in done.stderr and "File too large" in done.stderr
    assert not cache.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX's")
def test_a_full_disk_of_the_user_s_own_is_not_blamed_on_the_cache(server, cache, tmp_path):
    import resource

    done = subprocess.run(
        narrow_command(
            "fetch", "mixnet-s", "-q", "-o", tmp_path / "a", entry="weights_tools.__main__"
        ),
        env=environment(),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"error: {tmp_path / 'a.part'}: cannot be written: File too large. Make room there, or "
        "name another file to write\n"
    )
    assert listing(tmp_path) == []


@posix
def test_a_person_at_a_terminal_sees_a_bar(server, path):
    import pty

    server.always = SLOW
    terminal, end = pty.openpty()
    process = subprocess.Popen(
        narrow_command(*FETCH),
        env=environment(TERM="xterm", COLUMNS="120"),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=end,
    )
    os.close(end)
    shown = b""
    while True:
        try:
            shown += os.read(terminal, 65536)
        except OSError:  # the other end is closed
            break
    os.close(terminal)
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 0 and out.decode() == f"{path}\n"
    text = shown.decode()
    assert "from 127.0.0.1" in text and "kB" in text and "converting" in text


def test_patience_is_for_people():
    patience = fetch_module.PATIENCE
    assert patience.allowed_s(48_001_170) < 30 * 60
    assert patience.backoff_s * 2**patience.attempts < 10
