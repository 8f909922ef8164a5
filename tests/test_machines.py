"""Small and strange machines: what minimix says and does there is what the how-to page says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.cli import ROOT, command, environment, run

PICTURE = ROOT / "minimix" / "data" / "pictures" / "giant panda" / "1.png"
CLASSIFY = ("classify", PICTURE, "--top", "1", "--format", "csv")
FOUND = "giant panda"

PAGE = (ROOT / "tutorials" / "howto" / "machines.md").read_text("utf-8")

linux = pytest.mark.skipif(sys.platform != "linux", reason="limits and mounts are Linux's")
needs_numba = pytest.mark.skipif(find_spec("numba") is None, reason="Numba is not installed")


def classified(*options, before=(), **variables):
    """Run ``minimix classify`` on a packaged picture, in a process that is limited by a command."""
    return subprocess.run(
        [*before, *command(*CLASSIFY, *options)],
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def limited(kilobytes):
    """A command that runs another with so much address space."""
    return ["sh", "-c", f'ulimit -v {kilobytes}; exec "$@"', "sh"]


def assert_said(words, text):
    """Check that a message has the words that the page promises."""
    assert f"`{words}`" in PAGE
    assert words in text


def assert_found(done):
    assert done.returncode == 0, done.stderr
    assert FOUND in done.stdout
    assert "Traceback" not in done.stderr


@linux
@pytest.mark.parametrize("engine", ["reference", pytest.param("compiled", marks=needs_numba)])
def test_half_a_gigabyte_of_address_space_is_enough(engine):
    # OpenBLAS reserves 32 MB and a stack of 8 MB for each thread, used or not.
    small = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    options = ("--engine", engine, "--threads", "1", "--batch", "1")
    assert_found(classified(*options, before=limited(512 * 1024), **small))


@linux
@needs_numba
def test_too_little_memory_for_the_compiler_is_said_and_the_reference_engine_still_runs():
    small = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    before = limited(250_000)
    refused = classified(before=before, **small)
    assert refused.returncode in (1, 2), refused.stdout
    assert "Traceback" not in refused.stderr and "bug in minimix" not in refused.stderr
    assert "memory" in refused.stderr
    assert_found(classified("--engine", "reference", before=before, **small))


@needs_numba
@pytest.mark.parametrize(
    "error",
    [
        OSError("Could not find/load shared object file 'libllvmlite.so'."),
        ImportError("Numba needs NumPy 2.3 or less. Got NumPy 2.9."),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_compiler_that_cannot_be_loaded_is_said_by_every_command_that_needs_it(
    monkeypatch, capsys, error
):
    def refuse(*arguments, **options):
        raise error

    monkeypatch.setattr("minimix.engine.compiled.host_library", refuse)
    monkeypatch.setattr("minimix.engine.kernels.library.host_library", refuse)
    for argv in (CLASSIFY, ("warmup",), ("summary", "--plan"), ("doctor",)):
        done = run(capsys, *argv)
        assert done.code == 2, done
        assert_said("cannot load Numba's compiler", done.err)
        assert f"{error} Give" in done.err
        assert "use the reference engine" in done.err
    assert run(capsys, *CLASSIFY, "--engine", "reference").code == 0


@pytest.mark.parametrize(
    "error",
    [MemoryError(), MemoryError("Unable to allocate"), RuntimeError("can't start new thread")],
)
def test_memory_that_runs_out_is_no_bug_of_ours(monkeypatch, capsys, error):
    def fail(*arguments, **options):
        raise error

    monkeypatch.setattr("minimix.model.Model.__call__", fail)
    monkeypatch.setattr("minimix.model.Model.run", fail)
    done = run(capsys, *CLASSIFY, "--engine", "reference")
    assert done.code == 1
    assert_said("the system gives this process no more memory", done.err)
    assert "--batch 1" in done.err
    assert "bug" not in done.err and "Traceback" not in done.err


@linux
def test_one_core_is_enough():
    if shutil.which("taskset") is None:
        pytest.skip("no taskset here")
    core = str(min(os.sched_getaffinity(0)))
    assert_found(classified(before=["taskset", "-c", core]))


def test_a_home_that_cannot_be_written_to_costs_a_note_and_no_more(tmp_path):
    blocked = tmp_path / "home"
    blocked.write_text("")
    home = {"HOME": str(blocked), "XDG_CACHE_HOME": "", "MINIMIX_CACHE_DIR": ""}
    done = classified(**home)
    assert_found(done)
    if find_spec("numba"):
        assert_said("kernels are compiled in memory, without the cache", done.stderr)
    refused = subprocess.run(
        command("models", "path", "mixnet-s"),
        env=environment(**home),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert refused.returncode != 0 and "Traceback" not in refused.stderr


@linux
def test_a_file_system_that_is_read_only_everywhere_costs_a_note_and_no_more(tmp_path):
    mounting = "mount --bind / {0} && mount -o remount,bind,ro {0} && exec chroot {0} "
    inner = mounting.format(tmp_path) + 'sh -c \'! test -w "$0" && cd "$0" && exec "$@"\' '
    before = ["unshare", "--mount", "sh", "-c", f'{inner} "$@"', "sh", str(Path(ROOT))]
    if shutil.which("unshare") is None:
        pytest.skip("no unshare here")
    probe = subprocess.run([*before, "true"], capture_output=True, text=True, check=False)
    if probe.returncode:
        pytest.skip(f"mounts are not allowed here: {probe.stderr.strip()}")
    missing = {"MINIMIX_CACHE_DIR": str(tmp_path / "none")}
    done = classified(before=before, **missing, PYTHONDONTWRITEBYTECODE="1")
    assert_found(done)
    if find_spec("numba"):
        assert "Read-only file system" in done.stderr
