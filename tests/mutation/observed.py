"""Which tests run which lines, and how long each takes: the tests are run once as they are."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.mutation.mutants import Mutant
from tests.mutation.trial import ROOT, OneCache, run_in_fork

BASELINE_S = 1200


class Observed(NamedTuple):
    """What the tests of a room were seen to do.

    Attributes:
        seconds: test -> seconds of the processor that it took, with lines traced.
        lines: module -> line -> tests; "" stands for the import.
    """

    seconds: dict[str, float]
    lines: dict[str, dict[int, list[str]]]

    def tests_of(self, mutant: Mutant, budget_s: float = float("inf")) -> list[str]:
        """Return the tests that may notice a mutant, the likely and quick ones first.

        A file counts as a whole where one of its tests runs the mutated statement: results that
        tests share are computed by the first one only.  The longest ones are left out where all
        would take more than the budget.
        """
        lines = self.lines.get(mutant.path, {})
        first, last = mutant.statement
        direct = Counter(test for n in range(first, last + 1) for test in lines.get(n, ()))
        if "" in direct:
            # What runs on import concerns the tests that run most of the module.
            direct = Counter(test for tests in lines.values() for test in tests if test)
        else:
            direct = Counter(dict.fromkeys(direct, 1))
        files = {_file(test) for test in direct}
        reached = [test for test in self.seconds if _file(test) in files]
        reached.sort(key=lambda test: (-direct[test], self.seconds[test]))
        quickest = sorted(reached, key=self.seconds.__getitem__)
        taken = accumulate(self.seconds[test] for test in quickest)
        kept = {test for test, sum_s in zip(quickest, taken, strict=True) if sum_s <= budget_s}
        return [test for n, test in enumerate(reached) if n == 0 or test in kept]


def _file(test: str) -> str:
    return test.partition("::")[0]


class _Observer:
    """A plugin: traces lines, and names the test that they are for."""

    def __init__(self, modules: list[str]) -> None:
        self.modules = modules
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def start(self) -> None:
        import coverage

        paths = [str(ROOT / module) for module in self.modules]
        self.coverage = coverage.Coverage(data_file=None, include=paths, config_file=False)
        self.coverage.start()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:  # type: ignore[misc]
        self.coverage.switch_context(item.nodeid)
        begun = time.process_time()
        try:
            return (yield)
        finally:
            self.seconds[item.nodeid] = time.process_time() - begun

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed.append(report.nodeid)

    def told(self) -> dict[str, Any]:
        """Return everything, as JSON takes it."""
        self.coverage.stop()
        data = self.coverage.get_data()
        lines = {
            module: data.contexts_by_lineno(str(ROOT / module))
            for module in self.modules
            if str(ROOT / module) in data.measured_files()
        }
        return {"seconds": self.seconds, "lines": lines, "failed": self.failed}


def observe(modules: list[str], tests: tuple[str, ...], scratch: Path, cache: Path) -> Observed:
    """Run the tests as they are.

    Raises:
        SystemExit: one fails, so that nothing can be learnt from the others.
    """
    observer = _Observer(modules)
    plugins = (OneCache(cache), observer)
    outcome = run_in_fork(tests, plugins, observer.told, scratch, BASELINE_S, observer.start)
    if outcome.code != 0:
        raise SystemExit(f"the tests do not pass as they are: {outcome.report}\n{outcome.log}")
    return _observed(outcome.report)


def observe_once(
    kept: Path | None, modules: list[str], tests: tuple[str, ...], scratch: Path, cache: Path
) -> Observed:
    """Return what is kept in a file; what is not there is observed, and kept."""
    if kept is None:
        return observe(modules, tests, scratch, cache)
    if not kept.exists():
        kept.write_text(json.dumps(observe(modules, tests, scratch, cache)), "utf-8")
    seconds, lines = json.loads(kept.read_text("utf-8"))
    return _observed({"seconds": seconds, "lines": lines})


def _observed(told: dict[str, Any]) -> Observed:
    lines = {
        module: {int(line): tests for line, tests in by_line.items()}
        for module, by_line in told["lines"].items()
    }
    return Observed(told["seconds"], lines)
