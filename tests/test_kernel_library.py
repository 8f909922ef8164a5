"""Libraries of machine code: each function is compiled once a machine, not once a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minimix.engine.kernels import jit
from minimix.engine.kernels.cache import CodeCache
from minimix.engine.kernels.library import SchedulerLibrary
from tests.filling_kernels import Fill, library, numbers, stored_by

ROOT = Path(__file__).resolve().parents[1]


def test_a_second_library_compiles_only_what_the_first_did_not(tmp_path):
    first, told = library(tmp_path)
    assert numbers(first, 1, 2) == [1, 2]
    assert told == [2, 1, 0]
    assert numbers(first, 2, 1) == [2, 1]
    assert told == [2, 1, 0]
    second, told = library(tmp_path)
    assert numbers(second, 1, 2) == [1, 2]
    assert told == []
    assert numbers(second, 1, 2, 3) == [1, 2, 3]
    assert told == [1, 0]


def test_what_was_compiled_before_an_interruption_is_kept(tmp_path):
    first, _ = library(tmp_path)

    def interrupt(left):
        if left == 1:
            raise KeyboardInterrupt

    first.on_compile = interrupt
    with pytest.raises(KeyboardInterrupt):
        numbers(first, 1, 2, 3)
    second, told = library(tmp_path)
    assert numbers(second, 1, 2, 3) == [1, 2, 3]
    assert told == [1, 0]


@pytest.mark.parametrize("keep", [0, 10, 100, -1])
def test_a_damaged_file_is_compiled_again_and_replaced(tmp_path, keep):
    assert numbers(library(tmp_path)[0], 1) == [1]
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(whole[:keep])
    lib, told = library(tmp_path)
    assert numbers(lib, 1) == [1]
    assert told == [1, 0]
    assert file.read_bytes() == whole and list(tmp_path.iterdir()) == [file]


def test_a_file_under_another_functions_name_is_not_loaded(tmp_path):
    assert numbers(library(tmp_path)[0], 1, 2) == [1, 2]
    one, two = sorted(tmp_path.iterdir())
    one.write_bytes(two.read_bytes())
    lib, told = library(tmp_path)
    assert numbers(lib, 1, 2) == [1, 2]
    assert told == [1, 0]


def test_code_that_nothing_uses_is_let_go_and_found_again(tmp_path, monkeypatch):
    monkeypatch.setattr("minimix.engine.kernels.library.UNUSED_KEPT", 2)
    lib, told = library(tmp_path)
    for number in range(1, 8):
        assert numbers(lib, number) == [number]
        assert len(lib._loaded) <= 3  # one is in use while the next is looked for
    compiled = len(told)
    assert numbers(lib, 1) == [1] and len(told) == compiled


def test_code_stays_for_as_long_as_somebody_has_its_address(tmp_path, monkeypatch):
    monkeypatch.setattr("minimix.engine.kernels.library.UNUSED_KEPT", 0)
    lib, told = library(tmp_path)
    used = lib.addresses({Fill(1).name: Fill(1), Fill(2).name: Fill(2)})
    for number in range(3, 8):
        assert numbers(lib, number, 1) == [number, 1]
    assert [stored_by(address) for address in used.values()] == [1, 2]
    assert told.count(2) == 1
    del used
    assert numbers(lib, 3) == [3]
    assert list(lib._loaded) == [Fill(3).name]


def test_the_scheduler_is_found_again_function_by_function(tmp_path):
    told = []
    first = SchedulerLibrary(CodeCache(tmp_path))
    first.on_compile = told.append
    assert len(set(first.addresses())) == 3 and told == [3, 2, 1, 0]
    next(tmp_path.glob("work-*")).unlink()
    second = SchedulerLibrary(CodeCache(tmp_path))
    second.on_compile = told.append
    assert 0 not in second.addresses() and told == [3, 2, 1, 0, 1, 0]
    assert len(list(tmp_path.iterdir())) == 3


def test_code_that_would_need_something_from_elsewhere_is_not_made():
    text = (
        "declare void @numba_secret()\ndefine void @f() {\ncall void @numba_secret()\nret void\n}"
    )
    with pytest.raises(RuntimeError, match="f: needs numba_secret, which Numba keeps to itself"):
        jit.compile_exported(text, "f")


CLASSIFY = """
import hashlib, sys
import numpy as np
from minimix.dialect import DIALECTS
from minimix.engine.compiled import CompiledEngine
from minimix.zoo import architecture, build

graph = build(architecture("mixnet-pocket", num_classes=7), DIALECTS["timm"])
random = np.random.RandomState(5)
shapes = graph.param_shapes.items()
params = {name: (random.rand(*shape) * 0.1).astype(np.float32) for name, shape in shapes}
engine = CompiledEngine(graph, params, threads=2)
told = []
engine.library.on_compile = told.append
(logits,) = engine.run(random.rand(1, 64, 64, 3).astype(np.float32))
assert np.isfinite(logits).all() and logits.any()
print(hashlib.sha256(logits).hexdigest(), bool(told), "numba" in sys.modules)
"""


def start(cache_folder):
    environment = os.environ | {"MINIMIX_CACHE_DIR": str(cache_folder)}
    run = [sys.executable, "-W", "error", "-c", CLASSIFY]
    pipe = subprocess.PIPE
    return subprocess.Popen(run, cwd=ROOT, env=environment, stdout=pipe, stderr=pipe, text=True)


def answer(process):
    """(hash of the logits, whether kernels were compiled, whether Numba was imported)."""
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    return tuple(out.split())


def test_processes_that_fill_the_cache_at_once_leave_it_whole_and_the_next_compiles_nothing(
    tmp_path,
):
    filling = [start(tmp_path), start(tmp_path)]
    first, second = map(answer, filling)
    # A slow machine may start the second when the first has compiled already.
    assert first[0] == second[0]
    assert "True" in (first[1], second[1])
    assert not list((tmp_path / "kernels").glob(".*"))
    assert answer(start(tmp_path)) == (first[0], "False", "False")
