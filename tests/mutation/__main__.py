"""``python -m tests.mutation ROOM``: which mistakes would no test notice?

Runs from a checkout with ``pip install -e '.[dev]'``.  One mutant at a time, a sample drawn by
``--seed``; printed are the survivors and the rate.  A mutant is killed by a failing test, by a
crash, or by taking far longer than the tests do.  Names in equivalent.toml are left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import random
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.mutation.live import Loop, Report, changed_functions
from tests.mutation.mutants import Mutant, modules, mutants, mutated
from tests.mutation.observed import Observed, observe_once
from tests.mutation.rooms import ROOMS
from tests.mutation.trial import ROOT, Finder, OneCache, Outcome, run_in_fork

EQUIVALENT = Path(__file__).with_name("equivalent.toml")
SLOWER = 4
"""A mutant may take this many times what its tests take with lines traced, and a while."""

A_WHILE_S = 10
LOOP_S = 100_000


class Chosen:
    """A plugin: runs the tests in the order given, up to the first that fails."""

    def __init__(self, tests: list[str]) -> None:
        self._place = {test: n for n, test in enumerate(tests)}
        self.failed = ""

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Leave out what was not chosen."""
        items[:] = sorted(
            (item for item in items if item.nodeid in self._place),
            key=lambda item: self._place[item.nodeid],
        )

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what failed."""
        if report.failed and not self.failed:
            self.failed = report.nodeid

    def told(self) -> str:
        """Return the first test that failed."""
        return self.failed


class Session(NamedTuple):
    """What all trials share."""

    observed: Observed
    scratch: Path
    cache: Path
    budget_s: float

    def tests_of(self, mutant: Mutant) -> list[str]:
        """Return the tests that a mutant is tried with."""
        return self.observed.tests_of(mutant, self.budget_s)

    def seconds_of(self, tests: list[str]) -> float:
        """Return how much of the processor some tests may take."""
        return A_WHILE_S + SLOWER * sum(self.observed.seconds[test] for test in tests)

    def trial(self, mutant: Mutant, *, mistaken: bool = True) -> Outcome:
        """Run the tests that reach a mutant, or the same tests on the module as it is."""
        tests = self.tests_of(mutant)
        if not tests:
            return Outcome(0, "", 0.0, "")
        source = (ROOT / mutant.path).read_text("utf-8")
        tree = mutated(mutant, source) if mistaken else ast.parse(source)
        chosen = Chosen(tests)
        files = list(dict.fromkeys(test.partition("::")[0] for test in tests))
        return run_in_fork(
            ["-x", *files],
            (OneCache(self.cache), chosen),
            chosen.told,
            self.scratch,
            self.seconds_of(tests),
            Finder(mutant.path, tree).put_in,
        )


def known_equivalent() -> dict[str, set[str]]:
    """Module -> keys of its mutants that compute the same."""
    table = tomllib.loads(EQUIVALENT.read_text("utf-8"))
    return {
        module: {key for reason in reasons for key in reason["mutants"]}
        for module, reasons in table.items()
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=__doc__)
    parser.add_argument("room", choices=ROOMS)
    parser.add_argument("--count", type=int, default=200, help="how many, 0 for all (200)")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--budget",
        type=float,
        default=20.0,
        metavar="SECONDS",
        help="traced time of the tests that a mutant is tried with; the longest are left out (20)",
    )
    parser.add_argument("--within", default="", help="only modules whose path has this text")
    parser.add_argument("--key", default="", help="only mutants whose key has this text")
    parser.add_argument("--again", type=Path, help="only the survivors of an earlier --output")
    parser.add_argument(
        "--observed", type=Path, help="which tests run which lines is kept here for the next time"
    )
    parser.add_argument("--output", type=Path, help="one JSON object a mutant goes here")
    return parser.parse_args()


def _drawn(arguments: argparse.Namespace, paths: list[str]) -> tuple[list[Mutant], int, int]:
    """(the mutants to try, how many there are in all, how many of the others are equivalent)."""
    everyone = [
        mutant for path in paths for mutant in mutants(path, (ROOT / path).read_text("utf-8"))
    ]
    same = known_equivalent()
    found = [m for m in everyone if m.key not in same.get(m.path, ())]
    equivalent = len(everyone) - len(found)
    if arguments.again:
        told = map(json.loads, arguments.again.read_text("utf-8").splitlines())
        wanted = {(row["path"], row["key"]) for row in told if not row["how"]}
        found = [m for m in found if (m.path, m.key) in wanted]
    found = [m for m in found if arguments.within in m.path and arguments.key in m.key]
    if arguments.count and len(found) > arguments.count:
        found = random.Random(arguments.seed).sample(found, arguments.count)
        found.sort(key=lambda m: (m.path, m.number))
    return found, len(everyone), equivalent


def main() -> None:
    """Try the mutants of a room."""
    arguments = _arguments()
    room = ROOMS[arguments.room]
    paths = modules(ROOT, room.sources)
    drawn, total, equivalent = _drawn(arguments, paths)
    # What all runs import, imported once; a fork of these costs nothing.
    import h5py, hypothesis, numba, numpy, PIL.Image, safetensors  # noqa: E401, F401, I001

    if any(name.partition(".")[0] in ("minimix", "weights_tools") for name in sys.modules):
        raise SystemExit("what is to be mutated has been imported already")
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "cache")
        cache.mkdir()
        observed = observe_once(arguments.observed, paths, room.tests, Path(folder), cache)
        session = Session(observed, Path(folder), cache, arguments.budget)
        print(f"{len(observed.seconds)} tests in {sum(observed.seconds.values()):.0f} s, traced")
        outcomes = _try_all(session, drawn, arguments.output)
    survivors = outcomes["survived"]
    tried = sum(outcomes.values())
    print(
        f"{arguments.room}: {total} mutants, {equivalent} of them known to be equivalent; "
        f"{tried} tried: {tried - survivors} noticed "
        f"({outcomes['timeout']} by taking too long, {outcomes['crash']} by a crash), "
        f"{survivors} survived: {(tried - survivors) / max(tried, 1):.1%}"
    )


def _try_all(session: Session, drawn: list[Mutant], output: Path | None) -> Counter[str]:
    """Try the mutants: first in a session that stays, then afresh what it did not notice."""
    outcomes = Counter[str]()
    with Path(output or os.devnull).open("w", encoding="utf-8") as rows:

        def write(mutant: Mutant, how: str, seconds: float) -> None:
            # At once, whichever process this is: what is known stays when a run is ended.
            row = {"path": mutant.path, "line": mutant.line, "key": mutant.key}
            print(json.dumps(row | {"how": how, "seconds": seconds}), file=rows, flush=True)

        def count(how: str) -> None:
            outcomes[how if how in ("timeout", "crash") else "test" if how else "survived"] += 1

        left = _living(session, drawn, write, count)
        for mutant, outcome in _afresh(session, left):
            how = "" if outcome.code == 0 else outcome.report or "on import"
            write(mutant, how, outcome.seconds)
            count(how)
            if not how:
                print(f"{mutant.path}:{mutant.line}: {mutant.key}", flush=True)
    return outcomes


def _living(
    session: Session, drawn: list[Mutant], noticed: Report, count: Callable[[str], None]
) -> list[Mutant]:
    """Try what lies in functions; return what is left to try.

    Args:
        noticed: called in the session's process, while it runs.
        count: called in this one, when it has ended.
    """
    wanted, left = [], []
    for mutant in drawn:
        changed = changed_functions(mutant, (ROOT / mutant.path).read_text("utf-8"))
        if changed is None:
            left.append(mutant)
        else:
            wanted.append((mutant, changed, session.tests_of(mutant)))
    # The first one changes nothing: had it a failing test, so would all others.
    every = list(dict.fromkeys(test for _, _, tests in wanted for test in tests))
    tries = [(drawn[0], {}, every), *wanted] if wanted else []
    loop = Loop(tries, session.seconds_of, noticed)
    outcome = (
        run_in_fork(
            list(dict.fromkeys(test.partition("::")[0] for test in every)),
            (OneCache(session.cache), loop),
            loop.told,
            session.scratch,
            LOOP_S,
        )
        if wanted
        else None
    )
    if outcome is None:
        return left
    if outcome.code < 0 or outcome.report[0][1]:
        raise SystemExit(f"the tests fail as they are: {outcome.report[:1]}\n{outcome.log}")
    for n, how, _ in outcome.report[1:]:
        if how:
            count(how)
        else:
            left.append(tries[n][0])
    return left


def _afresh(session: Session, left: list[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
    """Try each with its module imported again."""
    untouched: set[str] = set()
    for mutant in left:
        # Each module once as it is, loaded the same way: else nothing that follows counts.
        if mutant.path not in untouched:
            untouched.add(mutant.path)
            outcome = session.trial(mutant, mistaken=False)
            if outcome.code != 0:
                raise SystemExit(f"{mutant.path} fails as it is: {outcome.log}")
        yield mutant, session.trial(mutant)


if __name__ == "__main__":
    main()
