"""Threads and processes on one model file, from an empty cache: bit-equal to serial.

A short run of ``python -m tests.load.concurrency``, which says what is raced.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from minimix.engine import has_numba
from minimix.errors import OutputError
from minimix.files import replacing
from minimix.hub.locks import alone_in
from minimix.workflows.resuming.parts import open_parts, parts_folder
from tests.load.concurrency import run
from tests.model_files import listing


@pytest.mark.skipif(not has_numba(), reason="both engines are raced, and Numba is not installed")
def test_threads_and_processes_from_an_empty_cache_give_the_bits_of_one_alone():
    report = run(8.0, threads=4, processes=2, sizes=(32, 41))
    assert report.failures == []
    kinds = ("compiled", "reference", "models loaded", "downloads", "kernels compiled")
    assert all(report.done[kind] > 0 for kind in kinds), report.done


@pytest.mark.parametrize("name", ["downloads", "downloads/model"])
@pytest.mark.parametrize("time", [0, 1, 2])  # the second by filelock, where the first was ours
def test_a_folder_that_somebody_makes_and_removes_at_once_is_made_anew(
    tmp_path, monkeypatch, name, time
):
    mkdir, made = Path.mkdir, []
    folder = tmp_path / "downloads" / "model"

    def raced(path, *arguments, **options):
        if path == tmp_path / name:
            made.append(path)
            if len(made) == time + 1:  # and gone again
                raise FileExistsError(errno.EEXIST, "File exists", str(path))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", raced)
    with alone_in(folder / "lock", on_wait=lambda: None):
        assert made and folder.is_dir()
    assert listing(tmp_path) == []


@pytest.mark.parametrize("time", [0, 1])
def test_a_folder_of_kept_work_that_is_removed_as_it_is_made_is_made_anew(
    tmp_path, monkeypatch, time
):
    mkdir, made = Path.mkdir, []
    folder = parts_folder(tmp_path / "out.txt")

    def raced(path, *arguments, **options):
        made.append(path)
        if len(made) == time + 1:
            raise FileExistsError(errno.EEXIST, "File exists", str(path))
        mkdir(path, *arguments, **options)

    monkeypatch.setattr(Path, "mkdir", raced)
    with open_parts(folder, {"command": "test"}, ["[]"], 1) as parts:
        parts.write(0, b"part")
    assert len(made) > time and "part-000000" in listing(folder)


def test_a_file_in_place_of_a_folder_is_an_error(tmp_path):
    (tmp_path / "downloads").write_text("")
    with (
        pytest.raises(OutputError, match=r"downloads.model: cannot be written"),
        alone_in(tmp_path / "downloads" / "model" / "lock", on_wait=lambda: None),
    ):
        raise AssertionError("it is held")


def test_writing_a_result_leaves_the_mask_alone_that_all_threads_share(tmp_path, monkeypatch):
    def refuse(mask):
        raise AssertionError("between two calls other threads' files are open to everybody")

    monkeypatch.setattr(os, "umask", refuse)
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole")
    assert listing(tmp_path) == ["a.txt"]
