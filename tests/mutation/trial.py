"""One run of pytest in a fork of this process, with or without a mistake in a module."""

from __future__ import annotations

import ast
import contextlib
import importlib
import importlib.util
import json
import os
import resource
import select
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from math import ceil
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAX_MEMORY_BYTES = 8 * 2**30
"""A mistake may ask for any amount of memory."""

WAITING = 10
"""A busy machine takes this much longer than its processors work on a run, at most."""

LOG_CHARACTERS = 4000

ARGUMENTS = (
    *("-q", "-p", "no:cacheprovider", "--hypothesis-seed=7"),
    # Hypothesis is in this process already, and needs no rewriting.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


class Outcome(NamedTuple):
    """How a run ended.

    Attributes:
        code: pytest's exit code, or -1 where the child did not get that far.
        report: what the child told; else "timeout" or "crash".
        log: the end of what pytest printed.
    """

    code: int
    report: Any
    seconds: float
    log: str


class Finder(MetaPathFinder):
    """Finds one module with a mistake; all others are found as ever."""

    def __init__(self, path: str, tree: ast.Module) -> None:
        self._path, self._tree = ROOT / path, tree
        parts = Path(path).with_suffix("").parts
        self._name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def put_in(self) -> None:
        """Import the module with its mistake: pytest would take one with doctests from its file."""
        sys.meta_path.insert(0, self)
        importlib.import_module(self._name)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the mistaken module, or None."""
        if fullname != self._name:
            return None
        loader = _Loader(fullname, str(self._path), self._tree)
        return importlib.util.spec_from_file_location(fullname, self._path, loader=loader)


class _Loader(SourceFileLoader):
    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._tree, self.path, "exec", dont_inherit=True)


class OneCache:
    """A plugin: every run finds the kernels that those before it have compiled."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef):  # type: ignore[no-untyped-def]
        """Name the folder when the tests' own fixture has named another."""
        result = yield
        if fixturedef.argname == "cache_of_the_tests":
            os.environ["MINIMIX_CACHE_DIR"] = str(self._folder)
        return result

    def pytest_collection(self) -> None:
        """Do not look for the smallest case that fails: that it fails is enough."""
        from hypothesis import Phase, settings

        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutation", settings.default, phases=phases)
        settings.load_profile("mutation")


def run_in_fork(
    arguments: Sequence[str],
    plugins: Sequence[object],
    report: Callable[[], object],
    scratch: Path,
    cpu_s: float,
    prepare: Callable[[], None] = lambda: None,
) -> Outcome:
    """Run pytest in a child; what ``report`` says there at the end comes back.

    The child may take ``cpu_s`` of the processor, and ``WAITING`` times as long by the clock.
    """
    begun = time.monotonic()
    folder = Path(tempfile.mkdtemp(dir=scratch))
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        argv = [*ARGUMENTS, f"--basetemp={folder / 'tmp'}", *arguments]
        _child(writing, folder / "log", argv, plugins, report, prepare, cpu_s)
    os.close(writing)
    data = read_until(reading, begun + WAITING * cpu_s)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU:
        data = None
    log = folder / "log"
    printed = log.read_text("utf-8", "replace")[-LOG_CHARACTERS:] if log.exists() else ""
    shutil.rmtree(folder, ignore_errors=True)
    code, told = json.loads(data) if data else (-1, "timeout" if data is None else "crash")
    return Outcome(code, told, time.monotonic() - begun, printed)


def _child(
    writing: int,
    log: Path,
    arguments: list[str],
    plugins: Sequence[object],
    report: Callable[[], object],
    prepare: Callable[[], None],
    cpu_s: float,
) -> None:
    os.setsid()
    output = os.open(log, os.O_CREAT | os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(output, stream)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (ceil(cpu_s), ceil(cpu_s) + 5))
    try:
        prepare()
        code = int(pytest.main(arguments, plugins=list(plugins)))
        with os.fdopen(writing, "w") as pipe:
            json.dump([code, report()], pipe)
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        # Nothing of the parent's is run here, whatever happened.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def read_until(reading: int, deadline: float) -> bytes | None:
    """Return all that the child writes before it ends; None when it is too late."""
    data = b""
    with os.fdopen(reading, "rb", buffering=0) as pipe:
        while (left := deadline - time.monotonic()) > 0:
            ready, _, _ = select.select([pipe], [], [], left)
            if ready:
                piece = pipe.read(65536)
                if not piece:
                    return data
                data += piece
    return None
