"""Reads mutated files by the thousand in a process of its own, within bounds of time and memory.

Memory is bounded before it is taken: for the time of each call the address space of the process
may grow by 64 MB and four times the file, no more (``RLIMIT_AS``), so that an allocation of that
size fails at once, touched or not, whoever asks for it; and the peak that was really touched is
read from the kernel (``VmHWM``).  An alarm, of the processor's time, so that a busy machine breaks
no rule, ends what takes too long; what does not even return to the interpreter is ended by the
parent, which also notices a process that died.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.fuzz.declared import Files
from tests.fuzz.rule import BrokenRuleError
from tests.fuzz.samples import Row
from tests.fuzz.seeds import ORACLES, make_input, seeds_of

SECONDS_PER_FILE = 5.0
FREE_BYTES = 64 * 2**20
TIMES_FILE = 4
ONE_IN = 10
"""Of the files, so many go on through ``inspect`` and ``convert``; whole models all do."""


class TooSlowError(BaseException):
    """The alarm; no ``except Exception`` catches it."""


@dataclass
class Tally:
    """What a worker did, added up."""

    count: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    undecided: dict[str, int] = field(default_factory=dict)
    slowest_ms: float = 0.0
    slowest_index: int = -1
    highest_bytes: int = 0
    elapsed_s: float = 0.0

    def add(self, other: Tally) -> None:
        """Add another worker's."""
        self.count += other.count
        for ours, theirs in ((self.kinds, other.kinds), (self.undecided, other.undecided)):
            for key, number in theirs.items():
                ours[key] = ours.get(key, 0) + number
        if other.slowest_ms > self.slowest_ms:
            self.slowest_ms, self.slowest_index = other.slowest_ms, other.slowest_index
        self.highest_bytes = max(self.highest_bytes, other.highest_bytes)
        self.elapsed_s += other.elapsed_s


class Bounds:
    """Limits for one file: a context in which the readers are called, and what they took."""

    def __init__(self) -> None:
        self.allowed_bytes = FREE_BYTES
        self.peak_bytes = 0
        self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY)
        self._status = os.open("/proc/self/status", os.O_RDONLY)
        signal.signal(signal.SIGPROF, self._too_slow)

    def _status_bytes(self, field_name: bytes) -> int:
        text = os.pread(self._status, 8192, 0)
        return int(text[text.index(field_name) :].split(maxsplit=2)[1]) * 1024

    def _too_slow(self, *_: Any) -> None:
        raise TooSlowError

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Bound what happens inside in memory, and note its peak."""
        os.write(self._clear, b"5")
        before, size = self._status_bytes(b"VmRSS:"), self._status_bytes(b"VmSize:")
        unlimited = resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_AS, (size + self.allowed_bytes, unlimited))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (unlimited, unlimited))
            self.peak_bytes = max(self.peak_bytes, self._status_bytes(b"VmHWM:") - before)

    @contextmanager
    def for_file(self, size_bytes: int) -> Iterator[None]:
        """Start the clock and set the memory for files of this size."""
        self.allowed_bytes = FREE_BYTES + TIMES_FILE * size_bytes
        self.peak_bytes = 0
        signal.setitimer(signal.ITIMER_PROF, SECONDS_PER_FILE)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


def examine_bounded(row: Row, files: Files, folder: Path, bounds: Bounds, *, deep: bool) -> Any:
    """Examine one input; a file that takes too long breaks the rule as well."""
    path = row.store(folder, files)
    try:
        with bounds.for_file(sum(map(len, files.values()))):
            return row.examine(path, files, ORACLES, deep=deep, guard=bounds)
    except TooSlowError as error:
        raise BrokenRuleError(f"not done after {SECONDS_PER_FILE} s") from error


def work(row: Row, seed: int, indices: range, current: Any, pipe: Connection) -> None:
    """Examine inputs by number; send each failure as ``(index, text)``, the tally at the end."""
    warnings.simplefilter("error")
    sys.unraisablehook = lambda event: problems.append(f"unraisable: {event.exc_value!r}")
    problems: list[str] = []
    tally, bounds, started = Tally(), Bounds(), time.monotonic()
    with TemporaryDirectory() as name:
        for index in indices:
            current.value = index
            base, files = make_input(row, seed, index)
            before = time.perf_counter()
            deep = base.is_model or index % ONE_IN == 0
            try:
                outcome = examine_bounded(row, files, Path(name), bounds, deep=deep)
                expected = "accepted" if base.is_valid else "refused"
                if index < len(seeds_of(row.container)) and outcome.kind != expected:
                    problems.append(f"to be {expected}: {outcome.kind}: {outcome.detail}")
            except BrokenRuleError as error:
                problems.append("".join(traceback.format_exception(error)))
            else:
                _count(tally, outcome)
            tally.count += 1
            elapsed_ms = 1000 * (time.perf_counter() - before)
            if elapsed_ms > tally.slowest_ms:
                tally.slowest_ms, tally.slowest_index = elapsed_ms, index
            tally.highest_bytes = max(tally.highest_bytes, bounds.peak_bytes)
            for problem in problems:
                pipe.send((index, problem))
            problems.clear()
            if index % 500 == 0:
                gc.collect()
    tally.elapsed_s = time.monotonic() - started
    pipe.send(tally)


def _count(tally: Tally, outcome: Any) -> None:
    tally.kinds[outcome.kind] = tally.kinds.get(outcome.kind, 0) + 1
    if outcome.kind == "undecided":
        reason = outcome.detail[:60]
        tally.undecided[reason] = tally.undecided.get(reason, 0) + 1
