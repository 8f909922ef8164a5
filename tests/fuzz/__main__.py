"""``python -m tests.fuzz``: mutated files by the hundred thousand, and a table of what became."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.fuzz.rule import BrokenRuleError
from tests.fuzz.samples import Row
from tests.fuzz.seeds import ALL, make_input, seeds_of
from tests.fuzz.worker import (
    SECONDS_PER_FILE,
    Bounds,
    Tally,
    examine_bounded,
    work,
)

CHUNK = 2000
"""Inputs per process: a new one starts with clean memory."""

KEPT_ALIKE = 3
"""Failures with the same last line that are kept; the others are only counted."""

FAILED = 5
"""The exit code of a check that did not hold."""


@dataclass
class Job:
    """One worker process and the inputs it has."""

    indices: range
    process: Any
    current: Any
    pipe: Any
    seen: int = -1
    since: float = field(default_factory=time.monotonic)
    done: bool = False


class Run:
    """All inputs of one reader, shared out to processes."""

    def __init__(self, row: Row, options: argparse.Namespace) -> None:
        self.row, self.options = row, options
        self.tally = Tally()
        self.failures: dict[str, int] = {}
        self.context = multiprocessing.get_context("fork")
        self.ends_at = time.monotonic() + (options.seconds or 1e9)

    def execute(self) -> None:
        """Work through all inputs, or until the time is over."""
        first, last = self.options.first, self.options.first + self.options.count
        chunks: Iterator[range] = iter(
            [range(n, min(n + CHUNK, last)) for n in range(first, last, CHUNK)]
        )
        jobs: list[Job] = []
        while True:
            while len(jobs) < self.options.jobs and time.monotonic() < self.ends_at:
                chunk = next(chunks, None)
                if chunk is None:
                    break
                jobs.append(self._start(chunk))
            if not jobs:
                return
            for job in list(jobs):
                self._listen(job)
                if job.done or not job.process.is_alive():
                    jobs.remove(job)
                    jobs += self._finish(job)

    def _start(self, indices: range) -> Job:
        ours, theirs = self.context.Pipe(duplex=False)
        current = self.context.Value("q", indices.start, lock=False)
        process = self.context.Process(
            target=work, args=(self.row, self.options.seed, indices, current, theirs)
        )
        process.start()
        theirs.close()
        return Job(indices, process, current, ours)

    def _listen(self, job: Job) -> None:
        """Take what a worker sent; end it where it has been at one input for too long."""
        try:
            while job.pipe.poll(0.05):
                message = job.pipe.recv()
                if isinstance(message, Tally):
                    self.tally.add(message)
                    job.done = True
                    return
                self._fail(*message)
        except EOFError:
            job.process.join(1)
        if job.current.value != job.seen:
            job.seen, job.since = job.current.value, time.monotonic()
        elif time.monotonic() - job.since > 4 * SECONDS_PER_FILE:
            job.process.kill()
            job.process.join()

    def _finish(self, job: Job) -> list[Job]:
        """Wait for a worker; after one that died, go on behind the input that it was at."""
        if not job.done:
            self._listen(job)
        job.process.join()
        job.pipe.close()
        if job.done:
            return []
        index = job.current.value
        self._fail(index, f"the process ended with code {job.process.exitcode}")
        self.tally.count += index + 1 - job.indices.start
        rest = range(index + 1, job.indices.stop)
        return [self._start(rest)] if rest else []

    def _fail(self, index: int, text: str) -> None:
        """Keep the input and say what it did."""
        last = text.strip().splitlines()[-1]
        kind = last.translate({ord(digit): "#" for digit in "0123456789"})[:120]
        self.failures[kind] = self.failures.get(kind, 0) + 1
        if self.failures[kind] <= KEPT_ALIKE:
            name = f"{self.row.container}-{self.options.seed}-{index}"
            folder = self.options.keep / name
            folder.mkdir(parents=True, exist_ok=True)
            _, files = make_input(self.row, self.options.seed, index)
            for file, data in files.items():
                (folder / file).write_bytes(data)
            folder.with_suffix(".txt").write_text(text, encoding="utf-8", errors="replace")
            print(f"FAILED {folder}: {last[:300]}", flush=True)

    def report(self, elapsed_s: float) -> str:
        """One line of the table."""
        tally, kinds = self.tally, self.tally.kinds
        line = (
            f"{self.row.container:<18}{tally.count:>8}{kinds.get('refused', 0):>9}"
            f"{kinds.get('accepted', 0):>9}{kinds.get('undecided', 0):>10}"
            f"{tally.slowest_ms:>11.1f}{tally.highest_bytes / 2**20:>9.1f}"
            f"{tally.count / elapsed_s:>9.0f}{sum(self.failures.values()):>9}"
        )
        reasons = sorted(tally.undecided.items(), key=lambda item: -item[1])[:5]
        return "\n".join([line, *(f"    undecided {n}: {reason}" for reason, n in reasons)])


HEADER = (
    f"{'reader':<18}{'files':>8}{'refused':>9}{'accepted':>9}{'undecided':>10}"
    f"{'slowest ms':>11}{'peak MB':>9}{'files/s':>9}{'failures':>9}"
)


@contextmanager
def _replayed(path: Path) -> Iterator[dict[str, bytes]]:
    """The files of a kept input: of a folder, or one file."""
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    yield {file.name: file.read_bytes() for file in files}


def replay(row: Row, path: Path) -> int:
    """Examine one kept input, under the same bounds."""
    with TemporaryDirectory() as folder, _replayed(path) as files:
        if len(files) == 1:
            files = {row.target: next(iter(files.values()))}
        try:
            outcome = examine_bounded(row, files, Path(folder), Bounds(), deep=True)
        except BrokenRuleError as error:
            print(f"FAILED {path}: {error}")
            raise
    print(f"{outcome.kind}: {outcome.detail}")
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    names = [row.container for row in ALL]
    parser.add_argument("--reader", choices=["all", *names], default="all")
    parser.add_argument("--count", type=int, default=100_000, help="inputs per reader")
    parser.add_argument("--first", type=int, default=0, help="number of the first input")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="stop each reader after about this long")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--keep", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--replay", type=Path, help="examine one kept input; needs --reader")
    options = parser.parse_args(arguments)
    if options.replay and options.reader == "all":
        parser.error("--replay needs --reader")
    return options


def main(arguments: list[str]) -> int:
    """Run the readers that were asked for; 5 where one broke the rule."""
    options = parse(arguments)
    rows = [row for row in ALL if options.reader in ("all", row.container)]
    if options.replay:
        return replay(rows[0], options.replay)
    lines, failed = [], False
    for row in rows:
        # Made before the processes are, which then share it.
        seeds_of(row.container)
        run, started = Run(row, options), time.monotonic()
        run.execute()
        lines.append(run.report(time.monotonic() - started))
        failed = failed or bool(run.failures)
        print(f"{HEADER}\n{lines[-1]}", flush=True)
    if len(lines) > 1:
        print("\n".join(["", HEADER, *lines]))
    return FAILED if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
