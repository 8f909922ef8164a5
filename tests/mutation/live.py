"""Mutants of what lies in functions: put into a session that has collected its tests already.

A fork of that session begins where its tests do, with nothing to import: ten times as many mutants
in the same time.  What runs on import needs trial.py.
"""

from __future__ import annotations

import ast
import gc
import inspect
import json
import os
import resource
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from math import ceil
from types import CodeType, FunctionType

import pytest

from tests.mutation.mutants import Mutant, mutated
from tests.mutation.trial import ROOT, WAITING, read_until

Report = Callable[[Mutant, str, float], None]
"""Told of a mutant, how it was noticed ("" where it was not), and the seconds that took."""


def changed_functions(mutant: Mutant, source: str) -> dict[CodeType, CodeType] | None:
    """Code of the functions that differ -> the mutant's; None where more than functions do."""
    path = str(ROOT / mutant.path)
    old = compile(ast.parse(source), path, "exec", dont_inherit=True)
    new = compile(mutated(mutant, source), path, "exec", dont_inherit=True)
    changed: dict[CodeType, CodeType] = {}
    return changed if _compare(old, new, changed) else None


def _compare(old: CodeType, new: CodeType, changed: dict[CodeType, CodeType]) -> bool:
    """Collect what differs; whether all of it is in functions with the same variables."""
    if old == new:
        return True
    inner_old, inner_new = _inner(old), _inner(new)
    if _own(old) != _own(new) or len(inner_old) != len(inner_new):
        if not old.co_flags & inspect.CO_OPTIMIZED or old.co_freevars != new.co_freevars:
            return False
        changed[old] = new
        return True
    if old.co_flags & inspect.CO_OPTIMIZED:
        changed[old] = new
    return all(_compare(a, b, changed) for a, b in zip(inner_old, inner_new, strict=True))


def _inner(code: CodeType) -> list[CodeType]:
    return [constant for constant in code.co_consts if isinstance(constant, CodeType)]


def _own(code: CodeType) -> tuple[object, ...]:
    plain = [repr(value) for value in code.co_consts if not isinstance(value, CodeType)]
    return code.co_code, plain, code.co_names


def put_in(changed: dict[CodeType, CodeType]) -> None:
    """Give every live function that has one of the codes the other one."""
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and (new := changed.get(found.__code__)) is not None:
            found.__code__ = new


class Loop:
    """A plugin: in place of the tests, runs those of each mutant in a fork of the session.

    Args:
        wanted: mutants, the functions that they change, and the tests to run in this order.
        seconds_of: tests -> how much of the processor they may take.
        noticed: told of every mutant that a test noticed, at once, in the session's own process.
    """

    def __init__(
        self,
        wanted: list[tuple[Mutant, dict[CodeType, CodeType], list[str]]],
        seconds_of: Callable[[list[str]], float],
        noticed: Report,
    ) -> None:
        self._wanted, self._seconds_of, self._noticed = wanted, seconds_of, noticed
        self._failed = ""
        self.rows: list[tuple[int, str, float]] = []

    def told(self) -> list[tuple[int, str, float]]:
        """Return position, outcome and seconds of each mutant."""
        return self.rows

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed."""
        if report.failed and not self._failed:
            self._failed = report.nodeid

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Try every mutant."""
        items = {item.nodeid: item for item in session.items}
        gc.freeze()
        for n, (mutant, changed, tests) in enumerate(self._wanted):
            begun = time.monotonic()
            chosen = [items[test] for test in tests if test in items]
            how = self._fork(changed, chosen, self._seconds_of(tests))
            seconds = time.monotonic() - begun
            self.rows.append((n, how, seconds))
            if how and n > 0:
                self._noticed(mutant, how, seconds)
        return True

    def _fork(
        self, changed: dict[CodeType, CodeType], items: list[pytest.Item], cpu_s: float
    ) -> str:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            self._child(writing, changed, items, cpu_s)
        os.close(writing)
        data = read_until(reading, time.monotonic() + WAITING * cpu_s)
        with suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if data is None or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
            return "timeout"
        return str(json.loads(data)) if data else "crash"

    def _child(
        self,
        writing: int,
        changed: dict[CodeType, CodeType],
        items: list[pytest.Item],
        cpu_s: float,
    ) -> None:
        try:
            os.setpgid(0, 0)
            resource.setrlimit(resource.RLIMIT_CPU, (ceil(cpu_s), ceil(cpu_s) + 5))
            gc.unfreeze()
            put_in(changed)
            for item, following in zip(items, [*items[1:], None], strict=True):
                item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
                if self._failed:
                    break
            with os.fdopen(writing, "w") as pipe:
                json.dump(self._failed, pipe)
        finally:
            os._exit(0)
