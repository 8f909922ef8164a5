"""Ctrl-C, SIGTERM and kill -9 at random moments, and what a killed process leaves to the next.

The first test is a short run of ``python -m tests.load.interruptions``, which has all commands.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from minimix import unfinished
from minimix.engine.kernels.cache import CodeCache
from minimix.errors import OutputError
from minimix.files import replacing
from tests.cli import environment
from tests.load.interruptions import SIGNALS, run
from tests.model_files import listing

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and locks are POSIX's")

KEY = bytes(32)


@pytest.mark.parametrize("name", ["explore", "fetch"])
def test_an_interruption_at_a_random_moment_leaves_nothing_that_the_next_run_minds(name):
    report = run(len(SIGNALS), seed=3, names=[name])
    assert report.failures == []
    assert report.trials.total() == len(SIGNALS)


def killed(code, *argv):
    """Run code that ends with a kill of its own process."""
    done = subprocess.run(
        [sys.executable, "-c", f"import os, signal, sys\n{code}", *map(str, argv)],
        env=environment(),
        check=False,
    )
    assert done.returncode == -signal.SIGKILL


KILL = "os.kill(os.getpid(), signal.SIGKILL)"


# --- results -------------------------------------------------------------------------------------


def killed_while_writing(path):
    code = f"""
from pathlib import Path
from minimix.files import replacing
with replacing(Path(sys.argv[1]), force=True) as temporary:
    temporary.write_text("half")
    {KILL}
"""
    killed(code, path)


def test_what_a_killed_run_had_begun_is_removed_by_the_next_of_the_same_name(tmp_path):
    killed_while_writing(tmp_path / "a.txt")
    killed_while_writing(tmp_path / "b.txt")
    assert len(listing(tmp_path)) == 2
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    left = listing(tmp_path)
    assert len(left) == 2 and "a.txt" in left
    assert (tmp_path / "a.txt").read_text() == "whole"
    assert next(name for name in left if name != "a.txt").startswith(".b.txt.")


def test_what_another_run_is_writing_is_not_removed(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first:
        first.write_text("first")
        with replacing(path) as second:
            second.write_text("second")
        assert first.read_text() == "first" and path.read_text() == "second"
    assert path.read_text() == "first" and listing(tmp_path) == ["a.txt"]


@pytest.mark.parametrize(
    "name", ["a.txt.aaaaaaaa.part", ".a.txt.part", ".a.txt.aaaa.part", ".a.txt.aaaaaaaa.part.txt"]
)
def test_files_of_other_names_stay(tmp_path, name):
    (tmp_path / name).write_text("the user's own")
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert listing(tmp_path) == sorted(["a.txt", name])


def test_a_link_and_a_pipe_under_a_temporary_name_stay_and_keep_nobody_waiting(tmp_path):
    (tmp_path / "own").write_text("the user's own")
    (tmp_path / ".a.txt.aaaaaaaa.part").symlink_to(tmp_path / "own")
    (tmp_path / ".a.txt.bbbbbbbb.part").mkdir()
    os.mkfifo(tmp_path / ".a.txt.cccccccc.part")
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "own").read_text() == "the user's own"
    assert len(listing(tmp_path)) == 5


def no_locks(monkeypatch):
    import fcntl

    def refuse(handle, operation):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_where_there_are_no_locks_results_are_written_and_nothing_is_cleared(tmp_path, monkeypatch):
    killed_while_writing(tmp_path / "a.txt")
    no_locks(monkeypatch)
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert len(listing(tmp_path)) == 2 and (tmp_path / "a.txt").read_text() == "whole"
    with pytest.raises(OutputError, match="no space"), replacing(tmp_path / "b.txt"):
        raise OSError("no space")
    assert len(listing(tmp_path)) == 2


# --- kernels -------------------------------------------------------------------------------------


def killed_while_storing(folder):
    code = f"""
from pathlib import Path
from minimix.engine.kernels.cache import CodeCache
os.replace = lambda *_, **__: {KILL}
CodeCache(Path(sys.argv[1])).store(bytes(32), "a", b"half")
"""
    killed(code, folder)


def test_a_kernel_that_a_killed_process_had_begun_to_store_is_cleared_and_never_loaded(tmp_path):
    folder = tmp_path / "kernels"
    killed_while_storing(folder)
    (left,) = listing(folder)
    assert left.endswith(".part")
    kept = CodeCache(folder)
    assert kept.load(KEY, ["a"]) == {}
    kept.store(KEY, "b", b"code")
    assert left not in listing(folder) and len(listing(folder)) == 1
    assert kept.load(KEY, ["a", "b"]) == {"b": b"code"}


def test_a_kernel_that_a_living_process_is_storing_is_not_cleared(tmp_path, monkeypatch):
    folder, replace = tmp_path / "kernels", os.replace

    def meanwhile(*arguments, **options):
        monkeypatch.setattr(os, "replace", replace)
        CodeCache(folder).store(KEY, "b", b"other")
        replace(*arguments, **options)

    monkeypatch.setattr(os, "replace", meanwhile)
    CodeCache(folder).store(KEY, "a", b"code")
    assert CodeCache(folder).load(KEY, ["a", "b"]) == {"a": b"code", "b": b"other"}
    assert len(listing(folder)) == 2


def test_a_kernel_that_is_cleared_before_it_is_locked_is_stored_under_another_name(
    tmp_path, monkeypatch
):
    folder, lock, cleared = tmp_path / "kernels", unfinished._lock, []

    def late(handle):
        if not cleared:
            cleared.append([path.unlink() for path in folder.iterdir()])
        return lock(handle)

    monkeypatch.setattr(unfinished, "_lock", late)
    CodeCache(folder).store(KEY, "a", b"code")
    assert cleared and CodeCache(folder).load(KEY, ["a"]) == {"a": b"code"}


def test_where_there_are_no_locks_kernels_are_stored(tmp_path, monkeypatch):
    folder = tmp_path / "kernels"
    killed_while_storing(folder)
    no_locks(monkeypatch)
    CodeCache(folder).store(KEY, "b", b"code")
    assert CodeCache(folder).load(KEY, ["b"]) == {"b": b"code"} and len(listing(folder)) == 2
